"""A number with its error bar, and the intervals that everything else reports."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from moa.errors import MissingExtraError, UsageError

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Labels = Sequence[Any] | npt.NDArray[Any]
Statistic = Callable[[Floats], float]
Seed = int | np.random.Generator

LEVEL = 0.95
REPLICATES = 2_000


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value, its standard error and its confidence interval, all in the unit of the data they came from.

    Shares and win rates are fractions of 1 unless a function's docstring says percent; `percent()` turns
    them. `n` counts the independent units behind the number: questions where judgments are clustered,
    else values. What cannot be computed (the error of a single value) is NaN, never 0.
    """

    value: float
    standard_error: float
    low: float
    high: float
    n: int
    method: str

    def scaled(self, factor: float, shift: float = 0.0) -> Estimate:
        """The estimate of `factor * x + shift`."""
        low, high = sorted((factor * self.low + shift, factor * self.high + shift))
        error = abs(factor) * self.standard_error
        return Estimate(factor * self.value + shift, error, low, high, self.n, self.method)

    def percent(self) -> Estimate:
        """A fraction's estimate in percent."""
        return self.scaled(100.0)

    def contains(self, truth: float) -> bool:
        """Whether the interval holds a value, its ends included."""
        return self.low <= truth <= self.high


class Clustered:
    """Values that belong together, such as several judgments of one question: sums and sizes of each group."""

    __slots__ = ("groups", "members", "sizes", "sums")

    def __init__(self, values: Floats, clusters: Labels | None) -> None:
        self.members = np.arange(len(values)) if clusters is None else group_numbers(clusters, len(values))
        self.groups = int(self.members.max()) + 1 if len(values) else 0
        self.sizes = np.bincount(self.members, minlength=self.groups).astype(np.float64)
        self.sums = np.bincount(self.members, weights=values, minlength=self.groups)

    @property
    def mean(self) -> float:
        """The mean of all values."""
        return float(self.sums.sum() / self.sizes.sum())

    @property
    def standard_error(self) -> float:
        """The cluster-robust error of the mean, with the factor G/(G-1); NaN for a single group."""
        if self.groups < 2:
            return float("nan")
        residuals = self.sums - self.mean * self.sizes
        factor = self.groups / (self.groups - 1)
        return float(np.sqrt(factor * np.square(residuals).sum()) / self.sizes.sum())


def group_numbers(clusters: Labels, n: int) -> Integers:
    """Labels as numbers 0, 1, ... in order of first appearance.

    Raises:
        UsageError: when there is not one label for each of `n` values.
    """
    if len(clusters) != n:
        raise UsageError(f"{len(clusters)} clusters for {n} values: give one label a value")
    numbers: dict[Any, int] = {}
    return np.array([numbers.setdefault(label, len(numbers)) for label in clusters], dtype=np.int64)


