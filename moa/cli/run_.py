"""`moa run`: one question, one answer on standard output."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from moa.cli.options import DefendOption, GraphArgument, ModelOption, ModelsOption, read_bindings
from moa.cli.session import (
    DollarsOption,
    NoStoreOption,
    ReuseOption,
    SeedOption,
    StoreOption,
    TimeoutOption,
    TokensOption,
    at_terminal,
    check_before_asking,
    compile_from,
    open_runner,
    run_async,
)

if TYPE_CHECKING:
    from moa.graph.plan import Plan
    from moa.run.reply import Reply
    from moa.run.runner import Runner


def command(
    graph: GraphArgument,
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="The question, or - for standard input.")],
    model: ModelOption = None,
    models: ModelsOption = None,
    defend: DefendOption = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object: answer, usage, cost, nodes, warnings.")
    ] = False,
    trace: Annotated[bool, typer.Option("--trace", help="Show who heard whom, on standard error.")] = False,
    store: StoreOption = None,
    no_store: NoStoreOption = False,
    reuse: ReuseOption = False,
    seed: SeedOption = 0,
    budget_usd: DollarsOption = None,
    budget_tokens: TokensOption = None,
    timeout: TimeoutOption = None,
) -> None:
    """Answer one question with an ensemble."""
    from moa.cli.progress import Display

    bindings = read_bindings(model, models)
    plan = compile_from(graph, bindings, defend)
    question = _read_prompt(prompt)
    check_before_asking(plan, bindings, question)
    with Display(live=at_terminal() and not as_json) as display:
        runner = open_runner(
            bindings,
            store=store,
            no_store=no_store,
            seed=seed,
            budget_usd=budget_usd,
            budget_tokens=budget_tokens,
            timeout=timeout,
            reuse=reuse,
            listeners=[display],
        )
        reply = run_async(_attempt(runner, plan, question))
    _show(plan, reply, question, as_json=as_json, trace=trace)


def _read_prompt(prompt: str) -> str:
    if prompt != "-":
        return prompt
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError:
        from moa.errors import UsageError

        raise UsageError("standard input is not UTF-8 text") from None


async def _attempt(runner: Runner, plan: Plan, question: str) -> Reply:
    async with runner:
        return await runner.attempt(plan, question)


def _show(plan: Plan, reply: Reply, question: str, *, as_json: bool, trace: bool) -> None:
    import json

    from moa.cli.warnings import tell_warnings

    if trace:
        from moa.cli.trace import print_trace

        print_trace(plan, reply, question)
    tell_warnings(reply)
    if as_json:
        typer.echo(json.dumps(reply.to_json(), ensure_ascii=False, indent=2))
    elif reply.ok:
        typer.echo(reply.text)
    if reply.error is not None:
        raise reply.error
