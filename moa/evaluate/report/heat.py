"""Every entrant against every other on the same questions: the difference as colour and as number."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from moa.evaluate.numbers.intervals import Estimate
from moa.evaluate.report.palette import diverging
from moa.evaluate.report.scene import NARROW, SMALL, TEXT, WIDE, Box, Mark, Plot, Scene, Words, short, widest
from moa.evaluate.report.words import Unit, chance

CELL = 30.0


class Difference(NamedTuple):
    """Row minus column, and its p-value after the correction for many comparisons."""

    estimate: Estimate
    p: float


Pairs = Mapping[tuple[str, str], Difference]


def heat_map(
    name: str, title: str, entrants: Sequence[str], pairs: Pairs, unit: Unit, caption: Sequence[str] = ()
) -> Plot:
    """A square of cells: blue where the row is better, orange where the column is, `*` where it is beyond chance."""
    both = _mirrored(pairs)
    said = "; ".join(
        f"{one} minus {other} {unit.long(pair.estimate, signed=True)}, p {chance(pair.p)}"
        for (one, other), pair in pairs.items()
    )
    wide, narrow = (_scene(entrants, both, unit, width) for width in (WIDE, NARROW))
    return Plot(name, title, f"Paired differences of {unit.title}. {said}.", wide, narrow, tuple(caption))


def _mirrored(pairs: Pairs) -> dict[tuple[str, str], Difference]:
    """Both directions of each pair."""
    both = dict(pairs)
    for (one, other), pair in pairs.items():
        both[other, one] = Difference(pair.estimate.scaled(-1), pair.p)
    return both


def _scene(entrants: Sequence[str], pairs: Pairs, unit: Unit, width: float) -> Scene:
    tall = width < WIDE
    names = [f"{rank}  {entrant}" for rank, entrant in enumerate(entrants, 1)]
    left = 24.0 if tall else min(230.0, widest(names) + 14)
    top = 24.0 + (20 * len(names) if tall else 0)
    cell = max(52.0, min(92.0, (width - left) / len(names)))
    full = max(width, left + cell * len(names))
    marks: list[Mark] = []
    if tall:
        marks += [
            Words(0, 14 + 20 * number, short(one, width), "ink", TEXT) for number, one in enumerate(names)
        ]
    for number in range(len(names)):
        middle = left + cell * (number + 0.5)
        marks.append(Words(middle, top - 8, str(number + 1), "faint", TEXT, "middle", bold=True))
        words = str(number + 1) if tall else short(names[number], left - 12)
        marks.append(Words(left - 8, top + CELL * (number + 0.5) + 5, words, "ink", TEXT, "end"))
    marks += _cells(entrants, pairs, unit, left, top, cell)
    return Scene(full, top + CELL * len(names) + 4, tuple(marks))


def _cells(
    entrants: Sequence[str], pairs: Pairs, unit: Unit, left: float, top: float, cell: float
) -> Iterator[Mark]:
    reach = max((abs(p.estimate.value) for p in pairs.values() if math.isfinite(p.estimate.value)), default=0)
    for row, one in enumerate(entrants):
        for column, other in enumerate(entrants):
            x, y = left + cell * column, top + CELL * row
            if pair := pairs.get((one, other)):
                yield from _cell(pair, f"{one} minus {other}", unit, reach, x, y, cell)
            else:
                yield Box(x + 1, y + 1, cell - 2, CELL - 2, "panel", 3)
                words = "" if one == other else "n/a"
                yield Words(x + cell / 2, y + CELL / 2 + 4, words, "faint", SMALL, "middle")


def _cell(
    pair: Difference, what: str, unit: Unit, reach: float, x: float, y: float, width: float
) -> Iterator[Mark]:
    tone, written = diverging(pair.estimate.value, reach)
    sure = pair.p < 0.05
    title = f"{what}: {unit.long(pair.estimate, signed=True)}, p {chance(pair.p)} (Holm)"
    number = unit.bare(pair.estimate.value, signed=True)
    yield Box(x + 1, y + 1, width - 2, CELL - 2, tone, 3, title)
    yield Words(
        x + width / 2, y + CELL / 2 + 4, f"{number}{'*' if sure else ''}", written, SMALL, "middle", bold=sure
    )
