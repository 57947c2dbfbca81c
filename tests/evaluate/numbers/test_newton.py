"""The Newton fit finds the minimum of the penalised loss, for many regressions at once."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from moa.evaluate.numbers import newton
from moa.evaluate.numbers.intervals import Floats
from moa.evaluate.numbers.newton import Problems, minimise


def problems(seed: int, c: list[float], n: int = 120, shared: bool = True) -> Problems:
    random = np.random.default_rng(seed)
    features = random.normal(size=(1 if shared else len(c), 3, n))
    features[:, 1] += 0.5 * features[:, 0]
    weights = random.random((len(c), n))
    return Problems(features, random.random(n), weights, np.array(c))


def objective(given: Problems, number: int, coefficients: Floats) -> float:
    features = given.features[0 if len(given.features) == 1 else number]
    scores = coefficients @ features
    losses = np.logaddexp(0, scores) - given.targets * scores
    return float(np.abs(coefficients).sum() + given.c[number] * (given.weights[number] * losses).sum())


def subgradient(given: Problems, number: int, coefficients: Floats) -> Floats:
    """By how much each coefficient misses the condition of a minimum."""
    features = given.features[0 if len(given.features) == 1 else number]
    residuals = given.weights[number] * (1 / (1 + np.exp(-coefficients @ features)) - given.targets)
    slope = given.c[number] * features @ residuals
    missed = np.where(coefficients == 0, np.maximum(np.abs(slope) - 1, 0), slope + np.sign(coefficients))
    return np.asarray(missed)


@pytest.mark.parametrize("shared", [True, False])
def test_every_regression_is_at_its_minimum(shared: bool) -> None:
    given = problems(0, [1e-4, 0.05, 0.1, 1.0, 100.0, 1e4], shared=shared)
    found = minimise(given)
    for number, coefficients in enumerate(found):
        missed = subgradient(given, number, coefficients) / max(1.0, given.c[number])
        assert np.abs(missed).max() < 1e-6


def test_no_other_optimiser_finds_less() -> None:
    given = problems(1, [0.3, 3.0])
    for number, coefficients in enumerate(minimise(given)):
        rough = minimize(lambda w, k=number: objective(given, k, w), coefficients + 0.1, method="Nelder-Mead")
        assert objective(given, number, coefficients) <= rough.fun + 1e-9


def test_a_strong_penalty_leaves_nothing() -> None:
    assert np.array_equal(minimise(problems(2, [1e-4])), np.zeros((1, 3)))


def test_some_coefficients_vanish_and_others_stay() -> None:
    given = problems(3, [0.1], n=2000)
    [found] = minimise(given._replace(targets=(given.features[0, 0] > 0).astype(np.float64)))
    assert found[0] > 0.1
    assert found[2] == 0


def test_separable_rows_have_a_finite_minimum() -> None:
    features = np.linspace(-1, 1, 50)[None, None, :]
    given = Problems(features, (features[0, 0] > 0).astype(np.float64), np.ones((1, 50)), np.array([100.0]))
    [found] = minimise(given)
    assert 10 < found[0] < 1000
    assert np.abs(subgradient(given, 0, found)).max() < 1e-4


def test_far_starts_lead_to_the_same_minimum() -> None:
    given = problems(4, [2.0, 20.0])
    far = minimise(given, np.array([[30.0, -30.0, 30.0], [-80.0, 5.0, 0.0]]))
    np.testing.assert_allclose(far, minimise(given), atol=1e-8)


def test_a_feature_that_is_0_everywhere_has_no_coefficient() -> None:
    given = problems(5, [5.0])
    features = given.features.copy()
    features[:, 2] = 0
    [found] = minimise(given._replace(features=features))
    assert found[2] == 0
    assert abs(found[0]) > 0


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    given = problems(6, [0.5, 1.0, 2.0, 4.0, 8.0], shared=False)
    whole = minimise(given)
    monkeypatch.setattr(newton, "BLOCK", 1)
    np.testing.assert_allclose(minimise(given), whole, rtol=1e-12)
