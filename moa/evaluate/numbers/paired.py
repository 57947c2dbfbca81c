"""Two topologies on the same questions: the difference, its interval, and how surprising it is."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from moa.errors import UsageError
from moa.evaluate.numbers.intervals import (
    LEVEL,
    REPLICATES,
    Clustered,
    Estimate,
    Floats,
    Labels,
    Seed,
    bootstrap,
    mean,
)

EXACT = 16
"""Up to this many questions that differ, every pattern of signs is tried."""
FLIPS = 10_000

Key = TypeVar("Key", bound=Hashable)


class Permutation(NamedTuple):
    """The two-sided p-value of a sign-flip test and how it was found."""

    p_value: float
    method: str


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """First minus second on the pairs that both have; what only one of them has is counted, never filled in.

    `difference` is in the unit of the values. `correlation` of the pairs says how much pairing helped; NaN
    where one side does not vary.
    """

    difference: Estimate
    p_value: float
    p_method: str
    first_mean: float
    second_mean: float
    correlation: float
    pairs: int
    only_first: int
    only_second: int
    neither: int


def align(first: Mapping[Key, float], second: Mapping[Key, float]) -> tuple[list[Key], Floats, Floats]:
    """Scores by question as two vectors in one order, with NaN where a side has none."""
    keys = list(dict.fromkeys([*first, *second]))
    nan = float("nan")
    left = np.array([first.get(key, nan) for key in keys], dtype=np.float64)
    right = np.array([second.get(key, nan) for key in keys], dtype=np.float64)
    return keys, left, right


def paired_difference(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    *,
    clusters: Labels | None = None,
    level: float = LEVEL,
    method: Literal["t", "bca", "percentile"] = "t",
    replicates: int = REPLICATES,
    flips: int = FLIPS,
    seed: Seed = 0,
) -> PairedDifference:
    """The mean of `first - second` over the rows that both have (NaN: no value).

    `clusters` names each row's question where one question has several judgments: its rows are then drawn
    and flipped together, and the t interval is cluster-robust.

    Raises:
        UsageError: when the two differ in length, share fewer than two questions, or hold an infinity.
    """
    left, right = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if left.shape != right.shape or left.ndim != 1:
        raise UsageError(f"cannot pair {left.shape} values with {right.shape}: align them by question first")
    has_left, has_right = ~np.isnan(left), ~np.isnan(right)
    both = has_left & has_right
    labels = None if clusters is None else _kept(clusters, both)
    differences = left[both] - right[both]
    if len(differences) < 2:
        raise UsageError(
            f"{len(differences)} questions have both values: a paired comparison needs two or more"
        )
    estimate = (
        mean(differences, clusters=labels, level=level)
        if method == "t"
        else bootstrap(
            differences, clusters=labels, level=level, method=method, replicates=replicates, seed=seed
        )
    )
    test = sign_flip_test(differences, clusters=labels, flips=flips, seed=seed)
    return PairedDifference(
        estimate,
        test.p_value,
        test.method,
        float(left[both].mean()),
        float(right[both].mean()),
        _correlation(left[both], right[both]),
        pairs=int(both.sum()),
        only_first=int((has_left & ~has_right).sum()),
        only_second=int((has_right & ~has_left).sum()),
        neither=int((~has_left & ~has_right).sum()),
    )


def _kept(clusters: Labels, rows: npt.NDArray[np.bool_]) -> Labels:
    if len(clusters) != len(rows):
        raise UsageError(f"{len(clusters)} clusters for {len(rows)} rows: give one label a row")
    return [clusters[row] for row in np.flatnonzero(rows).tolist()]


def _correlation(left: Floats, right: Floats) -> float:
    if left.std() == 0 or right.std() == 0:
        return float("nan")
    return float(np.corrcoef(left, right)[0, 1])


def sign_flip_test(
    differences: npt.ArrayLike,
    *,
    clusters: Labels | None = None,
    flips: int = FLIPS,
    seed: Seed = 0,
) -> Permutation:
    """How often a random choice of signs gives a sum at least as far from 0, each question flipped as one.

    Exact when at most 16 questions differ; otherwise `(1 + hits) / (1 + flips)` of Phipson and Smyth 2010, which
    is never 0. Valid when "first" and "second" could be swapped under the null hypothesis.
    """
    sums = Clustered(np.asarray(differences, dtype=np.float64), clusters).sums
    moving = sums[sums != 0]
    # A sum that equals the observed one but for rounding counts as equal.
    observed = abs(float(moving.sum())) * (1 - 1e-12) - 1e-12 * float(np.abs(moving).sum())
    if len(moving) <= EXACT:
        return Permutation(float(np.mean(np.abs(_all_sums(moving)) >= observed)), "exact sign-flip")
    random = np.random.default_rng(seed)
    hits = 0
    for size in _batches(flips, len(moving)):
        signs = random.integers(2, size=(size, len(moving)), dtype=np.int8) * np.int8(2) - np.int8(1)
        hits += int(np.sum(np.abs(signs @ moving) >= observed))
    return Permutation((1 + hits) / (1 + flips), f"sign-flip, {flips} draws")


def _all_sums(values: Floats) -> Floats:
    """The sums under every choice of signs."""
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums + value, sums - value])
    return sums


def _batches(total: int, width: int) -> list[int]:
    """How many rows at a time: about four million signs."""
    size = max(1, 4_000_000 // width)
    return [min(size, total - start) for start in range(0, total, size)]
