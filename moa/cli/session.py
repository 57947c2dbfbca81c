"""What `run`, `batch` and `chat` share: options that make a runner, and how its events are shown."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from moa.graph.bind import Bindings
    from moa.graph.plan import Plan
    from moa.run.events import Listener
    from moa.run.runner import Runner
    from moa.spec.graph import GraphSpec
    from moa.spec.loader import Located

T = TypeVar("T")

StoreOption = Annotated[
    Path | None, typer.Option("--store", metavar="PATH", help="Where answers are kept (default: $MOA_STORE).")
]
ByModelOption = Annotated[
    bool,
    typer.Option(
        "--by-model", help="One model after another: all questions ask one before any asks the next."
    ),
]
NoStoreOption = Annotated[bool, typer.Option("--no-store", help="Keep nothing.")]
ReuseOption = Annotated[bool, typer.Option("--reuse", help="Use stored answers instead of asking anew.")]
SeedOption = Annotated[int, typer.Option("--seed", min=0, max=2**40, help="Which samples to draw.")]
DollarsOption = Annotated[
    float | None, typer.Option("--budget-usd", metavar="X", help="Stop before spending more dollars.")
]
TokensOption = Annotated[
    int | None, typer.Option("--budget-tokens", metavar="N", help="Stop before spending more tokens.")
]
TimeoutOption = Annotated[
    float | None, typer.Option("--timeout", metavar="S", help="Seconds that one question may take.")
]


def compile_from(graph: str, bindings: Bindings | None, defence: str | None = None) -> Plan:
    """The plan of a catalogue name or a file, every mistake with its position.

    Without `bindings` the slots stay slots: for looking at, not for running. A `defence` rewrites the last step.
    """
    from moa.graph.compile import compile_graph
    from moa.spec.catalogue import load_graph

    located = load_graph(graph)
    if defence is not None:
        return compile_graph(defended(located, defence), bindings, near=located.folder)
    return compile_graph(located.spec, bindings, near=located.folder, locate=located.document.problem)


def defended(located: Located[GraphSpec], defence: str) -> GraphSpec:
    """The graph with its last step rewritten as `--defend` says."""
    from moa.graph.defend import defend, read_defence

    return defend(located.spec, read_defence(defence).spec, near=located.folder)


def check_before_asking(plan: Plan, bindings: Bindings, prompt: str | None = None) -> None:
    """Refuse before any call what cannot work: models that nobody knows, prompts that can never fit."""
    note_default_model([plan], bindings)
    check_fits(plan, bindings, prompt)


def note_default_model(plans: Iterable[Plan], bindings: Bindings) -> None:
    """Say so where the embedded model answers because no other was named."""
    from moa.graph.bind import DEFAULT_MODEL

    asked = {name for plan in plans for name in plan.models}
    if asked == {DEFAULT_MODEL} and not (bindings.slots or bindings.rest):
        tell(f"note: no model is bound, so {DEFAULT_MODEL} answers: a smoke model; -m MODEL binds a real one")


def check_fits(plan: Plan, bindings: Bindings, prompt: str | None = None) -> None:
    """Refuse models that nobody knows and prompts that can never fit."""
    from moa.backends.resolve import model_spec
    from moa.errors import Problem, SpecError
    from moa.graph.context import check_context

    report = check_context(plan, lambda name: model_spec(name, bindings.models), prompt=prompt)
    if report.mistakes:
        raise SpecError([Problem(mistake.message) for mistake in report.mistakes])


def open_runner(
    bindings: Bindings,
    *,
    store: Path | None,
    no_store: bool,
    seed: int,
    budget_usd: float | None,
    budget_tokens: int | None,
    timeout: float | None,
    reuse: bool | None = None,
    listeners: Iterable[Listener] = (),
    by_model: bool = False,
) -> Runner:
    """A runner as the command line's options describe it."""
    from moa.errors import UsageError
    from moa.run.budget import Budget
    from moa.run.runner import Runner
    from moa.run.store import Store

    if store is not None and no_store:
        raise UsageError("--store and --no-store exclude each other")
    for option, value in (
        ("--budget-usd", budget_usd),
        ("--budget-tokens", budget_tokens),
        ("--timeout", timeout),
    ):
        if value is not None and not 0 < value < float("inf"):
            raise UsageError(f"{option} must be a number above 0")
    return Runner(
        store=None if no_store else store or Store.default_path(),
        seed=seed,
        budget=Budget(usd=budget_usd, tokens=budget_tokens),
        models=bindings.models,
        timeout=timeout,
        reuse=reuse,
        listeners=listeners,
        by_model=by_model,
    )


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end; Ctrl-C cancels what is in flight and leaves with exit code 130."""
    return asyncio.run(work)


def tell(message: str) -> None:
    """A line for the person at the terminal: never on standard output."""
    typer.echo(message, err=True)


def at_terminal() -> bool:
    """Whether a person watches standard error."""
    return sys.stderr.isatty()
