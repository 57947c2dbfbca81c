"""Bradley-Terry and Elo against closed forms, scikit-learn and simulated strengths."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from moa.errors import UsageError
from moa.evaluate.numbers.ratings import Battles, battles, bradley_terry, elo

STRENGTHS = np.array([1.0, 0.3, -0.3, -1.0])


def simulated(questions: int, seed: int = 0) -> Battles:
    """Three battles a question between models a..d of known strengths."""
    random = np.random.default_rng(seed)
    pairs = [random.choice(4, 2, replace=False) for _ in range(3 * questions)]
    scores = [float(random.random() < 1 / (1 + math.exp(STRENGTHS[j] - STRENGTHS[i]))) for i, j in pairs]
    asked = np.repeat(np.arange(questions), 3)
    return battles(["abcd"[i] for i, _ in pairs], ["abcd"[j] for _, j in pairs], scores, questions=asked)


def test_two_models_have_the_logit_of_their_win_rate() -> None:
    found = bradley_terry(battles(["a"] * 4, ["b"] * 4, [1, 1, 1, 0]))
    assert [strength.value for strength in found.strengths] == pytest.approx(
        [math.log(3) / 2, -math.log(3) / 2]
    )
    assert found.win_probability("a", "b").value == pytest.approx(0.75)
    assert found.win_probability("b", "a").value == pytest.approx(0.25)
    # The delta method gives back the error of a mean of four, with n - 1.
    assert found.win_probability("a", "b").standard_error == pytest.approx(0.25)


def test_a_tie_is_half_a_win_each() -> None:
    tied = bradley_terry(battles(["a", "a", "a"], ["b", "b", "b"], [1, 0.5, 0.5]))
    halves = bradley_terry(battles(["a"] * 6, ["b"] * 6, [1, 1, 1, 0, 1, 0]))
    assert tied.strengths[0].value == pytest.approx(halves.strengths[0].value)


def test_many_models_agree_with_scikit_learn() -> None:
    given = simulated(200)
    features = np.zeros((len(given), 4))
    features[np.arange(len(given)), given.first] = 1
    features[np.arange(len(given)), given.second] = -1
    known = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10).fit(features, given.scores).coef_[0]
    found = [strength.value for strength in bradley_terry(given).strengths]
    assert found == pytest.approx(known - known.mean(), abs=1e-5)


@pytest.mark.parametrize("interval", ["sandwich", "bootstrap"])
def test_intervals_hold_the_true_strengths(interval: str) -> None:
    found = bradley_terry(simulated(300), interval=interval, replicates=100, level=0.99)  # type: ignore[arg-type]
    for strength, truth in zip(found.strengths, STRENGTHS, strict=True):
        assert strength.contains(truth)
        assert strength.standard_error == pytest.approx(0.09, abs=0.03)
        assert (strength.n, strength.method) == (300, interval)


def test_repeated_judgments_of_a_question_add_no_certainty() -> None:
    once = battles(["a"] * 4, ["b"] * 4, [1, 1, 1, 0])
    thrice = battles(["a"] * 12, ["b"] * 12, [1, 1, 1, 0] * 3, questions=list(range(4)) * 3)
    first, second = bradley_terry(once).strengths[0], bradley_terry(thrice).strengths[0]
    assert first.standard_error == pytest.approx(second.standard_error)


def test_an_anchor_is_zero_without_error() -> None:
    found = bradley_terry(simulated(100), anchor="d")
    assert found.strengths[3].value == 0
    assert found.strengths[3].standard_error == pytest.approx(0, abs=1e-9)
    assert found.elo()[3].value == 1000
    with pytest.raises(UsageError, match="the anchor x is none of a, b, c, d"):
        bradley_terry(simulated(100), anchor="x")


def test_400_elo_points_are_odds_of_ten_to_one() -> None:
    found = bradley_terry(battles(["a"] * 11, ["b"] * 11, [1] * 10 + [0])).elo()
    assert found[0].value - found[1].value == pytest.approx(400)


def test_a_model_that_lost_everything_is_named_and_ridge_is_the_remedy() -> None:
    lopsided = battles(["a", "b", "a"], ["b", "a", "c"], [1, 1, 1])
    with pytest.raises(UsageError, match=r"c never scored against a, .* set ridge=0\.1"):
        bradley_terry(lopsided)
    found = bradley_terry(lopsided, ridge=0.1)
    assert found.strengths[2].value < found.strengths[1].value < found.strengths[0].value


def test_groups_that_never_met_are_refused() -> None:
    apart = battles(["a", "b", "c", "d"], ["b", "a", "d", "c"], [1, 1, 1, 1])
    with pytest.raises(UsageError, match="never scored against"):
        bradley_terry(apart)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0.05, 0.95), min_size=3, max_size=3), st.floats(0.1, 10))
def test_neither_sides_nor_weights_in_common_matter(scores: list[float], weight: float) -> None:
    plain = bradley_terry(battles(["a", "b", "c"], ["b", "c", "a"], scores))
    other = bradley_terry(
        battles(["b", "c", "a"], ["a", "b", "c"], [1 - score for score in scores], weights=[weight] * 3)
    )
    for one, two in zip(plain.strengths, other.strengths, strict=True):
        assert one.value == pytest.approx(two.value, abs=1e-6)


def test_elo_moves_by_k_times_the_surprise() -> None:
    winner, loser = elo(battles(["a"], ["b"], [1]), k=32, orders=3)
    assert (winner.value, loser.value) == (1016, 984)


def test_elo_orders_models_and_repeats_with_its_seed() -> None:
    found = elo(simulated(200), k=16, orders=40, seed=3)
    assert [rating.value for rating in found] == sorted((rating.value for rating in found), reverse=True)
    assert sum(rating.value for rating in found) == pytest.approx(4000)
    assert found == elo(simulated(200), k=16, orders=40, seed=3)
    assert all(rating.low < rating.value < rating.high for rating in found)


@pytest.mark.parametrize(
    ("first", "second", "scores", "message"),
    [
        (["a", "b"], ["b", "b"], [1, 0], "row 1: b cannot be compared with itself"),
        (["a"], ["b"], [2], r"scores\[0\] is 2.0"),
        (["a"], ["b"], [math.nan], r"scores\[0\] is nan"),
        (["a"], ["b", "c"], [1], "one entry a row"),
        ([], [], [], "no scores"),
    ],
)
def test_broken_battles_are_refused(
    first: list[str], second: list[str], scores: list[float], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        battles(first, second, scores)
