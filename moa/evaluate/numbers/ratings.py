"""One scale for all topologies of a run: Bradley-Terry strengths and Elo ratings from pairwise verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log10, sqrt
from typing import Literal

import numpy as np
import numpy.typing as npt

from moa.errors import UsageError
from moa.evaluate.numbers.intervals import (
    LEVEL,
    Estimate,
    Floats,
    Integers,
    Labels,
    Seed,
    bounded,
    group_numbers,
    normal_quantile,
)
from moa.evaluate.numbers.logistic import coefficients, logistic, sigmoid

ELO_SCALE = 400.0
ELO_START = 1000.0


@dataclass(frozen=True, slots=True, eq=False)
class Battles:
    """Verdicts between models: numbers into `names`, the first one's score (1 win, 0.5 tie, 0 loss, or between),
    a weight, and the number of the question.
    """

    names: tuple[str, ...]
    first: Integers
    second: Integers
    scores: Floats
    weights: Floats
    questions: Integers

    def __len__(self) -> int:
        return len(self.scores)


@dataclass(frozen=True, slots=True, eq=False)
class Ratings:
    """A strength a model, in log-odds around a mean of 0 (or around the anchor), and their covariance."""

    names: tuple[str, ...]
    strengths: tuple[Estimate, ...]
    covariance: Floats
    level: float

    def elo(self) -> tuple[Estimate, ...]:
        """The strengths on Elo's scale: 400 points are odds of 10 to 1, 1000 is the mean (or the anchor)."""
        factor = ELO_SCALE * log10(np.e)
        return tuple(strength.scaled(factor, ELO_START) for strength in self.strengths)

    def win_probability(self, first: str, second: str) -> Estimate:
        """The chance that `first` is preferred, as a fraction; its interval is made in log-odds."""
        i, j = self.names.index(first), self.names.index(second)
        gap = self.strengths[i].value - self.strengths[j].value
        contrast = np.zeros(len(self.names))
        contrast[i] += 1
        contrast[j] -= 1
        error = sqrt(max(0.0, float(contrast @ self.covariance @ contrast)))
        reach = normal_quantile(self.level) * error
        chance, low, high = sigmoid(np.array([gap, gap - reach, gap + reach])).tolist()
        name = f"Bradley-Terry, {self.strengths[i].method}"
        return Estimate(chance, chance * (1 - chance) * error, low, high, self.strengths[i].n, name)


def battles(
    first: Sequence[str],
    second: Sequence[str],
    scores: npt.ArrayLike,
    *,
    weights: npt.ArrayLike | None = None,
    questions: Labels | None = None,
) -> Battles:
    """Verdicts by name. Unparsed ones must be dropped and counted before.

    Raises:
        UsageError: when a model meets itself, a score is not from 0 to 1, or lengths differ; names the row.
    """
    given = bounded(scores, "scores")
    mass = np.ones(len(given)) if weights is None else bounded(weights, "weights", 0.0, np.inf)
    lengths = {len(first), len(second), len(given), len(mass)}
    if len(lengths) > 1:
        raise UsageError(f"battles need one entry a row in every column; got lengths {sorted(lengths)}")
    names = tuple(sorted({*first, *second}))
    number = {name: index for index, name in enumerate(names)}
    left = np.array([number[name] for name in first], dtype=np.int64)
    right = np.array([number[name] for name in second], dtype=np.int64)
    same = np.flatnonzero(left == right)
    if len(same):
        raise UsageError(f"row {same[0]}: {names[left[same[0]]]} cannot be compared with itself")
    asked = np.arange(len(given)) if questions is None else group_numbers(questions, len(given))
    return Battles(names, left, right, given, mass, asked)


def bradley_terry(
    given: Battles,
    *,
    ridge: float = 0.0,
    anchor: str | None = None,
    interval: Literal["sandwich", "bootstrap"] = "sandwich",
    replicates: int = 200,
    level: float = LEVEL,
    seed: Seed = 0,
) -> Ratings:
    """Maximum-likelihood strengths (Bradley and Terry 1952), ties as half a win each.

    Errors are clustered by question: by the sandwich, or by drawing questions. `ridge` pulls strengths towards
    0 (it adds `ridge * strength**2 / 2`) and gives finite ones where a model won or lost everything.

    Raises:
        UsageError: without ridge, when a group of models never lost a point to the others, or never met them.
    """
    if not ridge:
        _check_connected(given)
    features = _design(given)
    centre = np.eye(len(given.names)) - _centre(given.names, anchor)
    fit = logistic(features, given.scores, weights=given.weights, members=given.questions, ridge=ridge)
    strengths, covariance = centre @ fit.coefficients, centre @ fit.covariance @ centre.T
    if interval == "bootstrap":
        # A question may be drawn so often that a model wins everything: a trace of ridge keeps that finite.
        drawn = _drawn(given, features, max(ridge, 1e-3), fit.coefficients, replicates, seed) @ centre.T
        covariance = np.atleast_2d(np.cov(drawn.T))
        ends = np.quantile(drawn, [0.5 - level / 2, 0.5 + level / 2], axis=0)
    else:
        reach = normal_quantile(level) * np.sqrt(np.diag(covariance))
        ends = np.stack([strengths - reach, strengths + reach])
    errors, n = np.sqrt(np.diag(covariance)), int(given.questions.max()) + 1
    estimates = tuple(
        Estimate(float(value), float(error), float(low), float(high), n, interval)
        for value, error, low, high in zip(strengths, errors, *ends, strict=True)
    )
    return Ratings(given.names, estimates, covariance, level)


