"""Power, the smallest effect and the questions it takes, against statsmodels 0.15 and G*Power."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moa.errors import UsageError
from moa.evaluate.numbers.intervals import mean
from moa.evaluate.numbers.paired import paired_difference
from moa.evaluate.numbers.power import (
    minimum_detectable_effect,
    power_of,
    questions_needed,
    resolution,
)


def test_power_is_statsmodels() -> None:
    # TTestPower().power(0.2, 100, 0.05)
    assert power_of(0.2, 1, 100) == pytest.approx(0.508264806621038)


def test_half_a_deviation_needs_34_questions() -> None:
    # TTestPower().solve_power(effect_size=.5, alpha=.05, power=.8) is 33.37; G*Power says 34.
    assert questions_needed(0.5, 1) == 34
    assert questions_needed(-5, 10) == 34


@pytest.mark.parametrize(("n", "effect"), [(805, 0.09886092469578045), (10, 0.9960019107624178)])
def test_the_smallest_effect_is_statsmodels(n: int, effect: float) -> None:
    assert minimum_detectable_effect(3, n) == pytest.approx(3 * effect, rel=1e-6)


def test_large_runs_take_the_normal_without_a_jump() -> None:
    assert minimum_detectable_effect(1, 5_000) == pytest.approx(minimum_detectable_effect(1, 4_999), rel=1e-3)


@given(st.floats(0.05, 2), st.floats(0.1, 5))
def test_no_fewer_questions_would_do(difference: float, deviation: float) -> None:
    needed = questions_needed(difference, deviation)
    assert needed is not None
    assert power_of(difference, deviation, needed) >= 0.8
    assert needed == 2 or power_of(difference, deviation, needed - 1) < 0.8


@pytest.mark.parametrize("n", [2, 5, 8, 13, 1000])
def test_power_grows_with_the_difference_and_never_breaks(n: int) -> None:
    powers = [power_of(difference, 1, n) for difference in [*np.linspace(0, 30, 200), 1e3, 1e8]]
    assert powers[0] == pytest.approx(0.05)
    assert np.diff(powers).min() >= -1e-9
    assert powers[-1] == pytest.approx(1)


def test_no_number_of_questions_resolves_nothing() -> None:
    assert questions_needed(0, 1) is None


def test_a_comparison_says_how_many_more_questions_it_takes() -> None:
    random = np.random.default_rng(0)
    first = random.random(100)
    second = first - 0.03 + random.normal(0, 0.3, 100)
    estimate = paired_difference(first, second).difference
    found = resolution(estimate, difference=0.03)
    assert found.standard_deviation == pytest.approx((first - second).std(ddof=1))
    assert found.needed == questions_needed(0.03, found.standard_deviation)
    assert found.more == (found.needed or 0) - 100
    assert power_of(found.minimum_detectable_effect, found.standard_deviation, 100) == pytest.approx(0.8)


def test_a_settled_comparison_needs_none() -> None:
    found = resolution(mean([0.5, 0.6, 0.7, 0.55, 0.45, 0.6, 0.5, 0.7]))
    assert found.more == 0
    assert found.achieved_power > 0.99


def test_equal_questions_have_all_the_power() -> None:
    assert power_of(0.1, 0, 5) == 1
    assert power_of(0, 0, 5) == 0.05
    assert minimum_detectable_effect(0, 5) == 0
    assert resolution(mean([0.25, 0.25, 0.25])).minimum_detectable_effect == 0


@pytest.mark.parametrize(("deviation", "n"), [(math.nan, 10), (-1, 10), (1, 1)])
def test_too_little_to_plan_with_is_refused(deviation: float, n: int) -> None:
    with pytest.raises(UsageError, match="two or more"):
        minimum_detectable_effect(deviation, n)
