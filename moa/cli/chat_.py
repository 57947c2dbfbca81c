"""`moa chat`: several turns; the ensemble's answers are the history."""

from __future__ import annotations

import re
import sys
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any

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
    tell,
)

if TYPE_CHECKING:
    from asyncio import Runner as AsyncRunner
    from collections.abc import Coroutine, Iterator

    from moa.backends.base import Message
    from moa.graph.plan import Plan
    from moa.run.runner import Runner

_COMMAND = re.compile(r"/[a-z]+")
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
    _talk(runner, plan, system)


def _talk(runner: Runner, plan: Plan, system: str | None) -> None:
    """Turn by turn: the loop runs only while an answer is made, so that Ctrl-C is heard while the user types."""
    import asyncio

    opening: list[Message] = [{"role": "system", "content": system}] if system else []
    history = list(opening)
    tell(f"{plan.name}: {HELP}")
    with asyncio.Runner() as loop:
        try:
            for line in _lines():
                if line in ("/quit", "/exit"):
                    break
                if line == "/reset":
                    history = list(opening)
                elif _COMMAND.fullmatch(line):
                    tell(f"no command {line}: {HELP}")
                elif line:
                    turn: Message = {"role": "user", "content": line}
                    answer = _attempt(loop, _answer(runner, plan, [*history, turn]))
                    history += [turn, {"role": "assistant", "content": answer}] if answer else []
        finally:
            loop.run(runner.aclose())


def _attempt(loop: AsyncRunner, work: Coroutine[Any, Any, str]) -> str | None:
    """One answer; None where there is none and the conversation goes on as if nobody had asked."""
    from moa.errors import MoaError
    from moa.run.execution import FATAL

    try:
        return loop.run(work)
    except FATAL:
        raise
    except MoaError as error:
        tell(f"error: {error}")
    except KeyboardInterrupt:
        tell("\n[stopped]")
    return None


async def _answer(runner: Runner, plan: Plan, conversation: list[Message]) -> str:
    """Stream one answer to standard output and return it whole."""
    from moa.cli.warnings import tell_warnings

    stream = runner.stream(plan, conversation)
    written = False
    try:
        async for piece in stream:
            if piece.restart and written:
                sys.stdout.write("\n")
                tell("[the connection was lost; once more]")
            sys.stdout.write(piece)
            sys.stdout.flush()
            written = written or bool(piece)
    finally:
        if written:
            typer.echo()
    tell_warnings(stream.reply)
    return stream.reply.text


def _lines() -> Iterator[str]:
    """What the user types, line by line, until the end of input."""
    from moa.errors import UsageError

    try:
        if sys.stdin.isatty() and sys.stdout.isatty():
            with suppress(ImportError):
                import_module("readline")  # lets `input` edit lines and remember them
            while True:
                yield input("> ").strip()
        for line in sys.stdin:
            yield line.strip()
    except EOFError:
        return
    except UnicodeDecodeError:
        raise UsageError("standard input is not UTF-8 text") from None
