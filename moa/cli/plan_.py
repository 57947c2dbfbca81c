"""`moa plan`: what a question will cost, before it is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from moa.cli.options import DefendOption, GraphArgument, ModelOption, ModelsOption, read_bindings

if TYPE_CHECKING:
    from moa.evaluate.deception.promise import Promise
    from moa.graph.context import ContextReport
    from moa.graph.estimate import Amount, Estimate, Measurement, NodeEstimate
    from moa.graph.plan import Plan


def command(
    graph: GraphArgument,
    model: ModelOption = None,
    models: ModelsOption = None,
    defend: DefendOption = None,
    questions: Annotated[
        int, typer.Option("--questions", min=1, metavar="N", help="How many questions.")
    ] = 1,
    output_tokens: Annotated[
        int, typer.Option("--output-tokens", min=1, metavar="N", help="Expected length of a reply.")
    ] = 400,
    prompt_tokens: Annotated[
        int, typer.Option("--prompt-tokens", min=1, metavar="N", help="Length of the question.")
    ] = 100,
    prompt: Annotated[
        str | None,
        typer.Option("--prompt", metavar="TEXT", help="The question itself, instead of its length."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, every node in it.")] = False,
) -> None:
    """Show the calls, tokens, money and critical path of a graph; asks no model.

    Tokens are estimated at four characters each. With --defend, what the graph takes undefended stands beside it.
    """
    import json

    from moa.backends.resolve import model_spec
    from moa.cli.session import compile_from
    from moa.errors import Problem, SpecError
    from moa.graph.context import check_context
    from moa.graph.estimate import estimate

    bindings = read_bindings(model, models)
    plan = compile_from(graph, bindings, defend)

    def lookup(name: str) -> Any:
        return model_spec(name, bindings.models)

    def counted(plan: Plan) -> Estimate:
        return estimate(plan, lookup, output_tokens=output_tokens, prompt_tokens=prompt_tokens, prompt=prompt)

    context = check_context(plan, lookup, prompt=prompt)
    found, bare = counted(plan), counted(compile_from(graph, bindings)) if defend else None
    promised = _promise(plan)
    if as_json:
        shown = estimate_json(found, context, questions)
        if promised is not None:
            shown["withstands"] = _promise_json(promised)
        beside = {"undefended": {"calls": bare.calls, **_amounts(bare)}} if bare else {}
        typer.echo(json.dumps(shown | beside, ensure_ascii=False, indent=2))
    else:
        _print(found, questions, bare, promised)
    for warning in context.warnings:
        typer.echo(f"warning: {warning.message}", err=True)
    if context.mistakes:
        raise SpecError([Problem(mistake.message) for mistake in context.mistakes])


def estimate_json(found: Estimate, context: ContextReport, questions: int) -> dict[str, Any]:
    """The estimate as JSON: one question, node by node and together, and the total of all questions."""
    nodes = [
        {"id": node.id, "group": node.group, "asks": node.asks, "model": node.model, "calls": node.calls}
        | _amounts(node)
        | {"measurements": [_measurement_json(one) for one in node.measurements]}
        for node in found.nodes
    ]
    return {
        "graph": found.graph,
        "answer": found.answer,
        "calls": found.calls,
        "measurements": dict(found.measurements),
        **_amounts(found),
        "critical_path": found.critical_path._asdict(),
        "questions": questions,
        "total": {
            "calls": found.calls * questions,
            "measurements": {kind: calls * questions for kind, calls in found.measurements.items()},
            **_amounts(found, questions),
        },
        "unpriced": list(found.unpriced),
        "shared": [shared._asdict() for shared in found.shared],
        "prefixes": found.prefixes._asdict(),
        "warnings": [warning.message for warning in context.warnings],
        "errors": [mistake.message for mistake in context.mistakes],
        "nodes": nodes,
    }


def _measurement_json(one: Measurement) -> dict[str, Any]:
    return {"kind": one.kind, "model": one.model, "calls": one.calls, **_amounts(one)}


def _promise(plan: Plan) -> Promise | None:
    """What a vote over subsets certifies; None for other graphs, and without numpy, which counts it."""
    select = plan.by_id[plan.answer].select
    if select is None or select.name != "majority":
        return None
    try:
        from moa.evaluate.deception.promise import promise
    except ModuleNotFoundError as missing:
        if missing.name != "numpy":
            raise
        return None
    return promise(plan)


def _promise_json(found: Promise) -> dict[str, Any]:
    return {
        "references": found.certifiable,
        "agents": found.agents,
        "of": len(found.references),
        "ballots": found.ballots,
        "sizes": [
            {"size": row.size, "calls": row.calls, "references": row.certifiable} for row in found.sizes
        ],
    }


def _amounts(holder: Any, times: int = 1) -> dict[str, Any]:
    amounts: dict[str, Amount] = {
        "prompt_tokens": holder.prompt_tokens,
        "output_tokens": holder.output_tokens,
        "cost": holder.usd,
    }
    return {
        name: {field: _times(value, times) for field, value in amount._asdict().items()}
        for name, amount in amounts.items()
    }


def _times(value: float | None, times: int) -> float | None:
    return None if value is None else value * times


def _print(found: Estimate, questions: int, bare: Estimate | None, promised: Promise | None) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    console.print(_table(found, questions))
    notes = Table.grid(padding=(0, 2))
    notes.add_column(style="bold", no_wrap=True)
    notes.add_column(overflow="fold")
    for label, text in [*_notes(found), *_beside(found, bare), *_withstands(promised)]:
        notes.add_row(label, Text(text))
    console.print()
    console.print(notes)


def _table(found: Estimate, questions: int) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    count = f"{len(found.nodes)} nodes" if len(found.nodes) > 1 else "1 node"
    title = Text.assemble((found.graph or "graph", "bold"), (f"  {count}", "dim"), style="")
    table = Table(
        box=box.SIMPLE_HEAD, title=title, title_justify="left", show_edge=False, padding=(0, 1, 0, 0)
    )
    table.add_column("Node", no_wrap=True, style="bold")
    table.add_column("Asks", overflow="fold")
    table.add_column("Model", overflow="fold", style="cyan")
    for heading in ("Calls", "Tokens in", "Tokens out", "Cost"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in _rows(found):
        table.add_row(*(Text(cell) for cell in row))
    table.add_section()
    for label, field, times, style in _total_rows(questions):
        amounts = [_picked(amount, field, times) for amount in (found.prompt_tokens, found.output_tokens)]
        usd = _dollars(_picked(found.usd, field, times))
        cells = [_number(amount) for amount in amounts]
        table.add_row(label, "", "", _calls(found, times), *cells, usd, style=style)
    return table


def _calls(found: Estimate, times: int) -> str:
    """Calls for words, then those for numbers."""
    return " + ".join(f"{calls * times:,}" for calls in (found.calls, *found.measurements.values()))


def _total_rows(questions: int) -> list[tuple[str, str, int, str]]:
    rows = [("one question", "expected", 1, ""), ("at most", "most", 1, "dim")]
    if questions > 1:
        rows += [
            (f"{questions:,} questions", "expected", questions, "bold"),
            ("at most", "most", questions, "dim"),
        ]
    return rows


def _picked(amount: Amount, field: str, times: int) -> float | None:
    return _times(getattr(amount, field), times)


def _rows(found: Estimate) -> list[tuple[str, ...]]:
    """A row for each run of neighbours that differ in nothing but their number."""
    from itertools import groupby

    from moa.cli.wiring import runs

    def alike(node: NodeEstimate) -> tuple[Any, ...]:
        return (
            node.group,
            node.asks,
            node.model,
            node.calls,
            node.prompt_tokens,
            node.output_tokens,
            node.usd,
            node.measurements,
        )

    rows: list[tuple[str, ...]] = []
    for (_, asks, model, calls, prompt, output, usd, measured), members in groupby(found.nodes, key=alike):
        ids = [node.id for node in members]
        times = len(ids)
        expected = (_number(_picked(amount, "expected", times)) for amount in (prompt, output))
        cost = _dollars(_picked(usd, "expected", times))
        asked = calls > 0
        rows.append(
            (
                runs(ids),
                asks,
                model or "",
                f"{calls * times:,}" if asked else "-",
                *(expected if asked else ("", "")),
                cost if asked else "",
            )
        )
        rows += [_measurement_row(one, times) for one in measured]
    return rows


def _measurement_row(one: Measurement, times: int) -> tuple[str, ...]:
    """What a selector asks besides, below its node."""
    tokens = [
        _number(_picked(amount, "expected", times)) for amount in (one.prompt_tokens, one.output_tokens)
    ]
    cost = _dollars(_picked(one.usd, "expected", times))
    return ("", one.kind, one.model, f"{one.calls * times:,}", *tokens, cost)


def _notes(found: Estimate) -> list[tuple[str, str]]:
    from moa.cli.wiring import runs

    path = found.critical_path
    calls = "1 call" if path.calls == 1 else f"{path.calls} calls one after another"
    chain = " > ".join(runs(path.nodes).split(", "))
    notes = [("Critical path", f"{chain}: {calls}, {path.output_tokens:,} output tokens")]
    if found.measurements:
        kinds = ", ".join(f"{calls:,} {kind}" for kind, calls in found.measurements.items())
        text = f"{kinds}: calls for numbers instead of words, one for each different text"
        notes.append(("Measured", text))
    if found.shared:
        requests = found.calls - sum(len(shared.nodes) - 1 for shared in found.shared)
        saved = sum(shared.saved_prompt_tokens for shared in found.shared)
        which = ", ".join(runs(shared.nodes) for shared in found.shared[:4])
        more = f" and {len(found.shared) - 4} more" if len(found.shared) > 4 else ""
        total = f"{requests} requests in all, {saved:,} fewer tokens in"
        notes.append(("Shared", f"{which}{more}: one request with `n` where the server takes it; {total}"))
    if found.prefixes.cached_tokens:
        share = f"{found.prefixes.share:.0%} of the tokens in begin like an earlier prompt to the same model"
        notes.append(("Prefixes", f"{share}, which servers with a prefix cache read once"))
    if found.unpriced:
        names = ", ".join(found.unpriced)
        notes.append(("No price", f"{names}: give one in models.yaml (`price`)"))
    return notes


def _withstands(promised: Promise | None) -> list[tuple[str, str]]:
    if promised is None:
        return []
    from moa.evaluate.deception.promise import described

    return [("Withstands", described(promised))]


def _beside(found: Estimate, bare: Estimate | None) -> list[tuple[str, str]]:
    """What the same graph takes without its defence, and what the defence adds."""
    if bare is None:
        return []
    amounts = [
        ("calls", found.calls, bare.calls),
        ("tokens in", found.prompt_tokens.expected, bare.prompt_tokens.expected),
        ("tokens out", found.output_tokens.expected, bare.output_tokens.expected),
    ]
    parts = [
        f"{_number(before)} {what} ({_number(after)} now, x{after / before:.2f})"
        for what, after, before in amounts
        if before and after is not None
    ]
    if bare.usd.expected is not None and found.usd.expected is not None:
        parts.append(f"{_dollars(bare.usd.expected)} ({_dollars(found.usd.expected)} now)")
    return [("Undefended", ", ".join(parts))]


def _number(value: float | None) -> str:
    return "n/a" if value is None else f"{value:,.0f}"


def _dollars(value: float | None) -> str:
    """Two digits from a cent up, else two significant ones, so that a small price is not shown as none."""
    if value is None:
        return "n/a"
    if value == 0:
        return "$0"
    return f"${value:,.2f}" if value >= 1 else f"${value:.4f}" if value >= 0.0001 else f"${value:.1g}"
