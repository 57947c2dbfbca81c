"""What a judge is drawn to, and kappa and alpha against statsmodels 0.15 and krippendorff 0.9."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from moa.errors import UsageError
from moa.evaluate.numbers.agreement import (
    agreement,
    cohens_kappa,
    krippendorff_alpha,
    length_bias,
    position_bias,
    self_preference,
    swap_consistency,
)

NAN = math.nan
TABLE = [[44, 5, 1], [7, 20, 3], [9, 5, 6]]
RATERS = np.array(
    [
        [NAN, NAN, NAN, NAN, NAN, 3, 4, 1, 2, 1, 1, 3, 3, NAN, 3],
        [1, NAN, 2, 1, 3, 3, 4, 3, NAN, NAN, NAN, NAN, NAN, NAN, NAN],
        [NAN, NAN, 2, 1, 3, 4, 4, NAN, 2, 1, 1, 3, 3, NAN, 4],
    ]
)


def test_a_judge_of_the_first_has_half_of_bias() -> None:
    assert position_bias([1.0, 1.0, 1.0]).value == 0.5
    assert position_bias([0.0, 0.0, 0.0]).value == -0.5


def test_both_orders_of_a_pair_are_one() -> None:
    # A judge without bias says 0.9 for the better answer wherever it stands.
    found = position_bias([0.9, 0.1, 0.7, 0.3], pairs=["p", "p", "q", "q"])
    assert found.value == pytest.approx(0, abs=1e-12)
    assert found.n == 2
    biased = position_bias([0.9, 0.3, 0.8, 0.5], pairs=["p", "p", "q", "q"])
    assert biased.value == pytest.approx(0.125)


def test_swap_consistency_counts_where_the_judge_turns() -> None:
    found = swap_consistency([0.9, 0.1, 0.8, 0.3, 0.5, 0.5, NAN], [0.7, 0.2, 0.4, 0.6, 0.5, 0.9, 0.9])
    assert found.consistent == 3
    assert (found.toward_first, found.toward_second, found.half_tied, found.incomplete) == (1, 1, 1, 1)
    assert found.rate.value == 0.5
    assert found.mean_shift == pytest.approx((0.2 - 0.1 + 0.4 - 0.3 + 0 - 0.4) / 6)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=20))
def test_every_pair_is_counted_once(pairs: list[tuple[float, float]]) -> None:
    found = swap_consistency([a for a, _ in pairs], [b for _, b in pairs])
    assert found.consistent + found.toward_first + found.toward_second + found.half_tied == len(pairs)


def test_swap_consistency_needs_both_orders() -> None:
    with pytest.raises(UsageError, match="no pair has a verdict in both orders"):
        swap_consistency([0.5, NAN], [NAN, 0.5])
    with pytest.raises(UsageError, match="align them by pair"):
        swap_consistency([0.5], [0.5, 0.5])


def test_a_fan_of_length_is_found_out() -> None:
    random = np.random.default_rng(0)
    longer = random.normal(0, 300, 400).round()
    wins = (random.random(400) < 1 / (1 + np.exp(-longer / 300))).astype(float)
    found = length_bias(wins, longer)
    known = scipy.stats.pointbiserialr(wins, longer)
    interval = scipy.stats.pearsonr(wins, longer).confidence_interval(0.95)
    assert found.correlation.value == pytest.approx(known.statistic)
    assert (found.correlation.low, found.correlation.high) == pytest.approx((interval.low, interval.high))
    assert found.log_odds.contains(1)
    assert found.log_odds.low > 0.5
    assert found.longer_preferred.low > 0.6


def test_a_judge_who_does_not_look_at_length_shows_none() -> None:
    random = np.random.default_rng(1)
    longer = random.normal(0, 300, 400).round()
    found = length_bias(random.random(400), longer, questions=np.arange(400) // 2)
    assert found.log_odds.contains(0)
    assert found.correlation.contains(0)
    assert found.log_odds.n == 200


def test_shorter_may_be_preferred_and_equal_lengths_are_left_out() -> None:
    found = length_bias([1.0, 0.0, 1.0, 0.5, 1.0], [-10, 20, -30, 0, 0])
    assert found.longer_preferred.value == 0
    assert found.equal_lengths == 2
    assert found.log_odds.value < 0


@pytest.mark.parametrize(
    ("wins", "longer", "message"),
    [
        ([0.5, 1, 0, 1], [3, 3, 3, 3], "never differ"),
        ([1, 1, 1, 1], [3, 2, 1, 3], "never differ"),
        ([1, 0, 1], [3, 2, 1], "4 pairs or more"),
        ([1, 0, 1, 0], [3, 2, 1], "one a pair"),
    ],
)
def test_length_bias_needs_something_to_see(wins: list[float], longer: list[float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        length_bias(wins, longer)


def test_a_family_that_is_better_is_no_bias() -> None:
    random = np.random.default_rng(2)
    own = np.arange(400) % 2 == 0
    people = np.where(own, 0.7, 0.5) + random.normal(0, 0.1, 400)
    fair = self_preference(people + random.normal(0, 0.05, 400), own.tolist(), reference=people)
    assert fair.difference.value == pytest.approx(0.2, abs=0.03)
    assert fair.adjusted is not None
    assert fair.adjusted.value == pytest.approx(0, abs=0.02)
    vain = self_preference(people + 0.1 * own, own.tolist(), reference=people)
    assert vain.adjusted is not None
    assert vain.adjusted.value == pytest.approx(0.1)


def test_the_difference_of_families_is_welchs_but_for_a_factor() -> None:
    random = np.random.default_rng(3)
    ours, others = random.random(30), random.random(50)
    found = self_preference(np.concatenate([ours, others]), [True] * 30 + [False] * 50)
    error = math.sqrt((ours.var() / 30 + others.var() / 50) * 80 / 79)
    assert found.difference.value == pytest.approx(ours.mean() - others.mean())
    assert found.difference.standard_error == pytest.approx(error)
    assert found.own.value == pytest.approx(ours.mean())
    assert found.adjusted is None


def test_families_that_share_questions_are_compared_within_them() -> None:
    hard = np.random.default_rng(4).random(50)
    found = self_preference(
        np.concatenate([hard + 0.1, hard]), [True] * 50 + [False] * 50, questions=list(range(50)) * 2
    )
    assert found.difference.value == pytest.approx(0.1)
    assert found.difference.standard_error == pytest.approx(0, abs=1e-12)


def test_self_preference_needs_both_kinds() -> None:
    with pytest.raises(UsageError, match="own family and of others"):
        self_preference([0.5, 0.6], [True, True])
    with pytest.raises(UsageError, match="1 families"):
        self_preference([0.5, 0.6], [True])
    with pytest.raises(UsageError, match="1 reference labels"):
        self_preference([0.5, 0.6], [True, False], reference=[0.5])


@pytest.mark.parametrize(
    ("weights", "kappa", "error"),
    [
        # cohens_kappa(table, wt=None | "linear" | "fc")
        ("none", 0.49152542372881347, 0.07212745929334068),
        ("linear", 0.4736842105263158, 0.07697890987030612),
        ("quadratic", 0.4545454545454546, 0.09397969777572601),
    ],
)
def test_kappa_is_statsmodels(weights: str, kappa: float, error: float) -> None:
    found = cohens_kappa(TABLE, weights=weights)  # type: ignore[arg-type]
    assert found.value == pytest.approx(kappa)
    assert found.standard_error == pytest.approx(error)
    assert found.n == 100


def test_agreement_leaves_out_what_is_missing_and_says_so() -> None:
    found = agreement(["A", "B", "A", None, "B", "tie"], ["A", "A", "A", "B", None, "tie"])
    assert found.rate.value == 0.75
    assert found.missing == 2
    assert found.confusion == {("A", "A"): 2, ("B", "A"): 1, ("tie", "tie"): 1}
    # 3/4 seen; by chance A 2/4 * 3/4 and tie 1/4 * 1/4.
    assert found.kappa.value == pytest.approx((0.75 - 7 / 16) / (1 - 7 / 16))


def test_a_near_miss_counts_in_part() -> None:
    order = ["bad", "fair", "good"]
    judge, people = ["bad", "fair", "good", "good"], ["bad", "good", "good", "fair"]
    plain = agreement(judge, people, order=order).kappa.value
    assert agreement(judge, people, order=order, weights="quadratic").kappa.value > plain


def test_one_label_for_everything_is_no_agreement_to_speak_of() -> None:
    found = agreement(["A", "A"], ["A", "A"])
    assert found.rate.value == 1
    assert math.isnan(found.kappa.value)


def test_agreement_needs_labels() -> None:
    with pytest.raises(UsageError, match="no row has both"):
        agreement(["A", None], [None, "A"])
    with pytest.raises(UsageError, match="1 labels of the judge and 2 of people"):
        agreement(["A"], ["A", "B"])
    with pytest.raises(UsageError, match="needs `order`"):
        agreement(["A"], ["A"], weights="linear")
    with pytest.raises(UsageError, match="label 'C' is not in the order"):
        agreement(["A", "C"], ["A", "B"], order=["A", "B"])


@pytest.mark.parametrize(
    ("metric", "alpha"),
    [("nominal", 0.691358024691358), ("interval", 0.8108448928121059), ("ordinal", 0.8067214199413153)],
)
def test_alpha_is_krippendorffs(metric: str, alpha: float) -> None:
    found = krippendorff_alpha(RATERS, metric=metric, replicates=200)  # type: ignore[arg-type]
    assert found.value == pytest.approx(alpha)
    assert found.low < alpha <= found.high <= 1
    assert found.n == 12
    assert found == krippendorff_alpha(RATERS, metric=metric, replicates=200)  # type: ignore[arg-type]


def test_raters_who_guess_have_no_alpha() -> None:
    guesses = np.random.default_rng(5).integers(2, size=(3, 200)).astype(float)
    assert krippendorff_alpha(guesses, replicates=200).contains(0)


def test_raters_who_all_say_one_thing_have_none_either() -> None:
    assert math.isnan(krippendorff_alpha(np.ones((2, 5)), replicates=10).value)


def test_alpha_needs_units_that_were_rated_twice() -> None:
    with pytest.raises(UsageError, match="1 units have two ratings"):
        krippendorff_alpha(np.array([[1, 2], [1, NAN]]))
    with pytest.raises(UsageError, match="raters x units"):
        krippendorff_alpha([1, 2])
