"""From values to pixels, and the round values at which an axis is marked."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

LOG_FROM = 12.0
"""Ratio of the largest to the smallest value from which an axis is logarithmic."""


@dataclass(frozen=True, slots=True)
class Scale:
    """A linear or logarithmic axis: `low` to `high` become `start` to `end` pixels."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The pixel of a value; those beyond an end are put on it."""
        held = min(max(value, self.low), self.high)
        share = self._place(held) / self._place(self.high)
        return self.start + share * (self.end - self.start)

    def _place(self, value: float) -> float:
        return math.log(value / self.low) if self.log else value - self.low

    def ticks(self, most: int = 6) -> list[float]:
        """Round values within the axis, at most about `most` of them."""
        if self.log:
            return log_ticks(self.low, self.high, most)
        step = nice_step((self.high - self.low) / max(1, most - 1))
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [float(f"{number * step:.10g}") for number in range(first, last + 1)]


def linear(
    values: Iterable[float],
    start: float,
    end: float,
    *,
    floor: float | None = None,
    roof: float | None = None,
) -> Scale:
    """An axis that holds all values with some room, but does not pass `floor` and `roof` for it."""
    finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    room = 0.08 * (high - low) or abs(high) * 0.1 or 1.0
    below = low - room if floor is None else max(low - room, min(floor, low))
    above = high + room if roof is None else min(high + room, max(roof, high))
    return Scale(below, above if above > below else below + 1.0, start, end)


def positive(values: Iterable[float], start: float, end: float) -> Scale:
    """An axis of amounts: logarithmic where they differ by orders of magnitude, else from 0."""
    finite = [value for value in values if math.isfinite(value) and value >= 0] or [1.0]
    above = [value for value in finite if value > 0]
    if len(above) == len(finite) and max(above) / min(above) >= LOG_FROM:
        return Scale(min(above) / 1.5, max(above) * 1.5, start, end, log=True)
    return Scale(0.0, max(finite) * 1.1 or 1.0, start, end)


def nice_step(rough: float) -> float:
    """The next of 1, 2, 2.5, 5, 10 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(nice * power for nice in (1, 2, 2.5, 5, 10) if rough <= nice * power * (1 + 1e-9))


def log_ticks(low: float, high: float, most: int) -> list[float]:
    """Powers of ten; with their multiples by 2 and 5 where few of them fit in."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        ticks = [factor * 10.0**power for power in powers for factor in factors]
        inside = [tick for tick in ticks if low * (1 - 1e-9) <= tick <= high * (1 + 1e-9)]
        if len(inside) <= most:
            break
    return inside[:: max(1, math.ceil(len(inside) / most))]
