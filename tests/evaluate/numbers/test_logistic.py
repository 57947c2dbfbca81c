"""Logistic regression against statsmodels 0.15 and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from moa.errors import UsageError
from moa.evaluate.numbers.intervals import Floats
from moa.evaluate.numbers.logistic import coefficients, logistic, sigmoid


def drawn() -> tuple[Floats, Floats]:
    random = np.random.default_rng(0)
    x = random.normal(size=60)
    y = (random.random(60) < 1 / (1 + np.exp(-0.5 - x))).astype(float)
    return np.column_stack([np.ones(60), x]), y


def test_coefficients_and_clustered_errors_are_statsmodels() -> None:
    # sm.Logit(y, X).fit(cov_type="cluster", groups=rows // 3), whose small-sample factor has (n-1)/(n-k) besides.
    fit = logistic(*drawn(), members=np.arange(60) // 3)
    assert fit.coefficients == pytest.approx([-0.05596311040294981, 0.7192699891005261])
    errors = np.sqrt(np.diag(fit.covariance) * 59 / 58)
    assert errors == pytest.approx([0.2594847452588301, 0.30535634142217905])


def test_the_plain_sandwich_is_statsmodels() -> None:
    # cov_type="HC0" has no factor; ours has n/(n-1).
    fit = logistic(*drawn())
    errors = np.sqrt(np.diag(fit.covariance) * 59 / 60)
    assert errors == pytest.approx([0.2726584991013009, 0.31637488055944213])


def test_ridge_is_scikit_learns() -> None:
    features, targets = drawn()
    known = LogisticRegression(C=1 / 2.5, fit_intercept=False, tol=1e-12).fit(features, targets)
    found = coefficients(features, targets, np.ones(60), ridge=2.5)
    assert found == pytest.approx(known.coef_[0], abs=1e-6)


def test_a_weight_is_a_repeated_row() -> None:
    features, targets = drawn()
    repeats = np.arange(60) % 3 + 1
    weights = repeats.astype(np.float64)
    twice = coefficients(
        np.repeat(features, repeats, axis=0), np.repeat(targets, repeats), np.ones(repeats.sum())
    )
    assert coefficients(features, targets, weights) == pytest.approx(twice)


def test_a_soft_target_is_both_rows_in_part() -> None:
    features, targets = drawn()
    soft = np.clip(targets, 0.2, 0.9)
    both = np.concatenate([features, features])
    split = coefficients(both, np.repeat([1.0, 0.0], 60), np.concatenate([soft, 1 - soft]))
    assert coefficients(features, soft, np.ones(60)) == pytest.approx(split)


def test_a_feature_that_decides_everything_is_refused_without_ridge() -> None:
    features, targets = np.array([[-1.0], [-2.0], [1.0], [2.0]]), np.array([0.0, 0.0, 1.0, 1.0])
    with pytest.raises(UsageError, match="set a small ridge"):
        coefficients(features, targets, np.ones(4))
    assert coefficients(features, targets, np.ones(4), ridge=0.1)[0] > 1


def test_sigmoid_does_not_overflow() -> None:
    assert sigmoid(np.array([-1e4, 0.0, 1e4])).tolist() == [0.0, 0.5, 1.0]
