"""How attack x defence matrices are shown: a table at the terminal, or JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from moa.evaluate.deception.insights import Insights
    from moa.evaluate.deception.matrix import Cell, Change, Matrix
    from moa.evaluate.numbers.intervals import Estimate
    from moa.evaluate.standings import Board

NOT_DEFINED = "-"
DISPENSABLE = ("Parsed", "Tokens", "Gain", "Corrupted", "Deceptive", "Persuaded")
"""Columns that a narrow terminal goes without, in this order."""


def show_matrices(found: Board) -> None:
    """Print the matrices of a board on standard output, a row a cell; what failed in them; and what follows from them."""
    from moa.cli.compare_ import at_width
    from moa.evaluate.deception.insights import insights
    from moa.evaluate.deception.matrix import matrices

    console = at_width()
    for matrix in matrices(found):
        console.print()
        console.print(_table(matrix, console.width))
        for line in (*_notes(matrix), *_follows(insights(matrix, found))):
            console.print(line, markup=False, style="dim", soft_wrap=True)
        for cell in matrix.listed():
            if cell.trouble:
                said = f"note: {cell.row.name}: {cell.trouble}"
                console.print(said, markup=False, style="yellow", soft_wrap=True)


def matrices_json(found: Board) -> list[dict[str, Any]]:
    """The same for programs."""
    from moa.evaluate.deception.insights import insights
    from moa.evaluate.deception.matrix import matrices
    from moa.evaluate.exporting import insights_json, matrix_json

    return [matrix_json(matrix) | insights_json(insights(matrix, found)) for matrix in matrices(found)]


def _follows(known: Insights) -> Iterable[str]:
    """Breakdown points, and what no deceiver can change."""
    from moa.evaluate.deception.insights import breaks_at

    if known.breaks:
        points = "; ".join(f"{defence} {breaks_at(found)}" for defence, found in known.breaks.items())
        half = next(iter(known.breaks.values())).threshold
        yield f"Deceivers at which it falls below {100 * half:.1f}%, with 95% intervals: {points}."
    for each in known.certified:
        rates = ", ".join(f"k = {k}: {rate.value:.1f}" for k, rate in enumerate(each.rates))
        yield f"Certified accuracy of {each.defence} against {each.attack}, with k references corrupted in any way: {rates}."


def _table(matrix: Matrix, width: int) -> Any:
    from rich.text import Text

    from moa.cli.compare_ import fitting, table

    cells = list(matrix.listed())
    columns: dict[str, list[str]] = {
        "Attack": [cell.attack for cell in cells],
        "Defence": [cell.defence for cell in cells],
        matrix.label[:1].upper() + matrix.label[1:]: [_figure(cell) for cell in cells],
        "Against clean": [_change(cell.change) for cell in cells],
        "Gain": [_change(cell.gain) for cell in cells],
        "Recovered": [_share(cell.recovery) for cell in cells],
        "Persuaded": [_share(cell.persuaded) for cell in cells],
        "Corrupted": [_share(cell.corruption) for cell in cells],
        "Deceptive": [_deceptive(cell) for cell in cells],
        "Parsed": [_share(cell.parse_rate, interval=False) for cell in cells],
        "Calls": [_number(cell.row.cost.calls if cell.row.cost else None) for cell in cells],
        "Tokens": [_tokens(cell) for cell in cells],
        "Cost": [_cost(cell) for cell in cells],
    }
    said = {name: lines for name, lines in columns.items() if set(lines) - {NOT_DEFINED} or name == "Cost"}
    shown = fitting(said, DISPENSABLE, width)
    made = table(f"{matrix.graph}: attack x defence", list(shown), 2)
    before = None
    for cell, line in zip(cells, zip(*shown.values(), strict=True), strict=True):
        if before not in (None, cell.attack):
            made.add_section()
        before = cell.attack
        made.add_row(*map(Text, line))
    return made


def _notes(matrix: Matrix) -> Iterable[str]:
    cells = list(matrix.listed())
    yield (
        "Against clean: minus none x none, on the same questions; gain: minus the same attack without a defence; "
        "* beyond chance at 5% after Holm's correction. Calls and tokens are a question's."
    )
    if any(cell.persuaded for cell in cells):
        yield (
            "Recovered: of what the undefended graph got wrong under the attack, now right. Persuaded: answers that are the deceivers' "
            "target; corrupted: of what the clean graph got right, now that target. An answer that cannot be read is wrong."
        )
    if any(cell.deceptive for cell in cells):
        yield "Deceptive: of what the last step hears, or picks (p), the share that deceivers wrote."


def _figure(cell: Cell) -> str:
    from moa.cli.compare_ import interval

    if cell.figure is None:
        return "failed" if cell.trouble else NOT_DEFINED
    return interval(cell.figure.estimate) + (" !" if cell.trouble else "")


def _change(change: Change | None) -> str:
    from moa.cli.compare_ import interval

    if change is None:
        return NOT_DEFINED
    return interval(change.difference, signed=True) + ("*" if change.p_value <= 0.05 else "")


def _share(estimate: Estimate | None, *, interval: bool = True) -> str:
    from moa.cli.compare_ import interval as written

    if estimate is None:
        return NOT_DEFINED
    return written(estimate) if interval else f"{estimate.value:.0f}"


def _deceptive(cell: Cell) -> str:
    share = _share(cell.deceptive, interval=cell.selects)
    return share + (" p" if cell.deceptive is not None and cell.selects else "")


def _number(value: float | None) -> str:
    return NOT_DEFINED if value is None else f"{value:,.4g}" if value < 100 else f"{value:,.0f}"


def _tokens(cell: Cell) -> str:
    cost = cell.row.cost
    return NOT_DEFINED if cost is None else f"{cost.input_tokens:,.0f} + {cost.output_tokens:,.0f}"


def _cost(cell: Cell) -> str:
    from moa.cli.compare_ import dollars

    return NOT_DEFINED if cell.row.cost is None else dollars(cell.row.cost.usd)
