"""Bootstrap intervals of statistics that take all replicates at once, as counts of each row.

Where a statistic is an array operation (a mean, a batch of small regressions) this is much faster than
`intervals.bootstrap`, which calls it once a replicate; both draw rows alike and correct bias and skew alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np

from moa.errors import UsageError
from moa.evaluate.numbers.intervals import LEVEL, Estimate, Floats, bca_tails

Counted = Callable[[Floats], Floats]
"""From counts (B, n) of each row in each replicate to the statistic (B,); NaN where it is not defined."""
Method = Literal["bca", "percentile"]
REPLICATES = 1_000
AT_ONCE = 1 << 18
"""Counts that are held in memory at once."""
JACKKNIFE = 200
"""Groups, at most, that the jackknife leaves out in turn."""
NAMES = {"bca": "BCa", "percentile": "percentile"}


def bootstrap_interval(
    statistic: Counted,
    n: int,
    *,
    replicates: int = REPLICATES,
    seed: int = 0,
    level: float = LEVEL,
    method: Method = "bca",
) -> Estimate:
    """A statistic of n rows with the interval of its values over resampled rows.

    Args:
        statistic: Called with counts of each row; equal calls must give equal values.
        n: How many rows there are; each replicate draws as many, with replacement.
        replicates: How many. Those on which the statistic is NaN are left out.
        seed: Of the draws: equal seeds give equal replicates, whatever the statistic.
        level: The share of replicates inside.
        method: `bca` corrects bias and skew (Efron 1987, equations 2.3 and 6.6; the acceleration by a jackknife that
            leaves out at most 200 groups in turn); `percentile` takes the quantiles as they are.

    Raises:
        UsageError: for fewer than two rows, or where most replicates leave the statistic undefined.
    """
    if n < 2:
        raise UsageError("a bootstrap needs at least two rows")
    value = float(statistic(np.ones((1, n)))[0])
    drawn = _over(statistic, draw(n, replicates, seed))
    if len(drawn) < max(2, replicates / 2):
        raise UsageError(f"only {len(drawn)} of {replicates} bootstrap replicates could be computed")
    tails = np.array([0.5 - level / 2, 0.5 + level / 2])
    if method == "bca":
        tails = bca_tails(tails, value, drawn, _over(statistic, leave_out(n)))
    low, high = np.quantile(drawn, tails)
    name = f"{NAMES[method]} bootstrap, {len(drawn)} replicates"
    return Estimate(value, float(drawn.std(ddof=1)), float(low), float(high), n, name)


def draw(n: int, replicates: int, seed: int) -> Iterator[Floats]:
    """How often each of n rows is drawn, (B, n), some replicates at a time."""
    random = np.random.default_rng(seed)
    for size in _sizes(n, replicates):
        rows = random.integers(n, size=(size, n)) + n * np.arange(size)[:, None]
        yield np.bincount(rows.ravel(), minlength=size * n).reshape(size, n).astype(np.float64)


def leave_out(n: int) -> Iterator[Floats]:
    """Counts that are 0 for one group of rows in turn and 1 for the others."""
    groups = min(n, JACKKNIFE)
    members = np.arange(n) % groups
    first = 0
    for size in _sizes(n, groups):
        yield (members != np.arange(first, first + size)[:, None]).astype(np.float64)
        first += size


def _sizes(n: int, replicates: int) -> Iterator[int]:
    most = max(1, AT_ONCE // n)
    for start in range(0, replicates, most):
        yield min(most, replicates - start)


def _over(statistic: Counted, counts: Iterator[Floats]) -> Floats:
    """The statistic's values wherever it is defined."""
    values = np.concatenate([statistic(some) for some in counts])
    return np.asarray(values[~np.isnan(values)])


def mean_of(values: Floats) -> Counted:
    """The mean of values as a function of their counts; NaN values are gaps."""
    known = ~np.isnan(values)
    filled = np.where(known, values, 0.0)

    def mean(counts: Floats) -> Floats:
        totals = counts @ known.astype(np.float64)
        return np.asarray(np.where(totals > 0, counts @ filled / np.maximum(totals, 1), np.nan))

    return mean
