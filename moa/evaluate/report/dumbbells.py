"""What was planned against what came, one row an entrant."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from moa.evaluate.report.scale import Scale, positive
from moa.evaluate.report.scene import (
    NARROW,
    SMALL,
    TEXT,
    WIDE,
    Dot,
    Line,
    Mark,
    Plot,
    Point,
    Scene,
    Words,
    short,
    widest,
)

ROW, TALL_ROW, HEAD = 28.0, 44.0, 30.0


class Dumbbell(NamedTuple):
    """An entrant's planned amount (None: not known) and the real one."""

    name: str
    planned: float | None
    real: float


def dumbbells(
    name: str, title: str, entries: Sequence[Dumbbell], across: str, caption: Sequence[str] = ()
) -> Plot:
    """A ring where the plan was, a dot where it came out, and a line between."""
    said = "; ".join(
        f"{entry.name}: planned {_amount(entry.planned)}, used {_amount(entry.real)}" for entry in entries
    )
    wide, narrow = (_scene(entries, across, width) for width in (WIDE, NARROW))
    return Plot(name, title, f"{across}, planned and used. {said}.", wide, narrow, tuple(caption))


def _amount(value: float | None) -> str:
    return "n/a" if value is None else f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _scene(entries: Sequence[Dumbbell], across: str, width: float) -> Scene:
    tall = width < WIDE
    row = TALL_ROW if tall else ROW
    left = 8.0 if tall else min(250.0, widest([entry.name for entry in entries]) + 18)
    right = width - widest([_amount(entry.real) for entry in entries], SMALL) - 16
    amounts = [amount for entry in entries for amount in (entry.planned, entry.real) if amount is not None]
    scale, bottom = positive(amounts, left, right), HEAD + row * len(entries)
    marks: list[Mark] = [*_legend(left), *_grid(scale, bottom, 4 if tall else 7)]
    for number, entry in enumerate(entries):
        top = HEAD + row * number
        base = top + 14 if tall else top + ROW / 2 + 4.5
        place = (
            (0.0, base, short(entry.name, width - 8))
            if tall
            else (left - 10, base, short(entry.name, left - 14))
        )
        marks.append(Words(*place, "ink", TEXT, "start" if tall else "end"))
        marks += _row(entry, scale, top + (row - 13 if tall else ROW / 2), width)
    kind = f"{across}{' (logarithmic)' if scale.log else ''}"
    marks.append(Words((left + right) / 2, bottom + 38, kind, "faint", SMALL, "middle"))
    return Scene(width, bottom + 46, tuple(marks))


def _legend(left: float) -> Iterator[Mark]:
    yield Dot(left + 6, 11, 5, "bar", hollow=True)
    yield Words(left + 17, 15, "planned", "faint", SMALL)
    yield Dot(left + 86, 11, 6, "bar")
    yield Words(left + 97, 15, "used", "faint", SMALL)


def _grid(scale: Scale, bottom: float, most: int) -> Iterator[Mark]:
    for tick in scale.ticks(most):
        x = scale(tick)
        yield Line((Point(x, HEAD), Point(x, bottom)), "grid")
        yield Words(x, bottom + 17, f"{tick:,.12g}", "faint", SMALL, "middle")


def _row(entry: Dumbbell, scale: Scale, y: float, width: float) -> Iterator[Mark]:
    real, title = (
        scale(entry.real),
        f"{entry.name}: planned {_amount(entry.planned)}, used {_amount(entry.real)}",
    )
    if entry.planned is not None:
        planned = scale(entry.planned)
        yield Line((Point(planned, y), Point(real, y)), "fill", 4)
        yield Dot(planned, y, 5, "bar", hollow=True, title=title)
    yield Dot(real, y, 6, "bar", title=title)
    yield Words(width, y + 4, _amount(entry.real), "ink", SMALL, "end", bold=True)
