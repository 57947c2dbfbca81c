"""Peeking after every question: errors stay below alpha, and strong effects stop early."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moa.errors import UsageError
from moa.evaluate.numbers.anytime import bets, confidence_sequence, e_values, stopping
from moa.evaluate.numbers.intervals import Floats

RUNS = 500


def null_symmetric(random: np.random.Generator) -> Floats:
    return np.clip(random.normal(0, 0.4, 300), -1, 1)


def null_skewed(random: np.random.Generator) -> Floats:
    return random.choice([-1.0, 0.1], p=[1 / 11, 10 / 11], size=300)


@pytest.mark.parametrize("draw", [null_symmetric, null_skewed])
def test_looking_after_every_question_keeps_the_false_alarms_below_alpha(draw: object) -> None:
    assert callable(draw)
    random = np.random.default_rng(11)
    alarms = sum(e_values(draw(random)).max() >= 20 for _ in range(RUNS))
    # 5% allowed; three Monte-Carlo errors above it is 7.9%. A t-test after every question exceeds 30%.
    assert alarms / RUNS < 0.05


def test_the_sequence_holds_the_mean_at_all_times() -> None:
    random = np.random.default_rng(12)
    missed = 0
    for _ in range(60):
        values = (random.random(200) < 0.1).astype(float)
        found = confidence_sequence(values, lower=0, upper=1, null=0.5, grid=200)
        missed += bool((found.low > 0.1).any() or (found.high < 0.1).any())
    assert missed <= 3


def test_capital_is_a_bet_by_hand() -> None:
    # One value of 1 on [0, 1] against 1/2: both bets are cut at half of what can be lost, so 1 +- 1 * 1/2.
    assert bets(np.array([1.0]), 0.05)[0] > 1
    found = e_values([1.0], lower=0, upper=1, null=0.5)
    assert found[0] == pytest.approx((1.5 + 0.5) / 2)
    # Of two equal values the second is bet on with the same stake: (1.5**2 + 0.5**2) / 2.
    assert e_values([1.0, 1.0], lower=0, upper=1, null=0.5)[1] == pytest.approx(1.25)


def test_bets_look_only_back() -> None:
    values = np.random.default_rng(1).random(50)
    changed = values.copy()
    changed[30] = 1 - changed[30]
    assert np.array_equal(bets(values, 0.05)[:31], bets(changed, 0.05)[:31])
    assert bets(values, 0.05)[31] != bets(changed, 0.05)[31]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=1, max_size=60))
def test_intervals_only_shrink_and_never_vanish(values: list[float]) -> None:
    found = confidence_sequence(values, grid=100)
    assert (np.diff(found.low) >= 0).all()
    assert (np.diff(found.high) <= 0).all()
    assert (found.low < found.high).all()
    assert 0 < found.p_value <= 1


def test_chunks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(3).uniform(-1, 1, 100)
    whole = confidence_sequence(values, grid=100)
    monkeypatch.setattr("moa.evaluate.numbers.anytime._CHUNK", 7)
    parts = confidence_sequence(values, grid=100)
    assert np.array_equal(whole.low, parts.low)
    assert np.array_equal(whole.high, parts.high)


def test_values_that_contradict_themselves_leave_an_interval() -> None:
    found = confidence_sequence([1.0] * 200 + [0.0] * 400, lower=0, upper=1, null=0.5, grid=100)
    assert (found.low < found.high).all()


def test_a_strong_difference_stops_early() -> None:
    values = np.random.default_rng(2).uniform(0, 0.8, 500)
    found = confidence_sequence(values)
    stop = stopping(found)
    assert stop.reason == "different"
    assert stop.at is not None
    assert stop.at < 100
    assert found.e_values[stop.at - 1] >= 20 > found.e_values[: stop.at - 1].max()
    assert found.estimate.low > 0
    assert found.p_value < 1e-6


def test_a_known_width_stops_too() -> None:
    values = np.random.default_rng(2).uniform(-0.1, 0.1, 500)
    stop = stopping(confidence_sequence(values), half_width=0.05)
    assert stop.reason == "precise"
    assert stop.at is not None


def test_nothing_to_say_goes_on() -> None:
    found = confidence_sequence(np.random.default_rng(2).uniform(-1, 1, 20))
    assert stopping(found) == (None, "undecided")


def test_the_null_need_not_be_zero() -> None:
    values = np.full(200, 0.3)
    assert confidence_sequence(values, null=0.3).p_value == 1
    assert confidence_sequence(values, null=0.0).p_value < 0.001


def test_a_value_out_of_bounds_is_refused() -> None:
    with pytest.raises(UsageError, match=r"differences\[1\] is 1.5: must be from -1 to 1"):
        confidence_sequence([0.0, 1.5])


def test_a_null_at_the_edge_is_refused() -> None:
    with pytest.raises(UsageError, match="must lie between -1 and 1"):
        confidence_sequence([0.0, 0.5], null=1.0)


def test_one_value_has_no_standard_error() -> None:
    assert math.isnan(confidence_sequence([0.5]).estimate.standard_error)