def _design(given: Battles) -> Floats:
    rows = np.arange(len(given))
    features = np.zeros((len(given), len(given.names)))
    features[rows, given.first] = 1
    features[rows, given.second] = -1
    return features


def _centre(names: tuple[str, ...], anchor: str | None) -> Floats:
    """The matrix whose product with the strengths is what is taken off each."""
    if anchor is None:
        return np.full((len(names), len(names)), 1 / len(names))
    if anchor not in names:
        raise UsageError(f"the anchor {anchor} is none of {', '.join(names)}")
    matrix = np.zeros((len(names), len(names)))
    matrix[:, names.index(anchor)] = 1
    return matrix


def _check_connected(given: Battles) -> None:
    """Ford 1957: strengths are finite when every model scored against every other, if through a chain."""
    size = len(given.names)
    beats = np.eye(size, dtype=np.bool_)
    beats[given.first[given.scores * given.weights > 0], given.second[given.scores * given.weights > 0]] = (
        True
    )
    losses = (1 - given.scores) * given.weights > 0
    beats[given.second[losses], given.first[losses]] = True
    for _ in range(size.bit_length()):
        beats = beats @ beats
    if beats.all():
        return
    model = int(np.argmin(beats.all(axis=0)))
    above = [name for name, reaches in zip(given.names, beats[:, model], strict=True) if not reaches]
    raise UsageError(
        f"{', '.join(above)} never scored against {given.names[model]}, not even through others: "
        f"their strengths are unbounded; set ridge=0.1 or so, or compare win rates instead"
    )


def _drawn(
    given: Battles, features: Floats, ridge: float, start: Floats, replicates: int, seed: Seed
) -> Floats:
    """The coefficients of each replicate: questions are drawn by giving their rows the number of draws as weight."""
    random = np.random.default_rng(seed)
    n = int(given.questions.max()) + 1
    rows = []
    for _ in range(replicates):
        counts = np.bincount(random.integers(n, size=n), minlength=n)
        mass = given.weights * counts[given.questions]
        rows.append(coefficients(features, given.scores, mass, ridge=ridge, start=start))
    return np.array(rows)


def elo(
    given: Battles, *, k: float = 4.0, orders: int = 200, level: float = LEVEL, seed: Seed = 0
) -> tuple[Estimate, ...]:
    """Elo ratings, one a name in order: online updates from 1000, averaged over random orders of the battles.

    The rating of one order depends on that order; the mean hardly does. The interval is of ratings of drawn questions
    (with replacement) in random order. With few battles and a small `k` ratings have not yet moved to where
    they would settle: prefer Bradley-Terry, and give Elo to those who ask for it. A battle's weight
    multiplies `k`.
    """
    random = np.random.default_rng(seed)
    rows = np.arange(len(given))
    plain = np.array([random.permutation(rows) for _ in range(orders)])
    ratings = _played(given, plain, k).mean(axis=0)
    n = int(given.questions.max()) + 1
    drawn = [_drawn_rows(given.questions, random.integers(n, size=n), random) for _ in range(orders)]
    spread = _played(given, _padded(drawn), k)
    low, high = np.quantile(spread, [0.5 - level / 2, 0.5 + level / 2], axis=0)
    errors = spread.std(axis=0, ddof=1)
    name = f"Elo, {orders} orders"
    return tuple(
        Estimate(float(value), float(error), float(a), float(b), n, name)
        for value, error, a, b in zip(ratings, errors, low, high, strict=True)
    )


def _drawn_rows(questions: Integers, drawn: Integers, random: np.random.Generator) -> Integers:
    """The rows of drawn questions, as often as each was drawn, in random order."""
    counts = np.bincount(drawn, minlength=int(questions.max()) + 1)
    return random.permutation(np.repeat(np.arange(len(questions)), counts[questions]))


def _padded(orders: list[Integers]) -> Integers:
    """Orders of unequal length as one matrix, filled up with -1: no battle."""
    matrix = np.full((len(orders), max(len(order) for order in orders)), -1, dtype=np.int64)
    for line, order in zip(matrix, orders, strict=True):
        line[: len(order)] = order
    return matrix


def _played(given: Battles, orders: Integers, k: float) -> Floats:
    """The final ratings (orders x models) after playing the battles in each order (-1: none)."""
    ratings = np.full((len(orders), len(given.names)), ELO_START)
    lines = np.arange(len(orders))
    for battle in orders.T:
        first, second = given.first[battle], given.second[battle]
        gap = (ratings[lines, first] - ratings[lines, second]) / ELO_SCALE
        expected = 1 / (1 + 10**-gap)
        change = k * given.weights[battle] * (given.scores[battle] - expected) * (battle >= 0)
        ratings[lines, first] += change
        ratings[lines, second] -= change
    return ratings
