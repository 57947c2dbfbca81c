"""Vendi scores within their bounds, kernels of texts, and the regression against statsmodels 0.15."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moa.errors import UsageError
from moa.evaluate.numbers.diversity import (
    mean_vendi,
    member_quality,
    ngram_kernel,
    tfidf_kernel,
    tradeoff,
    vendi_score,
)
from moa.evaluate.numbers.intervals import Floats

TEXTS = st.lists(st.text(alphabet="ab c", max_size=12), min_size=1, max_size=6)
ORDERS = [0, 0.5, 1, 2, math.inf]


@pytest.mark.parametrize("order", ORDERS)
def test_alike_is_one_and_orthogonal_is_all(order: float) -> None:
    assert vendi_score(np.ones((5, 5)), order) == pytest.approx(1)
    assert vendi_score(np.eye(5), order) == pytest.approx(5)


def test_two_half_alike_have_the_entropy_of_their_eigenvalues() -> None:
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    kernel = [[1, 0.5], [0.5, 1]]
    assert vendi_score(kernel) == pytest.approx(math.exp(entropy))
    assert vendi_score(kernel, 2) == pytest.approx(1 / (0.75**2 + 0.25**2))
    assert vendi_score(kernel, math.inf) == pytest.approx(1 / 0.75)
    assert vendi_score(kernel, 0) == 2


def test_two_pairs_of_twins_are_two() -> None:
    assert vendi_score(np.kron(np.eye(2), np.ones((3, 3)))) == pytest.approx(2)


@given(TEXTS)
def test_both_kernels_give_scores_within_bounds(texts: list[str]) -> None:
    for kernel in (ngram_kernel(texts), tfidf_kernel(texts)):
        scores = [vendi_score(kernel, order) for order in ORDERS]
        assert all(1 - 1e-9 <= score <= len(set(texts)) + 1e-6 for score in scores)
        # The larger the order, the less rare responses count.
        assert all(one >= two - 1e-6 for one, two in pairwise(scores))


@given(TEXTS)
def test_a_repeated_pool_is_as_diverse(texts: list[str]) -> None:
    assert vendi_score(ngram_kernel(texts * 2)) == pytest.approx(vendi_score(ngram_kernel(texts)), rel=1e-4)


def test_ngrams_see_order_and_short_texts_are_no_special_friends() -> None:
    kernel = ngram_kernel(["a b c d", "d c b a", "a", "", " "])
    # The same words, and no longer n-gram in common: one of four lengths.
    assert kernel[0, 1] == pytest.approx(0.25)
    assert kernel[0, 2] == pytest.approx(0.5 / math.sqrt(4))
    assert kernel[2, 3] == 0
    assert kernel[3, 4] == 1


@given(st.lists(st.text("ab ", max_size=12), min_size=1, max_size=5))
def test_the_ngram_kernel_is_the_mean_of_cosines_of_counts(texts: list[str]) -> None:
    kernel = ngram_kernel(texts)
    words = [text.split() for text in texts]
    for (i, left), (j, right) in product(enumerate(words), repeat=2):
        cosines = [cosine(grams(left, order), grams(right, order)) for order in (1, 2, 3, 4)]
        sizes = [sum(len(text) >= order for order in (1, 2, 3, 4)) for text in (left, right)]
        alike = sum(cosines) / math.sqrt(sizes[0] * sizes[1]) if all(sizes) else float(sizes[0] == sizes[1])
        assert kernel[i, j] == pytest.approx(alike, abs=1e-9)


def grams(words: list[str], order: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(words[start : start + order]) for start in range(len(words) - order + 1))


def cosine(left: Counter[tuple[str, ...]], right: Counter[tuple[str, ...]]) -> float:
    if not left or not right:
        return 0.0
    shared = sum(count * right[gram] for gram, count in left.items())
    return shared / math.hypot(*left.values()) / math.hypot(*right.values())


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        ([[1, 0.5]], "square matrix"),
        ([], "square matrix"),
        ([[1, 0.2], [0.3, 1]], "not symmetric"),
        ([[2, 0], [0, 1]], "to itself must be 1"),
        ([[1, math.nan], [math.nan, 1]], "NaN or infinite"),
        ([[1, 0.9, 0], [0.9, 1, 0.9], [0, 0.9, 1]], "positive semi-definite"),
    ],
)
def test_what_is_no_kernel_is_refused(kernel: list[list[float]], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        vendi_score(kernel)


def test_an_order_is_not_negative() -> None:
    with pytest.raises(UsageError, match="no order -1"):
        vendi_score(np.eye(2), -1)


def test_the_mean_over_questions_has_an_error() -> None:
    found = mean_vendi([np.eye(2), np.ones((2, 2)), np.eye(2)])
    assert found.value == pytest.approx(5 / 3)
    assert found.standard_error == pytest.approx(1 / 3)


def test_member_quality_is_a_power_mean() -> None:
    assert member_quality([0.2, 0.6]) == pytest.approx(0.4)
    assert member_quality([0.2, 0.6], order=2) == pytest.approx(math.sqrt(0.2))
    assert member_quality([0.2, 0.6], order=math.inf) == 0.6


def ensembles(slope: float, seed: int = 0, n: int = 12) -> tuple[Floats, Floats, Floats]:
    """Performance, quality and diversity of ensembles, where diversity is worth `slope` a unit."""
    random = np.random.default_rng(seed)
    quality, diversity = random.normal(60, 5, n), random.normal(2, 0.4, n)
    return 0.7 * quality + slope * diversity + random.normal(0, 2, n), quality, diversity


def test_the_regression_is_statsmodels() -> None:
    found = tradeoff(*ensembles(5))
    assert found.quality.value == pytest.approx(1.9889659908514585)
    assert found.diversity.value == pytest.approx(1.8519239287268903)
    assert found.intercept.value == pytest.approx(51.381150145695)
    assert found.quality.standard_error == pytest.approx(0.3468363052405032)
    assert (found.diversity.low, found.diversity.high) == pytest.approx((1.0673257, 2.63652216))
    assert found.quality_p_value == pytest.approx(0.00028171479657437663)
    assert found.diversity_p_value == pytest.approx(0.00046879725805472686)
    assert found.r_squared == pytest.approx(0.864212611303645)


def test_a_reading_says_how_much_quality_diversity_may_cost() -> None:
    assert "worth 0.93 deviations of quality" in tradeoff(*ensembles(5)).reading


def test_without_an_effect_of_diversity_the_best_model_is_sampled() -> None:
    assert "as Self-MoA does" in tradeoff(*ensembles(0)).reading


def test_diversity_alone_is_said_too() -> None:
    performance, quality, diversity = ensembles(20)
    assert "mixing helps here" in tradeoff(performance - 0.7 * quality, quality, diversity).reading


def test_marked_mixtures_are_compared_with_the_rest() -> None:
    performance, quality, diversity = ensembles(5)
    mixed = (diversity > np.median(diversity)).tolist()
    found = tradeoff(performance, quality, diversity, mixed=mixed)
    assert found.mixing_gain is not None
    assert found.mixing_gain.low > 0
    assert found.reading.startswith("Mixing helps here: the best mixture")
    other = tradeoff(performance, quality, diversity, mixed=[not mark for mark in mixed])
    assert other.mixing_gain is not None
    assert other.mixing_gain.value == pytest.approx(-found.mixing_gain.value)
    assert other.reading.startswith("Self-MoA helps here")
    assert tradeoff(performance, quality, diversity, mixed=[True] * 12).mixing_gain is None


@pytest.mark.parametrize(
    ("quality", "diversity", "message"),
    [
        ([1.0] * 6, [1, 2, 3, 4, 5, 6], "the same quality"),
        ([1, 2, 3, 4, 5, 6], [2.0] * 6, "the same diversity"),
        ([1, 2, 3, 4, 5, 6], [2, 4, 6, 8, 10, 12], "move as one"),
        ([1, 2, 3], [1, 2, 4], "one performance, quality and diversity"),
    ],
)
def test_what_cannot_be_told_apart_is_refused(
    quality: list[float], diversity: list[float], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        tradeoff([1.0, 2.0, 1.5, 3.0, 2.5, 4.0], quality, diversity)


def test_few_ensembles_are_refused() -> None:
    with pytest.raises(UsageError, match="4 ensembles are too few"):
        tradeoff([1, 2, 3, 4], [1, 3, 2, 4], [2, 1, 4, 3])
