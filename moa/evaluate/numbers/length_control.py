"""The length-controlled win rate: what the raw one would be if both outputs were equally long.

Dubois et al. 2024 (arXiv:2404.04475, section 3) fit for each model
logit P(model preferred) = length * tanh(d / std(d)) + difficulty * difficulty[instruction] + model,
where d is the baseline's length less the model's, and read off the mean probability at d = 0. Two outputs of
the baseline that were told to be verbose or concise ("gamed") join the fit with a small weight and without the
model's term, so that the length's coefficient cannot explain everything. The L1 penalty is chosen by
cross-validation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from moa.errors import UsageError
from moa.evaluate.numbers import liblinear, newton
from moa.evaluate.numbers.intervals import Floats
from moa.evaluate.numbers.win_rate import standard_error

Fit = Literal["liblinear-cv", "newton"]
GAMED_WEIGHT = 0.1
"""Of each gamed row, where a row of the model weighs 1."""
STRENGTHS = np.logspace(-4, 4, 10)
"""The values of liblinear's C that are tried."""
STRONG = 0.05
"""Values of C up to which the penalty leaves little."""
CLOSE = 1e-3
"""Difference of mean losses in which a single step may err."""
NEAR = 1e-2
"""Largest last step of a fit that is only to be compared with others."""
FOLDS = 5
SATURATED = 2.0
"""tanh(2) = 0.96: from here on the length term can hardly tell one length from another."""


class GamedRows(NamedTuple):
    """What the judge said of the baseline's own verbose and concise outputs."""

    preferences: Floats
    """From 0 to 1."""
    lengths: Floats
    """d / std(d), before tanh."""
    difficulty: Floats


NO_GAMED_ROWS = GamedRows(np.empty(0), np.empty(0), np.empty(0))


class Coefficients(NamedTuple):
    """The fitted weights; a negative `length` says that longer outputs win more often."""

    length: float
    difficulty: float
    model: float


@dataclass(frozen=True, slots=True)
class LengthControlled:
    """A length-controlled win rate in percent, and the fit that it came from.

    `standard_error` is the official one, the spread of the predicted probabilities over instructions. It knows
    nothing of the fit's own uncertainty: for an interval resample the instructions (`resampled`).
    """

    win_rate: float
    standard_error: float
    coefficients: Coefficients
    c: float
    """The chosen strength, liblinear's C; NaN where nothing was fitted."""
    fit: Fit | None
    """None where nothing was fitted: a baseline against itself."""
    extrapolates: str | None
    """Why equal lengths are far from what was seen, if they are."""


def length_controlled(
    preferences: npt.ArrayLike,
    len_baseline: npt.ArrayLike,
    len_model: npt.ArrayLike,
    difficulty: npt.ArrayLike,
    gamed: GamedRows = NO_GAMED_ROWS,
    *,
    fit: Fit = "newton",
) -> LengthControlled:
    """The length-controlled win rate of one model over a baseline.

    Args:
        preferences: (n,) from 0 to 1, 1 = the model is preferred; NaN = no verdict: such a row is predicted, as
            the official scorer does, but not fitted.
        len_baseline: (n,) Length of the baseline's outputs in characters.
        len_model: (n,) Length of the model's outputs.
        difficulty: (n,) Difficulty of each row's instruction.
        gamed: The gamed rows; without them length alone may explain a model that wins by length.
        fit: `liblinear-cv` is the official scorer's fit to the last digit, where the rows are in its order;
            `newton` minimises the same objective exactly and fast.

    Raises:
        UsageError: when the rows are not alike in number, or their lengths do not vary.
        MissingExtraError: when `liblinear-cv` is asked for and scikit-learn is not installed.
    """
    rows = _rows(preferences, len_baseline, len_model, difficulty)
    design = _design(rows, gamed)
    solve = _newton if fit == "newton" else _liblinear
    c, found = solve(design)
    chances = _chances(found[None, :], rows.difficulty)[0]
    return LengthControlled(
        win_rate=100 * float(chances.mean()),
        standard_error=100 * standard_error(chances),
        coefficients=Coefficients(*map(float, found)),
        c=c,
        fit=fit,
        extrapolates=_extrapolates(rows.longer),
    )


def baseline_itself() -> LengthControlled:
    """The baseline against itself: 50, by definition."""
    return LengthControlled(50.0, 0.0, Coefficients(0.0, 0.0, 0.0), float("nan"), None, None)


