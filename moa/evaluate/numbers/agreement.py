"""What a judge is drawn to besides quality, and how far it agrees with people."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from math import atanh, tanh
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from moa.errors import UsageError
from moa.evaluate.numbers.intervals import (
    LEVEL,
    REPLICATES,
    Estimate,
    Floats,
    Integers,
    Labels,
    Seed,
    around,
    bounded_mean,
    finite,
    group_numbers,
    mean,
    normal_quantile,
    proportion,
    t_quantile,
)
from moa.evaluate.numbers.logistic import logistic

Metric = Literal["nominal", "ordinal", "interval"]
Weights = Literal["none", "linear", "quadratic"]


def position_bias(
    first_preference: npt.ArrayLike, *, pairs: Labels | None = None, level: float = LEVEL
) -> Estimate:
    """How much more than half of its preference a judge gives to the answer shown first, from -0.5 to 0.5.

    Valid where each pair was judged in both orders (`pairs` names it, and both verdicts of it stand here), or
    in one order chosen at random: without bias the mean is then a half, whichever answers are better.
    Preferences for the first from 0 to 1; drop and count unparsed verdicts before.
    """
    return bounded_mean(first_preference, clusters=pairs, level=level).scaled(1.0, -0.5)


@dataclass(frozen=True, slots=True)
class SwapConsistency:
    """How often a judge picks the same answer in both orders.

    `toward_first` pairs went to whichever answer was shown first, `toward_second` to the second one,
    `half_tied` had a tie in one order only; `incomplete` lack a verdict and are left out. `mean_shift` is the mean
    change of the preference from one order to the other.
    """

    rate: Estimate
    consistent: int
    toward_first: int
    toward_second: int
    half_tied: int
    incomplete: int
    mean_shift: float


def swap_consistency(
    shown_first: npt.ArrayLike, shown_second: npt.ArrayLike, *, level: float = LEVEL
) -> SwapConsistency:
    """The preference for the same answer when it is shown first and when it is shown second (0..1; NaN: no verdict).

    Raises:
        UsageError: when the two differ in length, or no pair has both verdicts.
    """
    first, second = np.asarray(shown_first, dtype=np.float64), np.asarray(shown_second, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 1:
        raise UsageError(
            f"{first.shape} verdicts in one order and {second.shape} in the other: align them by pair"
        )
    both = ~np.isnan(first) & ~np.isnan(second)
    if not both.any():
        raise UsageError("no pair has a verdict in both orders: swap consistency cannot be told")
    one, two = np.sign(first[both] - 0.5), np.sign(second[both] - 0.5)
    same = int(np.sum(one == two))
    return SwapConsistency(
        proportion(same, int(both.sum()), level=level),
        consistent=same,
        toward_first=int(np.sum((one > 0) & (two < 0))),
        toward_second=int(np.sum((one < 0) & (two > 0))),
        half_tied=int(np.sum((one == 0) != (two == 0))),
        incomplete=int((~both).sum()),
        mean_shift=float(np.mean(first[both] - second[both])),
    )


@dataclass(frozen=True, slots=True)
class LengthBias:
    """How preference goes with length. An association: longer answers may also be better ones.

    `longer_preferred` is the mean preference for the longer answer of a pair, as a fraction; `correlation` the
    point-biserial one of preference and length difference; `log_odds` what one standard deviation of
    the difference adds in log-odds. `equal_lengths` pairs are left out of the first.
    """

    longer_preferred: Estimate
    correlation: Estimate
    log_odds: Estimate
    equal_lengths: int


def length_bias(
    preferences: npt.ArrayLike,
    length_differences: npt.ArrayLike,
    *,
    questions: Labels | None = None,
    level: float = LEVEL,
) -> LengthBias:
    """Preferences (0..1) for an answer, and how much longer it is than the other one.

    Raises:
        UsageError: with fewer than 4 pairs, or when lengths or preferences never differ.
    """
    wins, longer = finite(preferences, "preferences"), finite(length_differences, "length differences")
    if len(wins) != len(longer) or len(wins) < 4:
        raise UsageError(
            f"{len(wins)} preferences and {len(longer)} lengths: give one a pair, 4 pairs or more"
        )
    if np.ptp(longer) == 0 or np.ptp(wins) == 0:
        raise UsageError("lengths or preferences never differ: length bias cannot be told")
    uneven = longer != 0
    toward = np.where(longer > 0, wins, 1 - wins)[uneven]
    labels = None if questions is None else [questions[row] for row in np.flatnonzero(uneven).tolist()]
    members = np.arange(len(wins)) if questions is None else group_numbers(questions, len(wins))
    return LengthBias(
        bounded_mean(toward, clusters=labels, level=level),
        _correlation(wins, longer, level),
        _slope(wins, longer, members, level),
        equal_lengths=int((~uneven).sum()),
    )


def _correlation(left: Floats, right: Floats, level: float) -> Estimate:
    """Pearson's correlation with Fisher's interval."""
    r, n = float(np.corrcoef(left, right)[0, 1]), len(left)
    clipped = max(-1 + 1e-12, min(1 - 1e-12, r))
    reach = normal_quantile(level) / (n - 3) ** 0.5
    ends = tanh(atanh(clipped) - reach), tanh(atanh(clipped) + reach)
    return Estimate(r, (1 - r * r) / (n - 3) ** 0.5, *ends, n, "Fisher z")


def _slope(wins: Floats, longer: Floats, members: Integers, level: float) -> Estimate:
    features = np.column_stack([longer / longer.std(ddof=1), np.ones(len(wins))])
    fit = logistic(features, wins, members=members, ridge=1e-6)
    error = float(np.sqrt(fit.covariance[0, 0]))
    groups = int(members.max()) + 1
    return around(float(fit.coefficients[0]), error, normal_quantile(level), groups, "logistic, sandwich")


@dataclass(frozen=True, slots=True)
class SelfPreference:
    """Preference for answers of the judge's own family and for the others, as fractions, and the difference.

    `adjusted` takes off the same difference in reference labels (of people or of another judge): a family
    may simply be better. None without such labels, and then `difference` alone proves no bias.
    """

    own: Estimate
    others: Estimate
    difference: Estimate
    adjusted: Estimate | None


def self_preference(
    preferences: npt.ArrayLike,
    own_family: Sequence[bool],
    *,
    reference: npt.ArrayLike | None = None,
    questions: Labels | None = None,
    level: float = LEVEL,
) -> SelfPreference:
    """How a judge treats answers of models of its own family, one preference (0..1) an answer.

    Raises:
        UsageError: when columns differ in length, or own or other answers are absent.
    """
    given = finite(preferences, "preferences")
    own = np.array(own_family, dtype=np.bool_)
    if len(own) != len(given):
        raise UsageError(f"{len(given)} preferences and {len(own)} families: give one a preference")
    if own.all() or not own.any():
        raise UsageError("self-preference needs answers of the judge's own family and of others")
    labels = list(range(len(given))) if questions is None else list(questions)
    adjusted = None
    if reference is not None:
        known = finite(reference, "reference labels")
        if len(known) != len(given):
            raise UsageError(f"{len(given)} preferences and {len(known)} reference labels: align them first")
        adjusted = _contrast(given - known, own, labels, level)
    return SelfPreference(
        _part(given, own, labels, level),
        _part(given, ~own, labels, level),
        _contrast(given, own, labels, level),
        adjusted,
    )


def _part(values: Floats, chosen: npt.NDArray[np.bool_], labels: Labels, level: float) -> Estimate:
    rows = np.flatnonzero(chosen)
    return mean(values[rows], clusters=[labels[row] for row in rows.tolist()], level=level)


def _contrast(values: Floats, own: npt.NDArray[np.bool_], labels: Labels, level: float) -> Estimate:
    """The difference of two means, robust to questions that both share."""
    ours, theirs = float(values[own].mean()), float(values[~own].mean())
    pulls = np.where(own, (values - ours) / own.sum(), -(values - theirs) / (~own).sum())
    sums = np.bincount(group_numbers(labels, len(values)), weights=pulls)
    groups = len(sums)
    error = float(np.sqrt(groups / (groups - 1) * np.square(sums).sum())) if groups > 1 else float("nan")
    return around(ours - theirs, error, t_quantile(level, groups - 1), groups, "cluster-robust t")


class Counted(NamedTuple):
    """Labels as numbers into `names`, without rows that miss one."""

    first: Integers
    second: Integers
    names: tuple[Hashable, ...]
    missing: int


@dataclass(frozen=True, slots=True)
class Agreement:
    """How often a judge says what people say, and Cohen's kappa: the same beyond chance (1: always, 0: chance).

    `missing` rows lack a label on either side and are left out; `confusion` counts (judge, human) pairs.
    """

    rate: Estimate
    kappa: Estimate
    missing: int
    confusion: dict[tuple[Hashable, Hashable], int]


def agreement(
    judge: Sequence[Hashable | None],
    human: Sequence[Hashable | None],
    *,
    order: Sequence[Hashable] | None = None,
    weights: Weights = "none",
    level: float = LEVEL,
) -> Agreement:
    """A judge's labels against human or recorded ones, row by row; None is no label.

    `order` lists the labels from lowest to highest, which weights need: a near miss then counts in part.

    Raises:
        UsageError: when the two differ in length, share no labelled row, or weights lack an order.
    """
    counted = _counted(judge, human, order)
    if weights != "none" and order is None:
        raise UsageError("weighted kappa needs `order`: the labels from lowest to highest")
    table = _table(counted)
    n = int(table.sum())
    pairs = {(counted.names[i], counted.names[j]): int(table[i, j]) for i, j in np.argwhere(table).tolist()}
    rate = proportion(int(np.trace(table)), n, level=level)
    return Agreement(rate, cohens_kappa(table, weights=weights, level=level), counted.missing, pairs)


def _counted(
    first: Sequence[Hashable | None], second: Sequence[Hashable | None], order: Sequence[Hashable] | None
) -> Counted:
    if len(first) != len(second):
        raise UsageError(f"{len(first)} labels of the judge and {len(second)} of people: align them first")
    pairs = [(a, b) for a, b in zip(first, second, strict=True) if a is not None and b is not None]
    if not pairs:
        raise UsageError("no row has both labels: agreement cannot be told")
    seen = dict.fromkeys(label for pair in pairs for label in pair)
    names = tuple(seen if order is None else order)
    strange = [label for label in seen if label not in names]
    if strange:
        raise UsageError(f"label {strange[0]!r} is not in the order {list(names)}")
    number = {name: index for index, name in enumerate(names)}
    left = np.array([number[a] for a, _ in pairs], dtype=np.int64)
    right = np.array([number[b] for _, b in pairs], dtype=np.int64)
    return Counted(left, right, names, len(first) - len(pairs))


def _table(counted: Counted) -> Integers:
    table = np.zeros((len(counted.names), len(counted.names)), dtype=np.int64)
    np.add.at(table, (counted.first, counted.second), 1)
    return table


def cohens_kappa(table: npt.ArrayLike, *, weights: Weights = "none", level: float = LEVEL) -> Estimate:
    """Kappa of a square table of counts, with the large-sample error of Fleiss, Cohen and Everitt 1969.

    NaN where both raters use one and the same label only: chance cannot be told from agreement. Perfect
    agreement has no error by that formula: read the interval of the rate of agreement then.
    """
    counts = np.asarray(table, dtype=np.float64)
    n, k = counts.sum(), len(counts)
    shares = counts / n
    rows, columns = shares.sum(axis=1), shares.sum(axis=0)
    credit = _credit(k, weights)
    seen, chance = float((shares * credit).sum()), float(rows @ credit @ columns)
    if chance >= 1:
        return around(float("nan"), float("nan"), 0.0, int(n), "kappa")
    kappa = (seen - chance) / (1 - chance)
    row_credit, column_credit = credit @ columns, rows @ credit
    inner = credit - (row_credit[:, None] + column_credit[None, :]) * (1 - kappa)
    spread = (shares * inner**2).sum() - (kappa - chance * (1 - kappa)) ** 2
    error = float(np.sqrt(max(0.0, spread) / n)) / (1 - chance)
    return around(kappa, error, normal_quantile(level), int(n), "kappa, Fleiss-Cohen-Everitt")


def _credit(k: int, weights: Weights) -> Floats:
    """How much each pair of labels counts as agreement."""
    if weights == "none":
        return np.eye(k)
    distance = np.abs(np.subtract.outer(np.arange(k), np.arange(k))) / max(1, k - 1)
    return np.asarray(1 - distance ** (1 if weights == "linear" else 2))


def krippendorff_alpha(
    ratings: npt.ArrayLike,
    *,
    metric: Metric = "nominal",
    level: float = LEVEL,
    replicates: int = REPLICATES,
    seed: Seed = 0,
) -> Estimate:
    """Krippendorff's alpha of several raters: 1 is perfect, 0 what chance gives (Krippendorff 2004, chapter 11).

    The interval draws units. NaN where all ratings are equal.

    Args:
        ratings: raters x units, numbers (codes where nominal), NaN where a rater gave none.
        metric: how far apart two values are: the same or not, by rank, or by squared difference.
        level: of the interval.
        replicates: how often units are drawn.
        seed: of the draws.

    Raises:
        UsageError: when fewer than two units have two ratings.
    """
    given = np.asarray(ratings, dtype=np.float64)
    if given.ndim != 2:
        raise UsageError(f"alpha needs raters x units; got an array of shape {given.shape}")
    values = np.unique(given[~np.isnan(given)])
    counts = (given.T[:, :, None] == values).sum(axis=1).astype(np.float64)
    counts = counts[counts.sum(axis=1) >= 2]
    if len(counts) < 2:
        raise UsageError(f"{len(counts)} units have two ratings or more: alpha needs two such units")
    random = np.random.default_rng(seed)
    n = len(counts)
    drawn = np.array([_alpha(counts[random.integers(n, size=n)], values, metric) for _ in range(replicates)])
    drawn = drawn[~np.isnan(drawn)]
    value = _alpha(counts, values, metric)
    if not len(drawn):
        return around(value, float("nan"), 0.0, n, "alpha")
    low, high = np.quantile(drawn, [0.5 - level / 2, 0.5 + level / 2])
    error = float(drawn.std(ddof=1)) if len(drawn) > 1 else float("nan")
    return Estimate(value, error, float(low), float(high), n, f"alpha ({metric}), bootstrap over units")


def _alpha(counts: Floats, values: Floats, metric: Metric) -> float:
    """Alpha of units x values counts: 1 minus observed over expected disagreement."""
    totals, raters = counts.sum(axis=0), counts.sum(axis=1)
    distance = _distance(values, totals, metric)
    expected = float(totals @ distance @ totals)
    if expected == 0:
        return float("nan")
    observed = float((((counts @ distance) * counts).sum(axis=1) / (raters - 1)).sum())
    return 1 - (float(totals.sum()) - 1) * observed / expected


def _distance(values: Floats, totals: Floats, metric: Metric) -> Floats:
    """Squared distances between values; those of one value to itself are 0."""
    if metric == "nominal":
        return 1.0 - np.eye(len(values))
    places = values if metric == "interval" else np.cumsum(totals) - totals / 2
    return np.asarray(np.subtract.outer(places, places) ** 2)
