"""Prediction-powered means against ppi-python 0.2.3 and simulated truth."""

from __future__ import annotations

import math

import numpy as np
import pytest

from moa.errors import UsageError
from moa.evaluate.numbers.intervals import Floats
from moa.evaluate.numbers.ppi import prediction_powered_difference, prediction_powered_mean

HUMAN = [1, 0, 1, 1, 0, 1, 0, 0, 1, 1, 1, 0]
SAID = [0.9, 0.2, 0.6, 0.8, 0.5, 0.7, 0.1, 0.6, 0.4, 0.9, 0.7, 0.3]
REST = [
    0.8,
    0.1,
    0.9,
    0.4,
    0.6,
    0.7,
    0.2,
    0.3,
    0.95,
    0.5,
    0.65,
    0.15,
    0.85,
    0.75,
    0.35,
    0.55,
    0.45,
    0.9,
    0.25,
]
MODEL = np.array([*SAID, *REST, 0.6])
PEOPLE = np.array([*HUMAN, *[math.nan] * 20])


def test_the_plain_estimate_is_ppi_pythons() -> None:
    # ppi_mean_pointestimate(..., lam=1) and lam=0.5
    assert prediction_powered_mean(PEOPLE, MODEL, weight=1).estimate.value == pytest.approx(0.5725)
    half = prediction_powered_mean(PEOPLE, MODEL, weight=0.5).estimate
    assert half.value == pytest.approx(0.57791666667)
    assert half.method == "PPI (weight 0.5)"


def test_the_tuned_estimate_is_near_ppi_pythons() -> None:
    # 0.57431544; that package divides the covariance by n where ours divides by n - 1.
    found = prediction_powered_mean(PEOPLE, MODEL)
    assert found.estimate.value == pytest.approx(0.57431544, abs=1e-3)
    assert found.weight == pytest.approx(0.835 * 12 / 11, abs=0.02)
    assert found.estimate.n == 32


def test_no_weight_is_the_human_mean_alone() -> None:
    found = prediction_powered_mean(PEOPLE, MODEL, weight=0)
    assert found.estimate.value == pytest.approx(found.human_only.value)
    assert found.estimate.standard_error == pytest.approx(found.human_only.standard_error)
    assert found.effective_labels == pytest.approx(12)


def simulated(random: np.random.Generator, labelled: int, rows: int) -> tuple[Floats, Floats]:
    """Labels of a judge who is right about the order but generous; the true mean is 1/2."""
    chance = random.beta(0.5, 0.5, rows)
    human = (random.random(rows) < chance).astype(float)
    human[labelled:] = math.nan
    return human, np.clip(0.7 * chance + 0.25 + random.normal(0, 0.1, rows), 0, 1)


@pytest.mark.parametrize(("labelled", "rows"), [(20, 420), (100, 1000)])
def test_the_interval_covers_where_the_judges_own_does_not(labelled: int, rows: int) -> None:
    random = np.random.default_rng(4)
    runs = [prediction_powered_mean(*simulated(random, labelled, rows)) for _ in range(600)]
    assert 0.92 < np.mean([run.estimate.contains(0.5) for run in runs]) < 0.98
    assert np.mean([run.model_only.contains(0.5) for run in runs]) < 0.1


def test_a_good_judge_is_worth_many_labels() -> None:
    found = prediction_powered_mean(*simulated(np.random.default_rng(5), 100, 2000))
    assert found.estimate.standard_error < found.human_only.standard_error
    assert found.effective_labels > 130
    assert (found.human_labels, found.model_labels) == (100, 2000)
    assert found.bias == pytest.approx(0.1, abs=0.1)


def test_a_useless_judge_costs_nothing() -> None:
    random = np.random.default_rng(6)
    human = random.integers(2, size=200).astype(float)
    human[100:] = math.nan
    found = prediction_powered_mean(human, random.random(200))
    assert abs(found.weight) < 0.2
    assert found.estimate.standard_error == pytest.approx(found.human_only.standard_error, rel=0.03)


def test_a_judge_who_says_one_thing_is_ignored() -> None:
    found = prediction_powered_mean(PEOPLE, np.full(32, 0.5))
    assert found.weight == 0
    assert found.estimate.value == pytest.approx(np.mean(HUMAN))


def test_with_all_labels_there_is_nothing_to_correct() -> None:
    found = prediction_powered_mean(HUMAN, SAID)
    assert found.estimate.value == pytest.approx(np.mean(HUMAN))
    assert found.estimate.n == 12


def test_a_difference_is_the_mean_of_differences() -> None:
    other_human, other_model = np.where(np.isnan(PEOPLE), math.nan, 0.5), MODEL[::-1]
    found = prediction_powered_difference(PEOPLE, other_human, MODEL, other_model)
    assert found == prediction_powered_mean(PEOPLE - other_human, MODEL - other_model)


@pytest.mark.parametrize(
    ("human", "model", "message"),
    [
        ([1.0, 0.0], [0.5], "align them first"),
        ([1.0, 0.0, 1.0, math.nan], [0.5] * 4, "3 human labels are too few"),
        ([1.0, 0.0], [0.5, math.nan], "row 1 has no model label"),
        ([math.inf, 0.0], [0.5, 0.5], "row 0 has an infinite"),
    ],
)
def test_labels_that_cannot_be_combined_are_refused(
    human: list[float], model: list[float], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        prediction_powered_mean(human, model)
