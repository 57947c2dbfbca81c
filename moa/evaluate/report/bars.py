"""One bar an entrant with its confidence interval."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from moa.evaluate.numbers.intervals import Estimate
from moa.evaluate.report.scale import Scale, linear
from moa.evaluate.report.scene import (
    NARROW,
    SMALL,
    TEXT,
    WIDE,
    Box,
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
from moa.evaluate.report.words import Unit, has_interval

ROW = 30.0
TALL_ROW = 46.0
"""On a phone a name stands above its bar."""
BAR = 16.0


class Bar(NamedTuple):
    """An entrant's value; `estimate` is in the stored unit, and None where there is none."""

    name: str
    estimate: Estimate | None


def bars(name: str, title: str, entries: Sequence[Bar], unit: Unit, caption: Sequence[str] = ()) -> Plot:
    """Bars from the axis' floor, or dots where the axis has none, best first."""
    said = "; ".join(
        f"{entry.name} {unit.long(entry.estimate) if entry.estimate else 'n/a'}" for entry in entries
    )
    return Plot(
        name,
        title,
        f"{unit.title} of {len(entries)} entrants with 95% confidence intervals. {said}.",
        _scene(entries, unit, WIDE),
        _scene(entries, unit, NARROW),
        tuple(caption),
    )


def _scene(entries: Sequence[Bar], unit: Unit, width: float) -> Scene:
    tall = width < WIDE
    row, top = (TALL_ROW if tall else ROW), 8.0
    values = [_value(entry, unit) for entry in entries]
    room = widest(values, SMALL) + 14
    left = 6.0 if tall else min(250.0, widest([entry.name for entry in entries]) + 16)
    axis = _axis(entries, unit, left, width - room)
    bottom = top + row * len(entries)
    marks: list[Mark] = [*_grid(axis, unit, top, bottom, 4 if tall else 7)]
    for number, entry in enumerate(entries):
        marks += _row(entry, unit, axis, top + row * number, tall=tall, width=width)
        marks.append(
            Words(
                width, _centre(top + row * number, tall) + 4, values[number], "ink", SMALL, "end", bold=True
            )
        )
    marks.append(Words((left + width - room) / 2, bottom + 38, unit.heading, "faint", SMALL, "middle"))
    return Scene(width, bottom + 46, tuple(marks))


def _axis(entries: Sequence[Bar], unit: Unit, start: float, end: float) -> Scale:
    ends = [end for entry in entries if entry.estimate for end in _ends(entry.estimate)]
    middle = [] if unit.middle is None else [unit.middle]
    scale = linear([*ends, *middle], start, end, floor=unit.floor, roof=unit.roof)
    # Bars start where nothing is, so that their lengths can be compared.
    return scale if unit.floor is None else Scale(unit.floor, scale.high, start, end)


def _ends(estimate: Estimate) -> list[float]:
    return [end for end in (estimate.low, estimate.value, estimate.high) if math.isfinite(end)]


def _grid(axis: Scale, unit: Unit, top: float, bottom: float, most: int) -> Iterator[Mark]:
    for tick in axis.ticks(most):
        x = axis(tick)
        yield Line((Point(x, top), Point(x, bottom)), "grid")
        yield Words(x, bottom + 17, f"{tick:g}".replace("-", "−"), "faint", SMALL, "middle")
    if unit.middle is not None and axis.low <= unit.middle <= axis.high:
        x = axis(unit.middle)
        yield Line((Point(x, top), Point(x, bottom)), "axis", 1.5, dashed=True)


def _row(entry: Bar, unit: Unit, axis: Scale, y: float, *, tall: bool, width: float) -> Iterator[Mark]:
    if tall:
        yield Words(axis.start, y + 15, short(entry.name, width - 12), "ink", TEXT)
    else:
        yield Words(
            axis.start - 10, y + ROW / 2 + 4.5, short(entry.name, axis.start - 14), "ink", TEXT, "end"
        )
    if entry.estimate is None or not math.isfinite(entry.estimate.value):
        return
    centre = _centre(y, tall)
    spot = axis(entry.estimate.value)
    title = f"{entry.name}: {unit.long(entry.estimate)}"
    if unit.floor is not None:
        yield Box(axis.start, centre - BAR / 2, spot - axis.start, BAR, "fill", 2, title)
    yield from whisker(axis, entry.estimate, centre)
    if unit.floor is None:
        yield Dot(spot, centre, 5, "bar", title=title)


def _centre(y: float, tall: bool) -> float:
    return y + (TALL_ROW - BAR / 2 - 6 if tall else ROW / 2)


def whisker(axis: Scale, estimate: Estimate, y: float) -> Iterator[Mark]:
    """A horizontal error bar; nothing where there is no interval."""
    if not has_interval(estimate):
        return
    low, high = axis(estimate.low), axis(estimate.high)
    yield Line((Point(low, y), Point(high, y)), "ink", 1.6)
    for end in (low, high):
        yield Line((Point(end, y - 5), Point(end, y + 5)), "ink", 1.6)


def _value(entry: Bar, unit: Unit) -> str:
    return unit.write(entry.estimate.value) if entry.estimate else "n/a"
