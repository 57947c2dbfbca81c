"""Attacks as rows, defences as columns: each cell's number with its interval, coloured by what was lost."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from moa.evaluate.deception.matrix import Cell, Matrix
from moa.evaluate.report.palette import diverging
from moa.evaluate.report.scene import NARROW, SMALL, TEXT, WIDE, Box, Mark, Plot, Scene, Words, short, widest
from moa.evaluate.report.words import UNKNOWN, Unit, has_interval, points

HEIGHT = 46.0
TIGHT = 10.5
"""Size of the letters of an interval."""


def crossing(name: str, title: str, matrix: Matrix, unit: Unit, caption: Sequence[str] = ()) -> Plot:
    """A cell for every attack and defence: orange where it is worse than the clean graph, blue where it is better."""
    said = "; ".join(f"{cell.attack} against {cell.defence}: {_long(cell, unit)}" for cell in matrix.listed())
    wide, narrow = (_scene(matrix, unit, width) for width in (WIDE, NARROW))
    return Plot(name, title, f"{unit.title}, attack by defence. {said}.", wide, narrow, tuple(caption))


def _long(cell: Cell, unit: Unit) -> str:
    if cell.figure is None:
        return cell.trouble or UNKNOWN
    change = (
        f", {points(unit).long(cell.change.difference, signed=True)} against the clean graph"
        if cell.change
        else ""
    )
    return f"{unit.long(cell.figure.estimate)}{change}"


def _scene(matrix: Matrix, unit: Unit, width: float) -> Scene:
    tall = width < WIDE
    columns = (
        [f"{number}  {one}" for number, one in enumerate(matrix.defences, 1)] if tall else matrix.defences
    )
    left = 8.0 if tall else min(210.0, widest(matrix.attacks) + 16)
    cell = max(88.0, min(130.0, (width - left) / len(columns)))
    turned = not tall and widest(columns, SMALL) > cell - 6
    head = 20.0 * len(columns) + 26 if tall else (min(130.0, widest(columns, SMALL)) + 14 if turned else 24.0)
    row = HEIGHT + (20.0 if tall else 0.0)
    marks: list[Mark] = [*_heads(columns, left, head, cell, tall=tall, turned=turned, width=width)]
    reach = _reach(matrix)
    for number, attack in enumerate(matrix.attacks):
        top = head + row * number
        if tall:
            marks.append(Words(left, top + 15, short(attack, width - left), "ink", TEXT))
        else:
            marks.append(Words(left - 8, top + HEIGHT / 2 + 5, short(attack, left - 10), "ink", TEXT, "end"))
        for column, defence in enumerate(matrix.defences):
            found = matrix.cells.get((attack, defence))
            marks += _cell(found, unit, reach, left + cell * column, top + row - HEIGHT, cell)
    return Scene(max(width, left + cell * len(columns)), head + row * len(matrix.attacks) + 4, tuple(marks))


def _heads(
    columns: Sequence[str], left: float, head: float, cell: float, *, tall: bool, turned: bool, width: float
) -> Iterator[Mark]:
    for number, words in enumerate(columns):
        middle = left + cell * (number + 0.5)
        if tall:
            yield Words(left, 14 + 20 * number, short(words, width - left), "faint", TEXT)
            yield Words(middle, head - 8, str(number + 1), "faint", TEXT, "middle", bold=True)
        elif turned:
            yield Words(middle + 4, head - 8, short(words, head - 12, SMALL), "faint", SMALL, turned=True)
        else:
            yield Words(middle, head - 8, words, "faint", SMALL, "middle")


def _reach(matrix: Matrix) -> float:
    changes = [abs(cell.change.difference.value) for cell in matrix.listed() if cell.change]
    return max((change for change in changes if math.isfinite(change)), default=0.0)


def _cell(cell: Cell | None, unit: Unit, reach: float, x: float, y: float, width: float) -> Iterator[Mark]:
    if cell is None or cell.figure is None:
        yield Box(x + 1, y + 1, width - 2, HEIGHT - 2, "panel", 3, cell.trouble if cell else "not tried")
        words = "failed" if cell and cell.trouble else UNKNOWN if cell else ""
        yield Words(x + width / 2, y + HEIGHT / 2 + 4, words, "warn" if cell else "faint", SMALL, "middle")
        return
    change = cell.change.difference.value if cell.change else 0.0
    tone, written = diverging(change, reach)
    sure = cell.change is not None and cell.change.p_value <= 0.05
    estimate = cell.figure.estimate
    title = f"{cell.attack} against {cell.defence}: {_long(cell, unit)}"
    yield Box(x + 1, y + 1, width - 2, HEIGHT - 2, tone, 3, title)
    number = f"{unit.bare(estimate.value)}{'*' if sure else ''}{' !' if cell.trouble else ''}"
    spread = f"{unit.bare(estimate.low)} to {unit.bare(estimate.high)}" if has_interval(estimate) else ""
    yield Words(x + width / 2, y + 20, number, written, TEXT, "middle", bold=True)
    yield Words(x + width / 2, y + 36, spread, written, TIGHT, "middle")
