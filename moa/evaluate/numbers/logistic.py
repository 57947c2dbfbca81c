"""Logistic regression of targets from 0 to 1, with errors that hold when rows of one question are alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from moa.errors import UsageError
from moa.evaluate.numbers.intervals import Floats, Integers

STEPS = 100
TOLERANCE = 1e-12
"""Twice what the last step was expected to take off the loss; the step after it would take off its square."""
FLAT = 1e-12
"""Curvature, relative to the largest, below which the data do not determine a direction (a shift of all
strengths)."""
UNBOUNDED = 20.0
"""Log-odds beyond which an unpenalised coefficient is on its way to infinity."""


@dataclass(frozen=True, slots=True, eq=False)
class Logistic:
    """Coefficients, and their covariance: the sandwich over clusters."""

    coefficients: Floats
    covariance: Floats


def logistic(
    features: Floats,
    targets: Floats,
    *,
    weights: Floats | None = None,
    members: Integers | None = None,
    ridge: float = 0.0,
    start: Floats | None = None,
) -> Logistic:
    """The coefficients of `P(target) = sigmoid(features @ coefficients)`, with a cluster-robust covariance.

    `members` numbers each row's cluster from 0 (default: each row its own). `ridge` adds
    `ridge * coefficient**2 / 2` a feature to the loss.

    Raises:
        UsageError: when no finite coefficients are best: some combination of features decides every target.
    """
    mass = np.ones(len(targets)) if weights is None else weights
    found = coefficients(features, targets, mass, ridge=ridge, start=start)
    chance = sigmoid(features @ found)
    slopes = features * (mass * (targets - chance))[:, None]
    if members is not None:
        slopes = _grouped(slopes, members)
    groups = len(slopes)
    bread = _inverse(_curvature(features, mass, chance, ridge))
    factor = groups / (groups - 1) if groups > 1 else float("nan")
    return Logistic(found, bread @ (factor * slopes.T @ slopes) @ bread)


def coefficients(
    features: Floats,
    targets: Floats,
    weights: Floats,
    *,
    ridge: float = 0.0,
    start: Floats | None = None,
) -> Floats:
    """The same without the covariance, by Newton's method with halved steps."""
    here = np.zeros(features.shape[1]) if start is None else start.copy()
    loss = _loss(features, targets, weights, ridge, here)
    for _ in range(STEPS):
        chance = sigmoid(features @ here)
        slope = features.T @ (weights * (chance - targets)) + ridge * here
        step = _inverse(_curvature(features, weights, chance, ridge)) @ slope
        here, loss = _descend(features, targets, weights, ridge, here, loss, step)
        if not ridge and np.abs(features @ here).max() > UNBOUNDED:
            break
        if slope @ step < TOLERANCE:
            return here
    raise UsageError("the fit has no finite optimum: some features decide every outcome; set a small ridge")


def _descend(
    features: Floats,
    targets: Floats,
    weights: Floats,
    ridge: float,
    here: Floats,
    loss: float,
    step: Floats,
) -> tuple[Floats, float]:
    """The point after the step, halved until it is no worse, and its loss."""
    for halving in range(30):
        there = here - step / 2**halving
        new = _loss(features, targets, weights, ridge, there)
        if new <= loss + 1e-12 * abs(loss):
            return there, new
    return here, loss


def sigmoid(scores: Floats) -> Floats:
    """`1 / (1 + exp(-scores))` without overflow."""
    decay = np.exp(-np.abs(scores))
    return np.where(scores >= 0, 1.0, decay) / (1.0 + decay)


def _loss(features: Floats, targets: Floats, weights: Floats, ridge: float, at: Floats) -> float:
    scores = features @ at
    losses = np.maximum(scores, 0) + np.log1p(np.exp(-np.abs(scores))) - targets * scores
    return float(weights @ losses + np.sum(ridge * at**2) / 2)


def _curvature(features: Floats, weights: Floats, chance: Floats, ridge: float) -> Floats:
    inner = features * (weights * chance * (1 - chance))[:, None]
    return np.asarray(features.T @ inner + ridge * np.eye(features.shape[1]))


def _inverse(matrix: Floats) -> Floats:
    return np.asarray(np.linalg.pinv(matrix, rcond=FLAT, hermitian=True))


def _grouped(rows: Floats, members: Integers) -> Floats:
    sums = np.zeros((int(members.max()) + 1, rows.shape[1]))
    np.add.at(sums, members, rows)
    return sums
