"""Length against preference, one panel an entrant: do longer answers win, and by how much?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from moa.evaluate.numbers.intervals import Floats
from moa.evaluate.numbers.logistic import coefficients, sigmoid
from moa.evaluate.report.scale import Scale, linear
from moa.evaluate.report.scene import (
    NARROW,
    SMALL,
    TEXT,
    WIDE,
    Box,
    Cloud,
    Dot,
    Line,
    Mark,
    Plot,
    Point,
    Scene,
    Words,
    short,
)

MOST_PANELS = 12
MOST_DOTS = 400
"""Dots drawn in a panel; the means and the curve are of all questions."""
BINS = 8
CURVE = 61
RIDGE = 0.5
_HEIGHT, _HEAD, _FOOT, _LEFT, _GAP = 210.0, 26.0, 26.0, 46.0, 14.0


class Panel(NamedTuple):
    """One entrant: how much longer each answer is than what it is compared with, and what it was worth."""

    name: str
    lengths: Floats
    values: Floats
    """From 0 to 1."""


class Curve(NamedTuple):
    """`P = 1 / (1 + exp(-(level + slope * tanh(length / spread))))`, the shape that length control fits."""

    level: float
    slope: float
    spread: float

    def __call__(self, lengths: Floats) -> Floats:
        """The preference that is expected at these lengths."""
        return sigmoid(self.level + self.slope * np.tanh(lengths / self.spread))


def fit(lengths: Floats, values: Floats) -> Curve | None:
    """The curve through soft preferences; None where lengths do not differ.

    Length control's equation (Dubois et al. 2024, arXiv:2404.04475, section 3) without the difficulty of the
    instruction. A small ridge keeps it finite where length alone tells wins from losses.
    """
    spread = float(np.std(lengths, ddof=1)) if len(lengths) > 2 else 0.0
    if not spread > 0:
        return None
    rows = np.column_stack([np.ones(len(lengths)), np.tanh(lengths / spread)])
    level, slope = coefficients(rows, values, np.ones(len(values)), ridge=RIDGE).tolist()
    return Curve(level, slope, spread)


class Axes(NamedTuple):
    """What the two axes show."""

    across: str
    up: str


def lengths(name: str, title: str, panels: Sequence[Panel], axes: Axes, caption: Sequence[str] = ()) -> Plot:
    """A panel an entrant with its answers, their means by length, and the fitted curve."""
    shown = [panel for panel in panels if len(panel.values)][:MOST_PANELS]
    fits = [fit(panel.lengths, panel.values) for panel in shown]
    said = "; ".join(_said(panel, curve) for panel, curve in zip(shown, fits, strict=True))
    wide, narrow = (_scene(shown, fits, axes, width) for width in (WIDE, NARROW))
    return Plot(
        name,
        title,
        f"{axes.up} against length, in {len(shown)} panels. {said}.",
        wide,
        narrow,
        tuple(caption),
    )


def _said(panel: Panel, curve: Curve | None) -> str:
    if curve is None:
        return f"{panel.name}: lengths do not differ"
    at = curve(np.array([-curve.spread, curve.spread]))
    spread = f"{curve.spread:,.0f} characters"
    return f"{panel.name}: {at[0]:.0%} where {spread} shorter, {at[1]:.0%} where as much longer"


def _scene(panels: Sequence[Panel], fits: Sequence[Curve | None], axes: Axes, width: float) -> Scene:
    columns = 1 if width < WIDE else min(3, max(2, len(panels)))
    each = (width - _LEFT - _GAP * (columns - 1)) / columns
    low, high = _reach(panels)
    marks: list[Mark] = []
    for number, (panel, curve) in enumerate(zip(panels, fits, strict=True)):
        row, column = divmod(number, columns)
        left = _LEFT + column * (each + _GAP)
        top = row * (_HEIGHT + _HEAD + _FOOT) + _HEAD
        scale = Scale(low, high, left, left + each)
        up = Scale(0.0, 1.0, top + _HEIGHT - 8, top + 8)
        marks.append(Words(left, top - 8, short(panel.name, each * 0.86), "ink", TEXT, bold=True))
        marks += _frame(scale, up, top, column == 0)
        marks += _panel(panel, curve, scale, up)
    height = math.ceil(len(panels) / columns) * (_HEIGHT + _HEAD + _FOOT)
    marks.append(Words(10, _HEAD + _HEIGHT / 2, axes.up, "faint", SMALL, "middle", turned=True))
    marks.append(Words(_LEFT + (width - _LEFT) / 2, height + 16, axes.across, "faint", SMALL, "middle"))
    return Scene(width, height + 24, tuple(marks))


def _reach(panels: Sequence[Panel]) -> tuple[float, float]:
    """From the 1st to the 99th percentile of all lengths, 0 included: a few giants do not flatten the rest."""
    pooled = np.concatenate([panel.lengths for panel in panels])
    low, high = (float(end) for end in np.quantile(pooled, [0.01, 0.99]))
    scale = linear([min(low, 0.0), max(high, 0.0)], 0, 1)
    return scale.low, scale.high


def _frame(across: Scale, up: Scale, top: float, first: bool) -> Iterator[Mark]:
    yield Box(across.start, top, across.end - across.start, _HEIGHT, "panel", 4)
    for share in (0.0, 0.5, 1.0):
        y = up(share)
        yield Line((Point(across.start, y), Point(across.end, y)), "grid")
        if first:
            yield Words(across.start - 6, y + 4, f"{share:g}", "faint", SMALL, "end")
    for tick in across.ticks(4):
        yield Line(
            (Point(across(tick), top), Point(across(tick), top + _HEIGHT)), "axis" if tick == 0 else "grid"
        )
    for tick in _labelled(across):
        words = f"{tick:,.12g}".replace("-", "−")
        yield Words(across(tick), top + _HEIGHT + 15, words, "faint", SMALL - 0.5, "middle")


def _labelled(across: Scale) -> list[float]:
    """Round lengths whose words do not stand out over the panel; at least two, where that is possible."""
    for most in (4, 6, 8):
        inside = [
            x for x in across.ticks(most) if min(across(x) - across.start, across.end - across(x)) >= 16
        ]
        if len(inside) > 1:
            break
    return inside


def _panel(panel: Panel, curve: Curve | None, across: Scale, up: Scale) -> Iterator[Mark]:
    step = math.ceil(len(panel.values) / MOST_DOTS)
    pairs = zip(panel.lengths[::step].tolist(), panel.values[::step].tolist(), strict=True)
    yield Cloud(tuple(Point(across(length), up(value)) for length, value in pairs), "bar", 2.4)
    if curve is not None:
        xs = np.linspace(across.low, across.high, CURVE)
        yield Line(
            tuple(Point(across(x), up(y)) for x, y in zip(xs.tolist(), curve(xs).tolist(), strict=True)),
            "front",
            2.5,
        )
    for place, mean, error, n in _binned(panel):
        x, title = across(place), f"{n} answers, {place:+,.0f} characters on average: {mean:.0%}"
        yield Line((Point(x, up(min(1.0, mean + error))), Point(x, up(max(0.0, mean - error)))), "ink", 1.4)
        yield Dot(x, up(mean), 3.6, "ink", title=title)


def _binned(panel: Panel) -> Iterator[tuple[float, float, float, int]]:
    """Mean length, mean value and 1.96 of its standard errors of equally large groups by length."""
    order = np.argsort(panel.lengths, kind="stable")
    for rows in np.array_split(order, max(1, min(BINS, len(order) // 10))):
        values = panel.values[rows]
        error = 1.96 * float(values.std(ddof=1)) / math.sqrt(len(rows)) if len(rows) > 1 else 0.0
        yield float(panel.lengths[rows].mean()), float(values.mean()), error, len(rows)
