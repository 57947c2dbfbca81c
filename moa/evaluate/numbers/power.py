"""What a comparison could have seen: the smallest effect, and how many more questions a difference needs."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, isfinite, sqrt
from statistics import NormalDist

import numpy as np

from moa.errors import UsageError
from moa.evaluate.numbers.intervals import Estimate, special, t_quantile

ALPHA = 0.05
POWER = 0.8
LARGE = 5_000
"""From this many questions on, Student's t is taken for the normal it has become."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """What `n` questions can tell apart, and what a difference needs; effects in the unit of the data.

    `needed` and `more` are None for a difference of exactly 0, which no number of questions resolves.
    """

    n: int
    standard_deviation: float
    minimum_detectable_effect: float
    difference: float
    achieved_power: float
    needed: int | None
    more: int | None
    alpha: float
    power: float


def resolution(
    estimate: Estimate, *, difference: float | None = None, alpha: float = ALPHA, power: float = POWER
) -> Resolution:
    """Whether more questions would settle a paired difference (default: the observed one).

    The deviation is `SE * sqrt(n)`, which includes what repeated judgments of one question do. The power at an
    observed difference says no more than its p-value: read `needed` as a plan, not as evidence.
    """
    aim = estimate.value if difference is None else difference
    deviation = estimate.standard_error * sqrt(estimate.n)
    needed = questions_needed(aim, deviation, alpha=alpha, power=power)
    return Resolution(
        estimate.n,
        deviation,
        minimum_detectable_effect(deviation, estimate.n, alpha=alpha, power=power),
        aim,
        power_of(aim, deviation, estimate.n, alpha=alpha),
        needed,
        None if needed is None else max(0, needed - estimate.n),
        alpha,
        power,
    )


def power_of(difference: float, deviation: float, n: int, *, alpha: float = ALPHA) -> float:
    """The chance that a two-sided paired t-test of `n` questions rejects, from the noncentral t distribution."""
    _check(deviation, n)
    if deviation == 0:
        return alpha if difference == 0 else 1.0
    shift = abs(difference) / deviation * sqrt(n)
    if n >= LARGE:
        normal = NormalDist()
        reach = normal.inv_cdf(1 - alpha / 2)
        return normal.cdf(shift - reach) + normal.cdf(-shift - reach)
    reach = t_quantile(1 - alpha, n - 1)
    tail = special().nctdtr
    # scipy gives NaN where a tail is too small for it.
    missed = float(np.nan_to_num(tail(n - 1, shift, reach)))
    return 1 - missed + float(np.nan_to_num(tail(n - 1, shift, -reach)))


def minimum_detectable_effect(
    deviation: float, n: int, *, alpha: float = ALPHA, power: float = POWER
) -> float:
    """The difference that `n` questions detect with the wanted power, in the unit of `deviation`.

    0 where the differences do not vary: then any difference shows.
    """
    _check(deviation, n)
    if deviation == 0:
        return 0.0
    low, high = 0.0, deviation
    while power_of(high, deviation, n, alpha=alpha) < power:
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        if power_of(middle, deviation, n, alpha=alpha) < power:
            low = middle
        else:
            high = middle
    return high


def questions_needed(
    difference: float, deviation: float, *, alpha: float = ALPHA, power: float = POWER
) -> int | None:
    """The fewest questions that detect a difference with the wanted power; None for a difference of 0."""
    _check(deviation, 2)
    if difference == 0:
        return None
    normal = NormalDist()
    reach = normal.inv_cdf(1 - alpha / 2) + normal.inv_cdf(power)
    # The normal approximation is never more than a few questions too low.
    guess = max(2, ceil((reach * deviation / difference) ** 2) - 1)
    while power_of(difference, deviation, guess, alpha=alpha) < power:
        guess += 1
    return guess


def _check(deviation: float, n: int) -> None:
    if not isfinite(deviation) or deviation < 0:
        raise UsageError(
            f"a standard deviation of {deviation} says nothing about power: give two or more questions"
        )
    if n < 2:
        raise UsageError(f"{n} questions have no power: give two or more")