def finite(values: npt.ArrayLike, what: str = "values") -> Floats:
    """A vector of floats without gaps.

    Raises:
        UsageError: when it is empty, not a vector, or holds NaN or an infinity; names the first place.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise UsageError(f"{what} must be a vector; got an array of shape {array.shape}")
    if not len(array):
        raise UsageError(f"no {what}: nothing can be estimated")
    bad = np.flatnonzero(~np.isfinite(array))
    if len(bad):
        raise UsageError(f"{what}[{bad[0]}] is {array[bad[0]]}: drop and count what is missing first")
    return array


def bounded(values: npt.ArrayLike, what: str = "values", lower: float = 0.0, upper: float = 1.0) -> Floats:
    """A vector of floats without gaps, all of them within the bounds.

    Raises:
        UsageError: as `finite`, and when a value is out of bounds.
    """
    array = finite(values, what)
    out = np.flatnonzero((array < lower) | (array > upper))
    if len(out):
        raise UsageError(f"{what}[{out[0]}] is {array[out[0]]}: must be from {lower:g} to {upper:g}")
    return array


def normal_quantile(level: float) -> float:
    """How many standard errors a two-sided normal interval reaches: 1.96 for 0.95."""
    return NormalDist().inv_cdf(0.5 + level / 2)


def t_quantile(level: float, df: float) -> float:
    """The same for Student's t with `df` degrees of freedom; NaN for fewer than 1.

    Raises:
        MissingExtraError: when scipy is not installed.
    """
    if df < 1:
        return float("nan")
    return float(special().stdtrit(df, 0.5 + level / 2))


def special() -> Any:
    """`scipy.special`, imported when first needed.

    Raises:
        MissingExtraError: when scipy is not installed.
    """
    try:
        import scipy.special
    except ImportError:
        raise MissingExtraError("confidence intervals", "eval") from None
    return scipy.special


def mean(
    values: npt.ArrayLike,
    *,
    clusters: Labels | None = None,
    level: float = LEVEL,
    method: Literal["t", "normal"] = "t",
) -> Estimate:
    """The mean with a t or normal interval, robust to clusters where labels are given.

    The clustered error is the sandwich of Miller 2024 (arXiv:2411.00640, section 2.2) with the factor
    G/(G-1), and t has G-1 degrees of freedom; with one value a cluster both are the textbook ones.
    """
    data = Clustered(finite(values), clusters)
    reach = t_quantile(level, data.groups - 1) if method == "t" else normal_quantile(level)
    name = method if clusters is None else f"cluster-robust {method}"
    return around(data.mean, data.standard_error, reach, data.groups, name)


def around(value: float, error: float, reach: float, n: int, method: str) -> Estimate:
    """The symmetric interval of `reach` standard errors on each side."""
    half = reach * error
    return Estimate(value, error, value - half, value + half, n, method)


def proportion(
    successes: float,
    n: float,
    *,
    level: float = LEVEL,
    method: Literal["wilson", "agresti"] = "wilson",
) -> Estimate:
    """A share of `n` trials with Wilson's (1927) score interval or Agresti and Coull's (1998).

    Raises:
        UsageError: when there are no trials, or more successes than trials.
    """
    if not 0 <= successes <= n or n <= 0:
        raise UsageError(f"{successes:g} of {n:g} is not a proportion")
    share, z = successes / n, normal_quantile(level)
    error = float(np.sqrt(share * (1 - share) / n))
    if method == "wilson":
        low, high = wilson(share, n, z)
    else:
        centre = (successes + z * z / 2) / (n + z * z)
        half = z * float(np.sqrt(centre * (1 - centre) / (n + z * z)))
        low, high = max(0.0, centre - half), min(1.0, centre + half)
    return Estimate(share, error, low, high, int(n), method)


def wilson(share: float, n: float, z: float) -> tuple[float, float]:
    """Both ends of the score interval of a share of `n` trials."""
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * float(np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)))
    low, high = max(0.0, centre - half), min(1.0, centre + half)
    return (low if share > 0 else 0.0), (high if share < 1 else 1.0)


def bounded_mean(values: npt.ArrayLike, *, clusters: Labels | None = None, level: float = LEVEL) -> Estimate:
    """The mean of values from 0 to 1, such as preferences: Wilson's interval at the effective sample size.

    The effective size is `p(1-p) / SE²`, the number of coin flips with the same error (Korn and Graubard
    1998, Dean and Pagano 2015 for clusters). Unlike t it stays within 0 and 1 and covers for rare wins; 0s and 1s
    give Wilson's own interval but for t in place of z. Equal values strictly within the bounds have no width.
    """
    data = Clustered(bounded(values), clusters)
    share, error, n = min(max(data.mean, 0.0), 1.0), data.standard_error, data.groups
    if error == 0 and 0 < share < 1:
        low, high = share, share
    else:
        low, high = wilson(share, n / _design_effect(share, error, n), t_quantile(level, n - 1))
    return Estimate(share, error, low, high, n, "Wilson, effective n")


def _design_effect(share: float, error: float, n: int) -> float:
    """The variance of values over that of coin flips; nearly that of coin flips itself where wins or losses are rare.

    From two or three wins no variance can be told, and the one that is seen is too small just when the share is.
    """
    rare = n * share * (1 - share)
    if not rare > 0:
        return 1.0
    # SE² divides by n-1 where a coin's variance divides by n.
    seen = error**2 * (n - 1) / (share * (1 - share))
    return (rare**2 * seen + 0.5) / (rare**2 + 0.5)


def bootstrap(
    rows: npt.ArrayLike,
    statistic: Statistic | None = None,
    *,
    clusters: Labels | None = None,
    level: float = LEVEL,
    method: Literal["percentile", "bca"] = "bca",
    replicates: int = REPLICATES,
    seed: Seed = 0,
) -> Estimate:
    """A statistic (default: the mean) of rows, and the interval of its values over resampled rows.

    Rows of one cluster are drawn together. `bca` corrects bias and skew (Efron 1987, equations 2.3 and 6.6;
    the acceleration by the jackknife over clusters). The standard error is the replicates' deviation.

    Raises:
        UsageError: when there are fewer than two rows or clusters.
    """
    data = np.asarray(rows, dtype=np.float64)
    members = np.arange(len(data)) if clusters is None else group_numbers(clusters, len(data))
    groups = rows_of(members)
    if len(groups) < 2:
        raise UsageError("a bootstrap needs at least two values or clusters")
    compute = statistic or average
    value = compute(data)
    drawn = np.array([compute(data[rows]) for rows in resamples(groups, replicates, seed)])
    tails = np.array([0.5 - level / 2, 0.5 + level / 2])
    if method == "bca":
        left_out = np.array([compute(data[members != group]) for group in range(len(groups))])
        tails = bca_tails(tails, value, drawn, left_out)
    low, high = np.quantile(drawn, tails)
    name = f"{'BCa' if method == 'bca' else method} bootstrap"
    return Estimate(value, float(drawn.std(ddof=1)), float(low), float(high), len(groups), name)


def average(rows: Floats) -> float:
    """The mean as a plain float."""
    return float(rows.mean())


def rows_of(members: Integers) -> list[Integers]:
    """The row numbers of each group, for groups numbered from 0."""
    order = np.argsort(members, kind="stable")
    return np.split(order, np.cumsum(np.bincount(members))[:-1])


def resamples(groups: list[Integers], replicates: int, seed: Seed) -> Iterator[Integers]:
    """Row numbers of each replicate: as many groups as there are, drawn with replacement."""
    random = np.random.default_rng(seed)
    single = len(groups) == sum(len(group) for group in groups)
    flat = np.concatenate(groups)
    for _ in range(replicates):
        drawn = random.integers(len(groups), size=len(groups))
        yield flat[drawn] if single else np.concatenate([groups[number] for number in drawn])


def bca_tails(tails: Floats, value: float, drawn: Floats, left_out: Floats) -> Floats:
    """Which quantiles of the replicates bound the BCa interval; the plain ones where nothing varies.

    `value` is the statistic of the data, `drawn` of each replicate, `left_out` without each group, of which there may
    be none that leaves enough.
    """
    if not len(left_out):
        return tails
    below = float(np.mean(drawn < value) + np.mean(drawn == value) / 2)
    pulls = left_out.mean() - left_out
    spread = float(np.square(pulls).sum())
    if not 0 < below < 1 or spread == 0:
        return tails
    normal = NormalDist()
    bias = normal.inv_cdf(below)
    acceleration = float((pulls**3).sum()) / (6 * spread**1.5)
    moved = [bias + normal.inv_cdf(float(tail)) for tail in tails]
    return np.array([normal.cdf(bias + z / (1 - acceleration * z)) for z in moved])
