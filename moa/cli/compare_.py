"""`moa compare`: the leaderboard of experiments, and who is really better than whom."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from moa.cli.options import ReferenceOption

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import Console

    from moa.evaluate.human import Corrected
    from moa.evaluate.numbers.intervals import Estimate
    from moa.evaluate.standings import Board, Pair, Row

COSTS = ("Chars", "Calls", "Tokens", "Cost", "Median", "p90")
"""What a question takes: characters of the answer, calls, tokens, dollars, seconds."""
PAIRED = ("First", "Second", "Difference", "p (Holm)", "Questions", "Detectable", "More needed")
DISPENSABLE = ("p90", "Chars", "Calls", "Judged", "Median", "Tokens")
"""Columns that a narrow terminal goes without, in this order."""
WIDE = 200
"""Columns of what is no terminal."""
MOST_PAIRS = 15
"""Paired differences that a terminal shows; `--json` has them all."""


def command(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Folders that `moa eval` wrote.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object with everything.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, a line an entrant.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print two Markdown tables.")] = False,
    human: Annotated[
        Path | None,
        typer.Option(
            "--human",
            metavar="FILE",
            help="Human labels (item, entrant, preference 0 to 1) that correct the judge's win rates.",
        ),
    ] = None,
    reference: ReferenceOption = None,
    fit: Annotated[
        str,
        typer.Option(
            "--fit",
            metavar="FIT",
            help="Of length control: newton, or liblinear-cv, which is AlpacaEval's own to the last digit.",
        ),
    ] = "newton",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of what is drawn for the intervals.")] = 0,
    bootstrap: Annotated[
        int, typer.Option("--bootstrap", metavar="N", min=20, help="Replicates of an interval.")
    ] = 1000,
) -> None:
    """Show who is better, with 95% intervals and paired differences; several folders become one table."""
    import json

    from moa.cli.matrix import show_matrices
    from moa.errors import UsageError
    from moa.evaluate.folder import Folder

    if as_json + as_csv + as_markdown > 1:
        raise UsageError("--json, --csv and --markdown exclude each other")
    if fit not in (fits := ("newton", "liblinear-cv")):
        raise UsageError(f"--fit {fit}: known fits are {' and '.join(fits)}")
    places = [Folder(path) for path in folders]
    found = leaderboard(places, seed=seed, bootstrap=bootstrap, reference=reference, fit=fit)
    corrected = _corrected(places, human) if human else []
    if as_json:
        typer.echo(json.dumps(_json(found, corrected), indent=2, ensure_ascii=False))
    elif as_csv or as_markdown:
        from moa.evaluate.exporting import board_csv, board_markdown

        typer.echo(board_csv(found) if as_csv else board_markdown(found), nl=False)
    else:
        show(found, corrected)
        show_matrices(found)


def leaderboard(folders: list[Any], **options: Any) -> Board:
    """The board of some folders; raises `MissingExtraError` without the extra."""
    check_extra()
    from moa.evaluate.board import board

    return board(folders, **options)


def check_extra() -> None:
    """Raise `MissingExtraError` where what a leaderboard needs is not installed."""
    from importlib.util import find_spec

    from moa.errors import MissingExtraError

    if any(find_spec(name) is None for name in ("numpy", "scipy", "sklearn")):
        raise MissingExtraError("a leaderboard", "eval")


def show(found: Board, corrected: list[Corrected] | None = None) -> None:
    """Print a leaderboard on standard output, and what casts doubt on it."""
    console = at_width()
    console.print(_standings(found, console.width))
    for line in _ways(found):
        console.print(line, markup=False, style="dim", soft_wrap=True)
    if found.pairs:
        console.print()
        console.print(_differences(found, console.width))
    if corrected:
        console.print()
        console.print(_human(corrected))
    for finding in found.findings:
        console.print(f"note: {finding.message}", markup=False, style="yellow", soft_wrap=True)


def at_width() -> Console:
    """Standard output, as wide as its terminal, or wide where it is none."""
    import os

    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console = Console(highlight=False, width=WIDE)
    return console


def _ways(found: Board) -> Iterator[str]:
    """How a number was made where there is more than one way."""
    for name in _shown_figures(found):
        figures = [figure for row in found.rows if not row.is_baseline and (figure := row.figure(name))]
        notes = dict.fromkeys(figure.note for figure in figures if figure.note)
        if notes:
            yield f"{figures[0].label}: {'; '.join(notes)}; 95% interval: {figures[0].estimate.method}"


def _corrected(folders: list[Any], human: Path) -> list[Corrected]:
    from moa.evaluate.human import correct

    return correct(folders, human)


def _json(found: Board, corrected: list[Corrected]) -> dict[str, Any]:
    from dataclasses import asdict

    from moa.cli.matrix import matrices_json
    from moa.evaluate.exporting import board_json

    people = [
        {
            "name": each.name,
            "win_rate": asdict(each.win_rate),
            "agreement": asdict(each.agreement.rate),
            "kappa": asdict(each.agreement.kappa),
        }
        for each in corrected
    ]
    attacked = matrices_json(found)
    more = {"human": people, "matrices": attacked}
    return board_json(found) | {name: value for name, value in more.items() if value}


def table(title: str, columns: list[str], left: int) -> Any:
    """An empty table, its first columns for words and the others for numbers."""
    from rich import box
    from rich.table import Table

    made = Table(
        box=box.SIMPLE_HEAD, title=title, title_justify="left", show_edge=False, padding=(0, 1, 0, 0)
    )
    for number, column in enumerate(columns):
        if number < left:
            made.add_column(column, overflow="fold", style="bold" if column == "Entrant" else "")
        else:
            made.add_column(column, justify="right", no_wrap=True)
    return made


def _standings(found: Board, width: int) -> Any:
    from rich.text import Text

    names = _shown_figures(found)
    labels = {figure.name: figure.label for row in found.rows for figure in row.figures}
    columns = {"Entrant": [row.name for row in found.rows]}
    for name in names:
        title = labels[name][:1].upper() + labels[name][1:]
        columns[title] = [
            interval(figure.estimate) if (figure := row.figure(name)) else "" for row in found.rows
        ]
    columns["Judged"] = [_judged(row) for row in found.rows]
    for number, name in enumerate(COSTS):
        columns[name] = [_costs(row)[number] for row in found.rows]
    shown = fitting(columns, (*DISPENSABLE, *list(columns)[2:3]), width)
    title = f"{found.evaluation}: {found.items:,} items, judge {found.judge or 'none'}"
    if found.baseline:
        title += f", baseline {found.baseline}"
    made = table(title, list(shown), 1)
    for cells in zip(*shown.values(), strict=True):
        made.add_row(*map(Text, cells))
    return made


def fitting(columns: dict[str, list[str]], dispensable: Iterable[str], width: int) -> dict[str, list[str]]:
    """The columns that a terminal has room for; the least telling ones go first."""
    kept = dict(columns)
    for name in dispensable:
        if sum(max(map(len, (title, *cells))) + 2 for title, cells in kept.items()) <= width:
            break
        kept.pop(name, None)
    return kept


def _shown_figures(found: Board) -> list[str]:
    """The figures of a terminal's table: the first two of the evaluation."""
    names = dict.fromkeys(figure.name for row in found.rows for figure in row.figures)
    return list(names)[:2]


