"""L1-penalised logistic regressions by Newton's method, many small ones at once.

The objective is liblinear's: |w|_1 + c * sum_i weight_i * loss_i(w), with the logistic loss of a target
between 0 and 1. It is minimised to the end, where liblinear stops at a tolerance of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations_with_replacement
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from moa.evaluate.numbers.intervals import Floats

STEPS = 100
TOLERANCE = 1e-4
"""A step in which no coefficient changes by more is the last one; what it leaves is of the order of its square."""
SWEEPS = 200
CLOSE = 1e-10
"""Largest change of a coefficient in the last sweep."""
SMALLEST_STEP = 1e-6
RIDGE = 1e-12
"""Of the Hessian's trace, so that it can be solved where a feature is 0 everywhere."""
ROUNDING = 1e-12
"""Relative error of an objective."""
BLOCK = 1 << 13
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

    def picked(self, which: slice | npt.NDArray[np.int64]) -> Problems:
        """Some of the regressions."""
        features, targets, weights, c = self
        return Problems(
            features if len(features) == 1 else features[which],
            targets,
            weights if len(weights) == 1 else weights[which],
            c[which],
        )

    def rows(self, which: npt.NDArray[np.bool_]) -> Problems:
        """All regressions on some of the rows."""
        features, targets, weights, c = self
        return Problems(features[:, :, which], targets[which], weights[:, which], c)


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
        moving = np.flatnonzero((np.abs(direction).max(axis=1) > tolerance) & (share > SMALLEST_STEP))
        if not len(moving):
            break
        some = problems if len(moving) == len(first) else problems.picked(moving)
        there = _evaluate(some, (here.coefficients + share[:, None] * direction)[moving])
        slack = ROUNDING * np.abs(here.objective[moving])
        better = there.objective <= here.objective[moving] + slack
        for new, old in zip(there, here, strict=True):
            old[moving[better]] = new[better]
        share[moving] = np.where(better, 1.0, share[moving] / 2)
        direction[moving] = _direction(_Point(*(values[moving] for values in here)))
    return here.coefficients + np.where(share[:, None] < 1, 0.0, direction)


def step_without(
    problems: Problems, solution: Floats, parts: Iterable[npt.NDArray[np.bool_]]
) -> Iterator[Floats]:
    """One step from the solution (B, K) of all rows towards that without each part of them (N,).

    It needs the rows of the part only.
    """
    whole = _evaluate(problems, solution)
    for part in parts:
        lost = _evaluate(problems.rows(part), solution)
        rest = whole._replace(gradient=whole.gradient - lost.gradient, hessian=whole.hessian - lost.hessian)
        yield solution + _direction(rest)


def _evaluate(problems: Problems, coefficients: Floats) -> _Point:
    """The objective and its derivatives, for a few regressions at a time: larger arrays leave the cache."""
    at_once = max(1, BLOCK // problems.targets.size)
    starts = range(0, len(coefficients), at_once)
    parts = [
        _evaluate_block(problems.picked(slice(start, start + at_once)), coefficients[start : start + at_once])
        for start in starts
    ]
    return _Point(*(np.concatenate(values) for values in zip(*parts, strict=True)))


def _evaluate_block(problems: Problems, coefficients: Floats) -> _Point:
    """The same in terms of the tanh of half the scores, in few arrays, and without the losses' constant part."""
    features, targets, weights, c = problems
    scaled, balance = weights * c[:, None], 1 - 2 * targets
    halves = np.matmul(coefficients[:, None, :] / 2, features)[:, 0, :]
    lean = np.tanh(halves)
    losses = np.abs(halves)
    losses -= np.log1p(np.abs(lean))
    losses += np.multiply(halves, balance, out=halves)
    residuals = np.add(lean, balance, out=halves)
    residuals *= scaled
    curvature = np.subtract(1, np.multiply(lean, lean, out=lean), out=lean)
    curvature *= scaled
    return _Point(
        coefficients,
        np.abs(coefficients).sum(axis=1) + np.einsum("bn,bn->b", scaled, losses),
        np.matmul(features, residuals[:, :, None])[:, :, 0] / 2,
        _products(features, curvature) / 4,
    )


def _products(features: Floats, weights: Floats) -> Floats:
    """The weighted sums (B, K, K) of products of features."""
    if len(features) > 1:
        return np.asarray(np.matmul(features * weights[:, None, :], features.swapaxes(1, 2)))
    [rows] = features
    found = np.empty((len(weights), len(rows), len(rows)))
    for one, two in combinations_with_replacement(range(len(rows)), 2):
        found[:, one, two] = found[:, two, one] = weights @ (rows[one] * rows[two])
    return found


def _direction(point: _Point) -> Floats:
    """The step (B, K) to the minimum of |w + d|_1 + g d + d H d / 2.

    Where the coefficients that are 0 stay so and no other changes its sign, that is one system of equations; else
    coordinate descent finds it.
    """
    start, gradient = point.coefficients, point.gradient
    unit = np.eye(start.shape[1])
    ridge = RIDGE * (1 + np.trace(point.hessian, axis1=1, axis2=2))
    hessian = point.hessian + ridge[:, None, None] * unit
    free = (start != 0) | (np.abs(gradient) > 1)
    signs = np.where(start != 0, np.sign(start), -np.sign(gradient))
    system = np.where(free[:, :, None] & free[:, None, :], hessian, unit)
    step = -np.linalg.solve(system, np.where(free, gradient + signs, 0.0)[:, :, None])
    slope = gradient + np.matmul(hessian, step)[:, :, 0]
    wrong = np.where(free, np.sign(start + step[:, :, 0]) != signs, np.abs(slope) > 1).any(axis=1)
    found = step[:, :, 0]
    if wrong.any():
        found[wrong] = _descend(start[wrong], gradient[wrong], hessian[wrong]) - start[wrong]
    return np.asarray(found)


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
