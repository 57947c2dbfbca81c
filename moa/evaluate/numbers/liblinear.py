"""The fit of the official scorer: liblinear's L1 logistic regression with a cross-validated strength.

liblinear stops before the minimum and visits coordinates in a random order, so equal numbers need its
own code (through scikit-learn), the same order of rows and the same seed.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from moa.errors import MissingExtraError
from moa.evaluate.numbers.intervals import Floats

SEED = 123
EPSILON = 1e-15


class Rows(NamedTuple):
    """N rows with K features; each counts `weights` times as `targets` of a win and the rest of a loss."""

    features: Floats
    """(N, K)"""
    targets: Floats
    """(N,), from 0 to 1"""
    weights: Floats
    """(N,)"""


def choose(rows: Rows, strengths: Floats, folds: npt.NDArray[np.int64]) -> float:
    """The C with the smallest loss on the rows left out, the smaller one of equals.

    Equals scikit-learn's `LogisticRegressionCV` with a soft log-loss: in each fold one random state serves
    all strengths in turn, and the loss is the mean over rows of the weighted losses.
    """
    gains = np.zeros(len(strengths))
    for fold in range(int(folds.max()) + 1):
        out = folds == fold
        trained = Rows(*(values[~out] for values in rows))
        random = np.random.RandomState(SEED)
        gains += [_gain(Rows(*(v[out] for v in rows)), fit(trained, c, random)) for c in strengths]
    return float(strengths[gains.argmax()])


def fit(rows: Rows, c: float, random: np.random.RandomState | int = SEED) -> Floats:
    """The coefficients (K,) for one strength."""
    features = np.concatenate([rows.features, rows.features])
    labels = np.repeat([1, 0], len(rows.targets))
    weights = np.concatenate([rows.targets * rows.weights, (1 - rows.targets) * rows.weights])
    model = _model(c, random)
    with warnings.catch_warnings():
        # The official scorer goes on from where liblinear stopped, too.
        warnings.filterwarnings("ignore", message="Liblinear failed to converge")
        model.fit(features, labels, sample_weight=weights)
    return np.asarray(model.coef_[0], dtype=np.float64)


def _gain(rows: Rows, coefficients: Floats) -> float:
    chances = np.clip(1 / (1 + np.exp(-(rows.features @ coefficients))), EPSILON, 1 - EPSILON)
    gains = rows.targets * np.log(chances) + (1 - rows.targets) * np.log(1 - chances)
    return float(np.mean(rows.weights * gains))


def _model(c: float, random: np.random.RandomState | int) -> Any:
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError:
        raise MissingExtraError("the official length-controlled win rate", "eval") from None
    # `penalty` is deprecated since scikit-learn 1.8, where `l1_ratio` took its place, and leaves with 1.10.
    known = LogisticRegression().get_params()
    kind = {"penalty": "l1"} if known.get("penalty") == "l2" else {"l1_ratio": 1.0}
    return LogisticRegression(C=c, solver="liblinear", fit_intercept=False, random_state=random, **kind)
