"""Adjusted p-values against scipy and worked examples."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from moa.errors import UsageError
from moa.evaluate.numbers.multiplicity import benjamini_hochberg, holm

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=20)


def test_holm_steps_down() -> None:
    # 4 x .005, 3 x .01, 2 x .03, and then never less than the one before.
    adjusted = holm([0.01, 0.04, 0.03, 0.005])
    assert adjusted.p_values == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert adjusted.rejected == (True, False, False, True)


def test_benjamini_hochberg_steps_up() -> None:
    adjusted = benjamini_hochberg([0.01, 0.04, 0.03, 0.005])
    assert adjusted.p_values == pytest.approx((0.02, 0.04, 0.04, 0.02))
    assert all(adjusted.rejected)


@given(P_VALUES)
def test_benjamini_hochberg_is_scipys(p_values: list[float]) -> None:
    known = scipy.stats.false_discovery_control(p_values)
    assert np.allclose(benjamini_hochberg(p_values).p_values, known)


@given(P_VALUES)
def test_holm_lies_between_the_raw_p_value_and_bonferroni(p_values: list[float]) -> None:
    for raw, adjusted in zip(p_values, holm(p_values).p_values, strict=True):
        assert raw <= adjusted <= min(1.0, raw * len(p_values))


@given(P_VALUES)
def test_the_order_of_hypotheses_does_not_matter(p_values: list[float]) -> None:
    assert holm(p_values[::-1]).p_values == holm(p_values).p_values[::-1]


def test_an_impossible_p_value_is_refused() -> None:
    with pytest.raises(UsageError, match=r"p-values\[1\] is 1.2"):
        holm([0.5, 1.2])
