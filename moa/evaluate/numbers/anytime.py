"""Looking at the results as they come: intervals and tests that stay valid whenever one stops.

Waudby-Smith and Ramdas 2024, "Estimating means of bounded random variables by betting" (JRSS B 86:1,
arXiv:2010.09686), Theorem 3: the hedged capital process with predictable plug-in bets. The capital is the mean of
both bets, which is never less than the theorem's larger half and is a martingale as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from moa.errors import UsageError
from moa.evaluate.numbers.intervals import LEVEL, Estimate, Floats, bounded

GRID = 1_000
"""Candidate means between the bounds; the interval is widened by one step, so it errs on the wide side."""
TRUNCATION = 0.5
"""The most of its capital that a bet may lose in one round."""
_CHUNK = 1_024

Reason = Literal["different", "precise", "undecided"]


@dataclass(frozen=True, slots=True, eq=False)
class ConfidenceSequence:
    """After each question: an interval, and the evidence against a mean of `null`.

    With chance `level` the intervals contain the mean at ALL times. `e_values` are the capital of one who
    bets against `null`: it exceeds 1/alpha at any time with chance at most alpha (Ville's inequality).
    """

    low: Floats
    high: Floats
    e_values: Floats
    estimate: Estimate
    null: float
    level: float

    @property
    def p_value(self) -> float:
        """The p-value that stays valid whenever one looks: 1 over the largest capital so far."""
        return min(1.0, 1 / float(self.e_values.max()))


class Stop(NamedTuple):
    """When the rule says stop (questions seen, from 1), or that it has not yet; and why."""

    at: int | None
    reason: Reason


def confidence_sequence(
    values: npt.ArrayLike,
    *,
    lower: float = -1.0,
    upper: float = 1.0,
    null: float = 0.0,
    level: float = LEVEL,
    grid: int = GRID,
) -> ConfidenceSequence:
    """The hedged confidence sequence of a mean of values within bounds, such as paired differences of win rates.

    The order must be random and fixed before any result is seen, as that of a seeded subset is; one value a
    question (average repeated judgments first).

    Raises:
        UsageError: when a value is out of bounds, or `null` is not strictly within them.
    """
    given = bounded(values, "differences", lower, upper)
    if not lower < null < upper:
        raise UsageError(f"the null mean {null:g} must lie between {lower:g} and {upper:g}")
    scaled, alpha = (given - lower) / (upper - lower), 1 - level
    low, high = _intervals(scaled, bets(scaled, alpha), alpha, grid)
    low, high = lower + (upper - lower) * low, lower + (upper - lower) * high
    evidence = e_values(given, lower=lower, upper=upper, null=null, level=level)
    deviation = float(given.std(ddof=1)) if len(given) > 1 else float("nan")
    end = Estimate(
        float(given.mean()),
        deviation / len(given) ** 0.5,
        float(low[-1]),
        float(high[-1]),
        len(given),
        "anytime-valid (hedged betting)",
    )
    return ConfidenceSequence(low, high, evidence, end, null, level)


def e_values(
    values: npt.ArrayLike,
    *,
    lower: float = -1.0,
    upper: float = 1.0,
    null: float = 0.0,
    level: float = LEVEL,
) -> Floats:
    """The capital after each value of one who bets half on the mean being above `null` and half on below."""
    scaled = (bounded(values, "differences", lower, upper) - lower) / (upper - lower)
    candidate = np.array([(null - lower) / (upper - lower)])
    start = np.zeros((2, 1))
    up, down = _growth(scaled, bets(scaled, 1 - level), candidate, start)
    return np.asarray(np.exp(np.logaddexp(up, down)[:, 0]) / 2)


def stopping(sequence: ConfidenceSequence, *, half_width: float | None = None) -> Stop:
    """The first question after which to stop: the mean differs from `null`, or is known to `half_width`.

    Stopping there keeps the chance of a false "different" at 1 - level, however often one looked.
    """
    found: list[tuple[int, Reason]] = []
    different = np.flatnonzero(sequence.e_values >= 1 / (1 - sequence.level))
    if len(different):
        found.append((int(different[0]) + 1, "different"))
    if half_width is not None:
        precise = np.flatnonzero(sequence.high - sequence.low <= 2 * half_width)
        found.extend([(int(precise[0]) + 1, "precise")] if len(precise) else [])
    return Stop(*min(found)) if found else Stop(None, "undecided")


def bets(scaled: Floats, alpha: float) -> Floats:
    """The predictable plug-in bets on values from 0 to 1: each uses only the values before it.

    `sqrt(2 ln(2/alpha) / (variance * t ln(1+t)))` with the running variance that starts at 1/4.
    """
    t = np.arange(1, len(scaled) + 1)
    means = (0.5 + np.cumsum(scaled)) / (t + 1)
    variances = (0.25 + np.cumsum(np.square(scaled - means))) / (t + 1)
    before = np.concatenate([[0.25], variances[:-1]])
    return np.asarray(np.sqrt(2 * np.log(2 / alpha) / (before * t * np.log1p(t))))


def _growth(scaled: Floats, sizes: Floats, candidates: Floats, start: Floats) -> tuple[Floats, Floats]:
    """The log capital (values x candidates) of the bets above and below each candidate mean."""
    with np.errstate(divide="ignore"):
        above = np.minimum(sizes[:, None], TRUNCATION / candidates)
        below = np.minimum(sizes[:, None], TRUNCATION / (1 - candidates))
    edge = scaled[:, None] - candidates
    up = start[0] + np.cumsum(np.log1p(above * edge), axis=0)
    down = start[1] + np.cumsum(np.log1p(-below * edge), axis=0)
    return up, down


def _intervals(scaled: Floats, sizes: Floats, alpha: float, grid: int) -> tuple[Floats, Floats]:
    """Both ends after each value: the hull of the candidates against which nobody's capital reached 1/alpha."""
    candidates = np.linspace(0, 1, grid + 1)
    lows, highs = [], []
    for kept in _kept(scaled, sizes, candidates, np.log(2 / alpha)):
        lows.append(candidates[kept.argmax(axis=1)])
        highs.append(candidates[grid - kept[:, ::-1].argmax(axis=1)])
    step = 1 / grid
    return np.maximum(0, np.concatenate(lows) - step), np.minimum(1, np.concatenate(highs) + step)


def _kept(scaled: Floats, sizes: Floats, candidates: Floats, most: float) -> Iterator[npt.NDArray[np.bool_]]:
    """For a chunk of values at a time, which candidates (values x candidates) are still in."""
    start = np.zeros((2, len(candidates)))
    still = np.ones(len(candidates), dtype=np.bool_)
    for first in range(0, len(scaled), _CHUNK):
        rows = slice(first, first + _CHUNK)
        up, down = _growth(scaled[rows], sizes[rows], candidates, start)
        start = np.stack([up[-1], down[-1]])
        kept = np.logical_and.accumulate(np.logaddexp(up, down) < most, axis=0) & still
        # The last candidate that is in stays in: an interval is never empty.
        survivors = kept.any(axis=1)
        kept[~survivors] = kept[survivors][-1] if survivors.any() else still
        still = kept[-1]
        yield kept
