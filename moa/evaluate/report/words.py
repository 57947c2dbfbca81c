"""Numbers as people read them: with their unit, their error, and what cannot be known said so."""

from __future__ import annotations

import math
from dataclasses import dataclass

from moa.evaluate.numbers.intervals import Estimate

UNKNOWN = "n/a"


@dataclass(frozen=True, slots=True)
class Unit:
    """How the values of one number are written, and where they may lie.

    `digits` stand after the point, `floor` is the least possible value, where bars begin, and `middle` the value
    that says "no different from the baseline".
    """

    title: str
    suffix: str = ""
    digits: int = 1
    floor: float | None = None
    roof: float | None = None
    middle: float | None = None

    @property
    def heading(self) -> str:
        """The title with the unit: `Win rate (%)`."""
        return f"{self.title} ({self.suffix.strip()})" if self.suffix else self.title

    def write(self, value: float, *, signed: bool = False) -> str:
        """A value, rounded, with its unit."""
        return f"{self.bare(value, signed=signed)}{self.suffix}" if math.isfinite(value) else UNKNOWN

    def bare(self, value: float, *, signed: bool = False) -> str:
        """The same without the unit."""
        sign = "+" if signed else "-"
        return _minus(f"{value:{sign}.{self.digits}f}") if math.isfinite(value) else UNKNOWN

    def interval(self, estimate: Estimate, *, signed: bool = False) -> str:
        """`52.1 to 58.3`, or that there is none."""
        if not has_interval(estimate):
            return UNKNOWN
        return f"{self.bare(estimate.low, signed=signed)} to {self.bare(estimate.high, signed=signed)}"

    def long(self, estimate: Estimate, *, signed: bool = False) -> str:
        """`55.2% (95% CI 52.1 to 58.3)`."""
        return (
            f"{self.write(estimate.value, signed=signed)} (95% CI {self.interval(estimate, signed=signed)})"
        )


MIDDLES = {
    "win-rate": 50.0,
    "length-controlled": 50.0,
    "discrete-win-rate": 50.0,
    "style-controlled": 50.0,
    "wb-reward": 0.0,
}
"""Where an entrant is as good as the baseline."""


DIGITS = {"elo": 0, "bradley-terry": 0, "wb-reward": 1}
"""Digits after the point, where they are neither one, for percent, nor two."""


def unit_of(name: str, label: str, suffix: str) -> Unit:
    """How a figure of the board is written: a share in percent from 0 to 100, a score on its own scale."""
    middle, title = MIDDLES.get(name), label[:1].upper() + label[1:]
    if suffix == "%" and middle != 0:
        return Unit(title, "%", 1, 0.0, 100.0, middle)
    return Unit(title, suffix, DIGITS.get(name, 1 if suffix == "%" else 2), middle=middle)


def points(unit: Unit) -> Unit:
    """The unit of a difference: percent less percent are points."""
    return Unit(unit.title, " points" if unit.suffix == "%" else unit.suffix, unit.digits)


def has_interval(estimate: Estimate) -> bool:
    """Whether both ends of the interval are known."""
    return math.isfinite(estimate.low) and math.isfinite(estimate.high)


def _minus(text: str) -> str:
    """A true minus; and a zero has no sign."""
    stripped = text.lstrip("+-")
    if not stripped.strip("0."):
        return stripped
    return f"−{stripped}" if text.startswith("-") else text


def dollars(value: float | None) -> str:
    """Two digits from a dollar up, else two significant ones; `n/a` where a price is unknown."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    if value == 0:
        return "$0"
    return f"${value:,.2f}" if value >= 1 else f"${value:.{max(2, 1 - math.floor(math.log10(value)))}f}"


def seconds(value: float | None) -> str:
    """Two significant digits below ten seconds."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    return f"{value:,.0f} s" if value >= 10 else f"{value:.2g} s" if value else "0 s"


def count(number: float, one: str, many: str | None = None) -> str:
    """`1 question`, `1,200 questions`."""
    return f"{number:,.0f} {one if number == 1 else many or one + 's'}"


def chance(p: float) -> str:
    """A p-value; small ones as a bound."""
    if not math.isfinite(p):
        return UNKNOWN
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def listed(names: list[str], most: int = 6) -> str:
    """`a, b and c`; from `most` on only how many more there are."""
    if len(names) > most:
        return f"{', '.join(names[: most - 1])} and {len(names) - most + 1} more"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
