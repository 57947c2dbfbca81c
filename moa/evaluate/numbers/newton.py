"""L1-penalised logistic regressions by Newton's method, many small ones at once.

The objective is liblinear's: |w|_1 + c * sum_i weight_i * loss_i(w), with the logistic loss of a target
between 0 and 1. It is minimised to the end, where liblinear stops at a tolerance of its own.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from moa.evaluate.numbers.intervals import Floats

STEPS = 100
TOLERANCE = 1e-5
"""A step in which no coefficient changes by more is the last one; what it leaves is of the order of its square."""
SWEEPS = 200
CLOSE = 1e-10
"""Largest change of a coefficient in the last sweep."""
SMALLEST_STEP = 1e-6
RIDGE = 1e-12
"""Of the Hessian's trace, so that it can be solved where a feature is 0 everywhere."""
ROUNDING = 1e-12
"""Relative error of an objective."""
BLOCK = 1 << 14
"""Rows times regressions that are worked on at once."""


class Problems(NamedTuple):
    """B regressions on N rows with K features; an axis of 1 in the place of B is shared by all."""

    features: Floats
    """(B or 1, K, N)"""
    targets: Floats
    """(N,), from 0 to 1"""
    weights: Floats
    """(B or 1, N), at least 0"""
    c: Floats
    """(B,), liblinear's C: the larger, the weaker the penalty"""

    def block(self, start: int, stop: int) -> Problems:
        """Some of the regressions."""
        features, targets, weights, c = self
        part = slice(start, stop)
        return Problems(
            features if len(features) == 1 else features[part],
            targets,
            weights if len(weights) == 1 else weights[part],
            c[part],
        )


class _Point(NamedTuple):
    """Where the descent stands: coefficients (B, K) and what the smooth part of the objective is there."""

    coefficients: Floats
    objective: Floats
    gradient: Floats
    hessian: Floats


def minimise(problems: Problems, start: Floats | None = None, tolerance: float = TOLERANCE) -> Floats:
    """The coefficients (B, K) of each regression, from `start` (B, K) or from 0.

    Each step solves the penalised quadratic model, and is halved for those regressions that it does not improve.
    """
    first = np.zeros((len(problems.c), problems.features.shape[1])) if start is None else start
    here = _evaluate(problems, first)
    direction, share = _direction(here), np.ones(len(first))
    for _ in range(STEPS):
        moving = (np.abs(direction).max(axis=1) > tolerance) & (share > SMALLEST_STEP)
        if not moving.any():
            break
        there = _evaluate(problems, here.coefficients + share[:, None] * direction)
        better = there.objective <= here.objective + ROUNDING * np.abs(here.objective)
        here = there if better.all() else _chosen(better, there, here)
        share = np.where(better, 1.0, share / 2)
        direction = _direction(here)
    return here.coefficients + np.where(share[:, None] < 1, 0.0, direction)


def _chosen(better: np.ndarray[tuple[int], np.dtype[np.bool_]], there: _Point, here: _Point) -> _Point:
    """The new point where it is better, the old one elsewhere."""
    pairs = zip(there, here, strict=True)
    return _Point(*(np.where(better.reshape(-1, *[1] * (new.ndim - 1)), new, old) for new, old in pairs))


def _evaluate(problems: Problems, coefficients: Floats) -> _Point:
    """The objective and its derivatives, for a few regressions at a time: larger arrays leave the cache."""
    at_once = max(1, BLOCK // problems.targets.size)
    starts = range(0, len(coefficients), at_once)
    parts = [
        _evaluate_block(problems.block(start, start + at_once), coefficients[start : start + at_once])
        for start in starts
    ]
    return _Point(*(np.concatenate(values) for values in zip(*parts, strict=True)))


def _evaluate_block(problems: Problems, coefficients: Floats) -> _Point:
    features, targets, weights, c = problems
    scores = np.matmul(coefficients[:, None, :], features)[:, 0, :]
    lean = np.tanh(scores / 2)
    size = np.abs(scores) / 2 - np.log(0.5 + 0.5 * np.abs(lean))
    scaled = weights * c[:, None]
    losses = np.einsum("bn,bn->b", scaled, size + (0.5 - targets) * scores)
    return _Point(
        coefficients,
        np.abs(coefficients).sum(axis=1) + losses,
        np.matmul(features, (scaled * (0.5 + 0.5 * lean - targets))[:, :, None])[:, :, 0],
        _hessian(features, scaled * (0.25 - 0.25 * lean * lean)),
    )


def _hessian(features: Floats, curvature: Floats) -> Floats:
    """(B, K, K); for shared features one product of matrices makes them all."""
    if len(features) > 1:
        return np.asarray(np.matmul(features * curvature[:, None, :], features.swapaxes(1, 2)))
    one = features[0]
    products = (one[:, None, :] * one[None, :, :]).reshape(len(one) ** 2, -1)
    return np.asarray((curvature @ products.T).reshape(-1, len(one), len(one)))


def _direction(point: _Point) -> Floats:
    """The step (B, K) to the minimum of |w + d|_1 + g d + d H d / 2.

    Where no coefficient changes its sign that is one system of K equations; else coordinate descent finds it.
    """
    start, gradient = point.coefficients, point.gradient
    ridge = RIDGE * (1 + np.trace(point.hessian, axis1=1, axis2=2))
    hessian = point.hessian + ridge[:, None, None] * np.eye(start.shape[1])
    signs = np.where(start != 0, np.sign(start), -np.sign(gradient))
    aim = start - np.linalg.solve(hessian, (gradient + signs)[:, :, None])[:, :, 0]
    crossed = (np.sign(aim) != signs).any(axis=1)
    if crossed.any():
        aim[crossed] = _descend(start[crossed], gradient[crossed], hessian[crossed])
    return np.asarray(aim - start)


def _descend(start: Floats, gradient: Floats, hessian: Floats) -> Floats:
    """The same minimum, one coefficient at a time."""
    slope, aim = gradient.copy(), start.copy()
    for _ in range(SWEEPS):
        largest = 0.0
        for k in range(start.shape[1]):
            curve = hessian[:, k, k]
            free = aim[:, k] - slope[:, k] / curve
            new = np.sign(free) * np.maximum(np.abs(free) - 1 / curve, 0)
            change = new - aim[:, k]
            slope += change[:, None] * hessian[:, :, k]
            aim[:, k] = new
            largest = max(largest, float(np.abs(change).max()))
        if largest < CLOSE:
            break
    return aim