class Resampled:
    """The length-controlled win rate as a function of how often each row counts, for the bootstrap.

    The rows and the strength of the penalty are those of one fit; the gamed rows, which belong to the method and
    not to the sample, are never resampled. The arguments are those of `length_controlled`, and `c` its `c`.
    """

    def __init__(
        self,
        preferences: npt.ArrayLike,
        len_baseline: npt.ArrayLike,
        len_model: npt.ArrayLike,
        difficulty: npt.ArrayLike,
        gamed: GamedRows = NO_GAMED_ROWS,
        *,
        c: float,
    ) -> None:
        self._rows = _rows(preferences, len_baseline, len_model, difficulty)
        self._design = _design(self._rows, gamed)
        self._c = c
        self._start = newton.minimise(self._problems(self._design.features[None], np.ones((1, len(self)))))

    def __len__(self) -> int:
        return len(self._rows.longer)

    def __call__(self, counts: Floats) -> Floats:
        """Win rates (B,) in percent for counts (B, n); NaN where the counted lengths do not vary."""
        spread = _spread(self._rows.longer, counts)
        usable = spread > 0
        values = np.full(len(counts), np.nan)
        if usable.any():
            values[usable] = self._fitted(counts[usable], spread[usable])
        return values

    def _fitted(self, counts: Floats, spread: Floats) -> Floats:
        gamed = self._design.gamed
        features = np.repeat(self._design.features[None], len(counts), axis=0)
        features[:, 0, gamed:] = np.tanh(self._rows.longer / spread[:, None])
        start = np.repeat(self._start, len(counts), axis=0)
        found = newton.minimise(self._problems(features, counts), start)
        chances = _chances(found, self._rows.difficulty)
        return np.asarray(100 * np.einsum("bn,bn->b", chances, counts) / counts.sum(axis=1))

    def _problems(self, features: Floats, counts: Floats) -> newton.Problems:
        design = self._design
        weights = np.repeat(design.weights[None], len(counts), axis=0)
        weights[:, design.gamed :] *= counts
        return newton.Problems(features, design.targets, weights, np.full(len(counts), self._c))


class _Rows(NamedTuple):
    """One model's rows."""

    preferences: Floats
    longer: Floats
    """The baseline's length less the model's."""
    difficulty: Floats


class Design(NamedTuple):
    """What is fitted: N rows, first the gamed ones."""

    features: Floats
    """(3, N)"""
    targets: Floats
    weights: Floats
    gamed: int
    """How many rows are gamed ones."""


def _rows(
    preferences: npt.ArrayLike,
    len_baseline: npt.ArrayLike,
    len_model: npt.ArrayLike,
    difficulty: npt.ArrayLike,
) -> _Rows:
    preferred, baseline, model, hard = (
        np.asarray(values, dtype=np.float64) for values in (preferences, len_baseline, len_model, difficulty)
    )
    if not len(preferred) == len(baseline) == len(model) == len(hard):
        numbers = ", ".join(str(len(values)) for values in (preferred, baseline, model, hard))
        raise UsageError(f"preferences, both lengths and difficulty must be as many; got {numbers}")
    if len(np.flatnonzero((preferred < 0) | (preferred > 1))):
        raise UsageError("preferences must be from 0 (baseline) to 1 (model)")
    if not np.isfinite(np.concatenate([baseline, model, hard])).all():
        raise UsageError("lengths and difficulties must be finite numbers")
    if np.isnan(preferred).all():
        raise UsageError("no preferences: length control needs verdicts")
    longer = baseline - model
    if len(longer) < 2 or not np.ptp(longer) > 0:
        raise UsageError(
            "the outputs' lengths differ from the baseline's by the same amount everywhere: "
            "length control has nothing to learn from"
        )
    return _Rows(preferred, longer, hard)


def _design(rows: _Rows, gamed: GamedRows) -> Design:
    """All rows with a weight of 0 for those without a verdict."""
    n, extra = len(rows.longer), len(gamed.preferences)
    lengths = np.concatenate([gamed.lengths, rows.longer / rows.longer.std(ddof=1)])
    features = np.stack(
        [
            np.tanh(lengths),
            np.concatenate([gamed.difficulty, rows.difficulty]),
            np.concatenate([np.zeros(extra), np.ones(n)]),
        ]
    )
    judged = ~np.isnan(rows.preferences)
    targets = np.concatenate([gamed.preferences, np.where(judged, rows.preferences, 0.5)])
    weights = np.concatenate([np.full(extra, GAMED_WEIGHT), judged.astype(np.float64)])
    return Design(features, targets, weights, extra)


