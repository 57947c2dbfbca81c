"""Means, proportions and bootstraps against closed forms and independent implementations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from moa.errors import UsageError
from moa.evaluate.numbers.intervals import (
    Estimate,
    bootstrap,
    bounded_mean,
    mean,
    proportion,
)

SHARES = st.lists(st.floats(0, 1), min_size=2, max_size=40)


def test_the_t_interval_is_scipys() -> None:
    values = np.random.default_rng(3).normal(size=23)
    low, high = scipy.stats.t.interval(0.9, 22, loc=values.mean(), scale=scipy.stats.sem(values))
    estimate = mean(values, level=0.9)
    assert estimate.value == pytest.approx(values.mean())
    assert estimate.standard_error == pytest.approx(scipy.stats.sem(values))
    assert (estimate.low, estimate.high) == pytest.approx((low, high))
    assert (estimate.n, estimate.method) == (23, "t")


def test_the_normal_interval_reaches_1_96_errors() -> None:
    estimate = mean([0, 1], method="normal")
    assert estimate.standard_error == 0.5
    assert estimate.high == pytest.approx(0.5 + 0.5 * 1.959963984540054)


def test_one_value_has_no_error_rather_than_none() -> None:
    estimate = mean([0.3])
    assert estimate.value == 0.3
    assert math.isnan(estimate.standard_error)
    assert math.isnan(estimate.low)


def test_repeated_judgments_of_a_question_add_no_certainty() -> None:
    values = np.random.default_rng(5).random(30)
    thrice = mean(np.repeat(values, 3), clusters=np.repeat(np.arange(30), 3))
    once = mean(values)
    assert thrice.n == 30
    assert thrice.standard_error == pytest.approx(once.standard_error)
    assert (thrice.low, thrice.high) == pytest.approx((once.low, once.high))


def test_unequal_clusters_follow_the_sandwich() -> None:
    values, clusters = [1.0, 2.0, 6.0, 4.0, 2.0], ["a", "a", "b", "c", "c"]
    residuals = [1 - 3 + 2 - 3, 6 - 3, 4 - 3 + 2 - 3]
    expected = math.sqrt(3 / 2 * sum(r * r for r in residuals)) / 5
    assert mean(values, clusters=clusters).standard_error == pytest.approx(expected)


@pytest.mark.parametrize(("wins", "n"), [(0, 10), (3, 20), (10, 10), (199, 805)])
def test_wilsons_interval_is_scipys(wins: int, n: int) -> None:
    known = scipy.stats.binomtest(wins, n).proportion_ci(0.95, method="wilson")
    estimate = proportion(wins, n)
    assert (estimate.low, estimate.high) == pytest.approx((known.low, known.high), abs=1e-12)


def test_agresti_and_coull_add_two_of_each() -> None:
    # statsmodels 0.15: proportion_confint(3, 20, method="agresti_coull").
    estimate = proportion(3, 20, method="agresti")
    assert (estimate.low, estimate.high) == pytest.approx((0.0439390112765195, 0.36884859936045405))


@pytest.mark.parametrize(("wins", "n"), [(3, 2), (-1, 5), (0, 0)])
def test_impossible_proportions_are_refused(wins: int, n: int) -> None:
    with pytest.raises(UsageError, match="is not a proportion"):
        proportion(wins, n)


def test_coin_flips_have_wilsons_interval() -> None:
    flips = [1.0] * 60 + [0.0] * 340
    exact, flat = proportion(60, 400), bounded_mean(flips)
    # t with 399 degrees of freedom in place of z.
    assert (flat.low, flat.high) == pytest.approx((exact.low, exact.high), abs=2e-4)


def test_few_wins_tell_little_about_the_variance() -> None:
    # One doubtful win of fifty: its own spread would say 0.6% at most.
    estimate = bounded_mean([0.1] + [0.0] * 49)
    assert estimate.low == pytest.approx(0, abs=1e-3)
    assert estimate.high == pytest.approx(proportion(0.1, 50).high, abs=0.01)


def test_many_wins_do() -> None:
    values = np.random.default_rng(7).uniform(0.3, 0.7, 200)
    narrow, plain = bounded_mean(values), mean(values)
    assert (narrow.low, narrow.high) == pytest.approx((plain.low, plain.high), abs=5e-4)


@given(SHARES)
def test_an_interval_of_shares_stays_within_0_and_1(values: list[float]) -> None:
    estimate = bounded_mean(values)
    assert 0 <= estimate.low <= estimate.value + 1e-12
    assert estimate.value - 1e-12 <= estimate.high <= 1


def test_all_losses_still_leave_room() -> None:
    estimate = bounded_mean([0.0] * 20)
    assert estimate.low == 0
    assert 0.1 < estimate.high < 0.25


def test_a_model_against_itself_has_no_width() -> None:
    assert bounded_mean([0.5] * 20) == Estimate(0.5, 0.0, 0.5, 0.5, 20, "Wilson, effective n")


@given(SHARES, st.floats(-200, 200), st.floats(-5, 5))
def test_scaling_keeps_ends_in_order(values: list[float], factor: float, shift: float) -> None:
    scaled = mean(values).scaled(factor, shift)
    assert scaled.low <= scaled.high
    assert scaled.standard_error >= 0


def test_percent_is_a_hundredfold() -> None:
    assert proportion(1, 2).percent().value == 50


@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_bootstrap_agrees_with_scipy(method: str) -> None:
    values = np.random.default_rng(1).exponential(size=60)
    ours = bootstrap(values, method=method, replicates=8000, seed=2)  # type: ignore[arg-type]
    theirs = scipy.stats.bootstrap(
        (values,), np.mean, method=method, n_resamples=8000, rng=np.random.default_rng(7)
    )
    assert ours.standard_error == pytest.approx(theirs.standard_error, rel=0.03)
    ends = theirs.confidence_interval
    assert (ours.low, ours.high) == pytest.approx((ends.low, ends.high), abs=0.03)


def test_a_bootstrap_repeats_with_its_seed() -> None:
    values = [0.1, 0.5, 0.9, 0.2]
    assert bootstrap(values, seed=4) == bootstrap(values, seed=4)
    assert bootstrap(values, seed=4) != bootstrap(values, seed=5)


def test_a_bootstrap_draws_questions_whole() -> None:
    values = np.random.default_rng(6).random(50)
    doubled = bootstrap(np.repeat(values, 2), clusters=np.repeat(np.arange(50), 2), seed=1)
    single = bootstrap(values, seed=1)
    assert doubled.n == 50
    assert doubled.standard_error == pytest.approx(single.standard_error)


def test_a_bootstrap_takes_any_statistic_of_rows() -> None:
    rows = np.random.default_rng(0).normal(size=(100, 2)) @ np.array([[1.0, 0.8], [0.0, 0.6]])
    estimate = bootstrap(rows, lambda drawn: scipy.stats.pearsonr(*drawn.T).statistic, replicates=200)
    assert estimate.value == pytest.approx(np.corrcoef(*rows.T)[0, 1])
    assert estimate.low < 0.8 < estimate.high


def test_a_constant_has_a_bootstrap_without_width() -> None:
    estimate = bootstrap([2.0, 2.0, 2.0])
    assert (estimate.low, estimate.high, estimate.standard_error) == (2, 2, 0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], "no values"),
        ([0.5, math.nan], r"values\[1\] is nan"),
        ([[0.5]], "must be a vector"),
    ],
)
def test_gaps_are_refused_with_their_place(values: list[float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        mean(values)


def test_a_preference_out_of_bounds_is_refused() -> None:
    with pytest.raises(UsageError, match=r"values\[1\] is 1.5: must be from 0 to 1"):
        bounded_mean([0.5, 1.5])


def test_labels_must_match_values() -> None:
    with pytest.raises(UsageError, match="1 clusters for 2 values"):
        mean([0.5, 0.6], clusters=["a"])


def test_a_bootstrap_needs_two_clusters() -> None:
    with pytest.raises(UsageError, match="at least two"):
        bootstrap([1.0, 2.0], clusters=["a", "a"])
