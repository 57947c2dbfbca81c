"""Paired differences against scipy's tests and exact counts."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from moa.errors import UsageError
from moa.evaluate.numbers.paired import align, paired_difference, sign_flip_test

NAN = math.nan


def test_the_t_interval_of_the_difference_is_scipys() -> None:
    random = np.random.default_rng(2)
    first, second = random.random(40), random.random(40)
    known = scipy.stats.ttest_rel(first, second).confidence_interval(0.95)
    found = paired_difference(first, second)
    assert found.difference.value == pytest.approx((first - second).mean())
    assert (found.difference.low, found.difference.high) == pytest.approx((known.low, known.high))
    assert found.correlation == pytest.approx(np.corrcoef(first, second)[0, 1])


def test_missing_answers_are_counted_and_never_zero() -> None:
    found = paired_difference([1.0, NAN, 0.5, NAN, 0.25], [0.5, 0.5, NAN, NAN, 0.25])
    assert (found.pairs, found.only_first, found.only_second, found.neither) == (2, 1, 1, 1)
    assert found.difference.value == 0.25
    assert (found.first_mean, found.second_mean) == (0.625, 0.375)


def test_scores_are_aligned_by_question() -> None:
    keys, first, second = align({"a": 1.0, "b": 0.0}, {"b": 0.5, "c": 0.75})
    assert keys == ["a", "b", "c"]
    assert np.array_equal(first, [1.0, 0.0, NAN], equal_nan=True)
    assert np.array_equal(second, [NAN, 0.5, 0.75], equal_nan=True)


def test_few_questions_get_an_exact_p_value() -> None:
    # Of 2**5 sign patterns only "all plus" and "all minus" reach the sum.
    test = sign_flip_test([0.1, 0.2, 0.3, 0.4, 0.5])
    assert test.p_value == 2 / 32
    assert test.method == "exact sign-flip"


def test_the_exact_test_is_scipys_permutation_test() -> None:
    differences = np.random.default_rng(4).normal(0.4, 1, size=11)
    known = scipy.stats.permutation_test(
        (differences, np.zeros(11)),
        lambda x, y: np.mean(x - y),
        permutation_type="samples",
        n_resamples=np.inf,
    )
    assert sign_flip_test(differences).p_value == pytest.approx(known.pvalue)


def test_ties_by_rounding_count_as_equal() -> None:
    # 0.1 + 0.2 - 0.3 is not 0 in floating point, and the pattern must still count.
    assert sign_flip_test([0.1, 0.2, -0.3]).p_value == 1


def test_many_questions_get_a_seeded_p_value_near_the_t_test() -> None:
    random = np.random.default_rng(8)
    first = random.random(300)
    second = first - 0.02 + random.normal(0, 0.2, 300)
    found = paired_difference(first, second, seed=1)
    assert found.p_method == "sign-flip, 10000 draws"
    assert found.p_value == pytest.approx(scipy.stats.ttest_rel(first, second).pvalue, abs=0.015)
    assert found == paired_difference(first, second, seed=1)


def test_a_sure_difference_has_a_small_but_never_zero_p_value() -> None:
    found = paired_difference(np.ones(50), np.zeros(50))
    assert found.p_value == pytest.approx(1 / 10_001)


def test_judgments_of_one_question_are_flipped_together() -> None:
    # Ten judgments of one question and one of another are two flips, not eleven.
    differences, questions = [0.2] * 10 + [0.3], ["a"] * 10 + ["b"]
    assert sign_flip_test(differences, clusters=questions).p_value == 0.5
    found = paired_difference(differences, np.zeros(11), clusters=questions)
    assert found.difference.n == 2
    assert found.p_value == 0.5


def test_clusters_follow_their_rows_past_a_gap() -> None:
    found = paired_difference([NAN, 1.0, 1.0, 0.5], [0.0, 0.0, 0.0, 0.0], clusters=["a", "b", "b", "c"])
    assert found.difference.n == 2


@pytest.mark.parametrize("method", ["bca", "percentile"])
def test_the_bootstrap_covers_the_same_ground(method: str) -> None:
    random = np.random.default_rng(5)
    first, second = random.random(200), random.random(200)
    plain = paired_difference(first, second).difference
    drawn = paired_difference(first, second, method=method).difference  # type: ignore[arg-type]
    assert (drawn.low, drawn.high) == pytest.approx((plain.low, plain.high), abs=0.01)


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=10))
def test_the_test_does_not_care_which_is_first(differences: list[float]) -> None:
    forward = sign_flip_test(differences).p_value
    assert 0 < forward <= 1
    assert forward == sign_flip_test([-value for value in differences]).p_value


def test_equal_topologies_are_no_surprise() -> None:
    found = paired_difference([0.5, 0.2, 0.9], [0.5, 0.2, 0.9])
    assert found.p_value == 1
    assert found.difference.value == 0


def test_one_side_without_spread_has_no_correlation() -> None:
    assert math.isnan(paired_difference([1.0, 1.0, 1.0], [0.0, 0.5, 1.0]).correlation)


def test_unaligned_values_are_refused() -> None:
    with pytest.raises(UsageError, match="align them by question first"):
        paired_difference([1.0, 2.0], [1.0])


def test_a_single_shared_question_is_refused() -> None:
    with pytest.raises(UsageError, match="1 questions have both values"):
        paired_difference([1.0, NAN], [1.0, 0.5])


def test_clusters_must_match_rows() -> None:
    with pytest.raises(UsageError, match="1 clusters for 2 rows"):
        paired_difference([1.0, 0.0], [1.0, 0.5], clusters=["a"])
