"""How a number falls as more and more members deceive: a panel a defence, the undefended graph behind it."""

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
    Dot,
    Line,
    Mark,
    Plot,
    Point,
    Scene,
    Words,
    short,
)
from moa.evaluate.report.words import Unit, has_interval

_HEIGHT, _HEAD, _FOOT, _LEFT, _GAP = 200.0, 26.0, 40.0, 42.0, 16.0


class Fall(NamedTuple):
    """One defence: its number at each count of deceivers, and how the breakdown point is told."""

    name: str
    steps: tuple[tuple[int, Estimate], ...]
    note: str = ""


def curves(
    name: str, title: str, falls: Sequence[Fall], behind: Fall | None, unit: Unit, caption: Sequence[str] = ()
) -> Plot:
    """A panel for each defence; `behind` is drawn grey in all of them."""
    said = ". ".join(
        f"{fall.name}: "
        + ", ".join(f"{count} deceivers {unit.long(estimate)}" for count, estimate in fall.steps)
        + (f"; {fall.note}" if fall.note else "")
        for fall in falls
    )
    wide, narrow = (_scene(falls, behind, unit, width) for width in (WIDE, NARROW))
    return Plot(name, title, f"{unit.title} by number of deceivers. {said}.", wide, narrow, tuple(caption))


def _scene(falls: Sequence[Fall], behind: Fall | None, unit: Unit, width: float) -> Scene:
    most = 3 if width == WIDE else 1
    across = min(most, len(falls))
    panel = (min(width, 360.0 * across) - _GAP * (across - 1)) / across
    marks: list[Mark] = []
    up = _upright([*falls, *([behind] if behind else [])], unit)
    for number, fall in enumerate(falls):
        x, y = (number % across) * (panel + _GAP), (number // across) * (_HEIGHT + _GAP)
        marks += _panel(fall, behind, unit, up, x, y, panel)
    rows = math.ceil(len(falls) / across)
    return Scene(width, rows * (_HEIGHT + _GAP) - _GAP, tuple(marks))


def _upright(falls: Sequence[Fall], unit: Unit) -> Scale:
    ends = [
        end
        for fall in falls
        for _, estimate in fall.steps
        for end in (estimate.low, estimate.value, estimate.high)
        if math.isfinite(end)
    ]
    return linear(ends, _HEIGHT - _FOOT, _HEAD, floor=unit.floor, roof=unit.roof)


def _panel(
    fall: Fall, behind: Fall | None, unit: Unit, up: Scale, x: float, y: float, width: float
) -> Iterator[Mark]:
    counts = [count for count, _ in fall.steps]
    left, right = x + _LEFT, x + width - 12
    across = Scale(min(counts) - 0.0, max(max(counts), 1), left + 8, right - 8)
    yield Words(left, y + 15, short(fall.name, right - left), "ink", TEXT, bold=True)
    for tick in up.ticks(5):
        level = y + up(tick)
        yield Line((Point(left, level), Point(right, level)), "grid")
        yield Words(left - 6, level + 4, f"{tick:g}".replace("-", "−"), "faint", SMALL, "end")
    for count in counts:
        yield Words(across(count), y + _HEIGHT - _FOOT + 16, str(count), "faint", SMALL, "middle")
    if behind is not None and behind is not fall:
        yield from _line(behind, unit, across, up, y, "axis")
    yield from _line(fall, unit, across, up, y, "bar", errors=True)
    words = fall.note or "deceivers"
    yield Words((left + right) / 2, y + _HEIGHT - 6, short(words, width - 8, SMALL), "faint", SMALL, "middle")


def _line(
    fall: Fall, unit: Unit, across: Scale, up: Scale, y: float, tone: str, *, errors: bool = False
) -> Iterator[Mark]:
    known = [(count, estimate) for count, estimate in fall.steps if math.isfinite(estimate.value)]
    points = tuple(Point(across(count), y + up(estimate.value)) for count, estimate in known)
    yield Line(points, tone, 2.0 if errors else 1.5, dashed=not errors)
    for (count, estimate), place in zip(known, points, strict=True):
        if errors and has_interval(estimate):
            yield Line(
                (Point(place.x, y + up(estimate.low)), Point(place.x, y + up(estimate.high))), "ink", 1.4
            )
        if errors:
            title = f"{fall.name}, {count} deceivers: {unit.long(estimate)}"
            yield Dot(place.x, place.y, 4.5, tone, title=title)
