"""Axes: every value within, round marks, and logarithms only where they help."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moa.evaluate.report.scale import LOG_FROM, linear, log_ticks, nice_step, positive

VALUES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20)
AMOUNTS = st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=20)


@given(VALUES)
def test_a_linear_axis_holds_its_values_in_their_order(values: list[float]) -> None:
    scale = linear(values, 50, 400)
    places = [scale(value) for value in sorted(values)]
    assert places == sorted(places)
    assert all(50 <= place <= 400 for place in places)
    room = 1e-6 * (scale.high - scale.low)
    assert all(scale.low - room <= tick <= scale.high + room for tick in scale.ticks())


@given(AMOUNTS)
def test_an_axis_of_amounts_is_logarithmic_only_over_orders_of_magnitude(amounts: list[float]) -> None:
    scale = positive(amounts, 0, 100)
    assert scale.log == (max(amounts) / min(amounts) >= LOG_FROM)
    assert all(0 <= scale(amount) <= 100 for amount in amounts)
    ticks = scale.ticks(6)
    assert ticks == sorted(ticks)
    assert len(ticks) <= 8


def test_an_amount_of_zero_keeps_the_axis_linear() -> None:
    scale = positive([0.0, 1000.0], 0, 10)
    assert not scale.log
    assert scale(0.0) == 0


def test_nothing_to_show_is_still_an_axis() -> None:
    assert linear([], 0, 10).low < linear([math.nan], 0, 10).high
    assert positive([], 0, 10).high > 0


def test_a_floor_is_not_passed_for_the_sake_of_room() -> None:
    assert linear([1.0, 99.0], 0, 10, floor=0.0, roof=100.0).low == 0.0
    assert linear([1.0, 99.0], 0, 10, floor=0.0, roof=100.0).high == 100.0


@pytest.mark.parametrize(("rough", "step"), [(0.7, 1), (1.1, 2), (2.2, 2.5), (3, 5), (7, 10), (0.03, 0.05)])
def test_steps_are_round(rough: float, step: float) -> None:
    assert nice_step(rough) == pytest.approx(step)


def test_log_ticks_are_few_and_round() -> None:
    assert log_ticks(0.001, 0.1, 8) == pytest.approx([0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1])
    assert log_ticks(1e-6, 1e6, 6)[0] == pytest.approx(1e-6)
    assert len(log_ticks(1e-6, 1e6, 6)) <= 7