def _judged(row: Row) -> str:
    counts = row.counts
    lost = counts.refused + counts.unparsed + counts.unjudged
    return f"{counts.ok}" + (f" (+{lost} lost)" if lost else "") if counts.ok or lost else "-"


def _costs(row: Row) -> list[str]:
    """What a question takes."""
    cost = row.cost
    if cost is None:
        return ["-"] * len(COSTS)
    return [
        f"{cost.length:,.0f}",
        f"{cost.calls:g}" if cost.calls < 100 else f"{cost.calls:,.0f}",
        f"{cost.input_tokens + cost.output_tokens:,.0f}",
        dollars(cost.usd),
        _seconds(cost.latency_median),
        _seconds(cost.latency_p90),
    ]


def dollars(value: float | None) -> str:
    """A question's price; `n/a` where it is unknown."""
    return "n/a" if value is None else "$0" if value == 0 else f"${value:.4f}"


def _seconds(value: float) -> str:
    return f"{value:.1f} s" if value >= 1 else f"{1000 * value:.0f} ms"


def _differences(found: Board, width: int) -> Any:
    from rich.text import Text

    pairs = _shown_pairs(found)
    more = f", {len(found.pairs)} in all: see --json" if len(pairs) < len(found.pairs) else ""
    cells = [_pair_cells(pair) for pair in pairs]
    columns = {title: [each[number] for each in cells] for number, title in enumerate(PAIRED)}
    shown = fitting(columns, ("Questions", "Detectable", "More needed"), width)
    made = table(f"Paired differences in {found.label}{more}", list(shown), 2)
    for pair, line in zip(pairs, zip(*shown.values(), strict=True), strict=True):
        made.add_row(*map(Text, line), style="bold" if pair.significant else "")
    return made


def _pair_cells(pair: Pair) -> list[str]:
    smallest = pair.minimum_detectable_effect
    return [
        pair.first,
        pair.second,
        interval(pair.difference, signed=True),
        _p(pair.p_adjusted),
        f"{pair.pairs:,}" + (f" (-{pair.missing})" if pair.missing else ""),
        "-" if smallest is None else f"{smallest:.1f}",
        "none" if pair.significant else "-" if pair.more is None else f"{pair.more:,}",
    ]


def _shown_pairs(found: Board) -> list[Pair]:
    """All of them, or neighbours on the board and everybody against the baseline and the best."""
    from itertools import pairwise

    if len(found.pairs) <= MOST_PAIRS:
        return list(found.pairs)
    names = [row.name for row in found.rows]
    neighbours = set(pairwise(names))
    chosen = {names[0], found.baseline}
    near = [pair for pair in found.pairs if (pair.first, pair.second) in neighbours]
    others = [pair for pair in found.pairs if chosen & {pair.first, pair.second} and pair not in near]
    kept = [*near, *others][:MOST_PAIRS]
    return [pair for pair in found.pairs if pair in kept]


def _human(corrected: list[Corrected]) -> Any:
    from rich.text import Text

    columns = ["Entrant", "Corrected win rate", "People alone", "Judge alone", "Labels", "Kappa"]
    made = table("With human labels (prediction-powered)", columns, 1)
    for each in corrected:
        found = each.win_rate
        parts = [interval(part.percent()) for part in (found.estimate, found.human_only, found.model_only)]
        kappa = interval(each.agreement.kappa, digits=2)
        made.add_row(*map(Text, [each.name, *parts, f"{found.human_labels:,}", kappa]))
    return made


def interval(estimate: Estimate, *, signed: bool = False, digits: int = 1) -> str:
    """A number and its 95% interval."""
    from math import isfinite

    sign = "+" if signed else ""
    value = f"{estimate.value:{sign}.{digits}f}"
    if not isfinite(estimate.low) or estimate.standard_error == 0 == estimate.high - estimate.low:
        return value
    return f"{value} [{estimate.low:{sign}.{digits}f}, {estimate.high:{sign}.{digits}f}]"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
