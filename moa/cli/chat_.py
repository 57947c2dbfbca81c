"""`moa chat`: several turns; the ensemble's answers are the history."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from moa.cli.options import GraphArgument, ModelOption, ModelsOption, read_bindings
from moa.cli.session import (
    DollarsOption,
    NoStoreOption,
    ReuseOption,
    SeedOption,
    StoreOption,
    TimeoutOption,
    TokensOption,
    check_before_asking,
    compile_from,
    open_runner,
    run_async,
    tell,
)

if TYPE_CHECKING:
    from moa.backends.base import Message
    from moa.graph.plan import Plan
    from moa.run.runner import Runner

HELP = "/reset forgets the conversation, /quit or end of input leaves"


def command(
    graph: GraphArgument,
    model: ModelOption = None,
    models: ModelsOption = None,
    system: Annotated[
        str | None, typer.Option("--system", metavar="TEXT", help="A system prompt for the conversation.")
    ] = None,
    store: StoreOption = None,
    no_store: NoStoreOption = False,
    reuse: ReuseOption = False,
    seed: SeedOption = 0,
    budget_usd: DollarsOption = None,
    budget_tokens: TokensOption = None,
    timeout: TimeoutOption = None,
) -> None:
    """Talk with an ensemble; its final node streams."""
    bindings = read_bindings(model, models)
    plan = compile_from(graph, bindings)
    check_before_asking(plan, bindings)
    runner = open_runner(
        bindings,
        store=store,
        no_store=no_store,
        seed=seed,
        budget_usd=budget_usd,
        budget_tokens=budget_tokens,
        timeout=timeout,
        reuse=reuse,
    )
    run_async(_talk(runner, plan, system))


async def _talk(runner: Runner, plan: Plan, system: str | None) -> None:
    from moa.errors import BudgetExceededError, MoaError, StoreError

    opening: list[Message] = [{"role": "system", "content": system}] if system else []
    history = list(opening)
    async with runner:
        tell(f"{plan.name}: {HELP}")
        while (line := await _read_line()) is not None:
            text = line.strip()
            if text in ("/quit", "/exit"):
                break
            if text == "/reset":
                history = list(opening)
            elif text:
                turn: Message = {"role": "user", "content": text}
                try:
                    answer = await _answer(runner, plan, [*history, turn])
                except (BudgetExceededError, StoreError):
                    raise
                except MoaError as error:
                    tell(f"error: {error}")
                    continue
                history += [turn, {"role": "assistant", "content": answer}]


async def _answer(runner: Runner, plan: Plan, conversation: list[Message]) -> str:
    """Stream one answer to standard output and return it whole."""
    stream = runner.stream(plan, conversation)
    async for piece in stream:
        if piece.restart:
            typer.echo("\n[the connection was lost; once more]\n", err=True)
        sys.stdout.write(piece)
        sys.stdout.flush()
    typer.echo()
    for warning in stream.reply.warnings:
        tell(f"warning: {warning}")
    return stream.reply.text


async def _read_line() -> str | None:
    """The next line the user types; None at the end of input."""
    import asyncio

    if sys.stdin.isatty():
        typer.echo("> ", nl=False, err=True)
    line = await asyncio.to_thread(sys.stdin.readline)
    return line or None