def _spread(values: Floats, counts: Floats) -> Floats:
    """The standard deviation (B,) of values (n,) counted (B, n) times, with one degree of freedom less."""
    totals = counts.sum(axis=1)
    means = counts @ values / totals
    squares = np.square(values - means[:, None])
    return np.asarray(np.sqrt(np.einsum("bn,bn->b", counts, squares) / np.maximum(totals - 1, 1e-9)))


def _chances(coefficients: Floats, difficulty: Floats) -> Floats:
    """P(model preferred) at equal lengths, (B, n)."""
    scores = coefficients[:, 1:2] * difficulty + coefficients[:, 2:3]
    return np.asarray(1 / (1 + np.exp(-scores)))


def folds(n: int) -> npt.NDArray[np.int64]:
    """The fold of each of n rows, as scikit-learn's `GroupKFold` deals groups of equal size: in turn, from the end."""
    return np.arange(n)[::-1] % FOLDS


def _picked(rows: Design, wanted: npt.NDArray[np.bool_]) -> Design:
    return Design(rows.features[:, wanted], rows.targets[wanted], rows.weights[wanted], rows.gamed)


def _fitted(rows: Design) -> Design:
    """Only the rows with a verdict, whose number and order decide on the folds."""
    return _picked(rows, rows.weights > 0)


def _liblinear(design: Design) -> tuple[float, Floats]:
    fitted = _fitted(design)
    rows = liblinear.Rows(fitted.features.T, fitted.targets, fitted.weights)
    c = liblinear.choose(rows, STRENGTHS, folds(len(fitted.targets)))
    return c, liblinear.fit(rows, c)


def _newton(design: Design) -> tuple[float, Floats]:
    """The same choice with exact solutions, all strengths at once.

    A single step without each fold tells which strengths can be the best; those are then fitted without it.
    """
    rows = _fitted(design)
    problems = newton.Problems(rows.features[None], rows.targets, rows.weights[None], STRENGTHS)
    whole = newton.minimise(problems, _start(problems))
    fold = folds(len(rows.targets))
    parts = [part for number in range(FOLDS) if (part := fold == number).any()]
    near = list(newton.step_without(problems, whole, parts))
    rough = _left_out_losses(rows, parts, near)
    close = np.flatnonzero(rough < rough.min() + CLOSE)
    some = problems.picked(close)
    exact = [
        newton.minimise(some.rows(~part), path[close], NEAR) for part, path in zip(parts, near, strict=True)
    ]
    best = close[_left_out_losses(rows, parts, exact).argmin()]
    return float(STRENGTHS[best]), whole[best]


def _start(problems: newton.Problems) -> Floats:
    """Where the descent begins: almost without a penalty, but for strong penalties at 0, which is nearer."""
    weakest = newton.minimise(problems.picked(slice(-1, None)))
    return np.where(STRENGTHS[:, None] > STRONG, weakest, 0.0)


def _left_out_losses(rows: Design, parts: list[npt.NDArray[np.bool_]], paths: list[Floats]) -> Floats:
    """The mean weighted loss (B,) of the rows of each part, by the coefficients (B, 3) without it, over all parts."""
    losses = [_loss(_picked(rows, part), path) for part, path in zip(parts, paths, strict=True)]
    return np.asarray(np.mean(losses, axis=0))


def _loss(left: Design, coefficients: Floats) -> Floats:
    """The mean weighted loss (B,) on rows that were left out."""
    scores = coefficients @ left.features
    sizes = np.abs(scores)
    losses = np.log1p(np.exp(-sizes)) + (sizes + scores) / 2 - left.targets * scores
    return np.asarray(losses @ left.weights / len(left.weights))


def _extrapolates(longer: Floats) -> str | None:
    """Why equal lengths lie outside of what was seen, or at its edge."""
    usual = "shorter" if np.mean(longer) > 0 else "longer"
    if longer.min() > 0 or longer.max() < 0:
        return f"every output is {usual} than the baseline's: equal lengths were never seen"
    reach = abs(float(longer.mean() / longer.std(ddof=1)))
    if reach > SATURATED:
        return (
            f"outputs are {usual} than the baseline's by {reach:.1f} standard deviations on average: "
            "equal lengths were hardly seen"
        )
    return None
