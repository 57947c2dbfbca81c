"""The mixture of two Weibull distributions, on draws of which the truth is known."""

from __future__ import annotations

import math
from random import Random

import pytest

from moa.nodes.weibull import FEWEST, Mixture, Weibull, fit, kept

LOW, HIGH = (0.5, -60.0), (1.5, -45.0)


def drawn(random: Random, shape: float, place: float) -> float:
    """The logarithm of a draw from Weibull's distribution, by its inverse."""
    return place + math.log(-math.log(1 - random.random())) / shape


def sample(seed: int, low: int, high: int, apart: float = 20.0) -> list[float]:
    """So many draws from a low and then from a high component, whose scales are e^apart apart."""
    random = Random(seed)
    return [drawn(random, 1.0, -40.0 - apart) for _ in range(low)] + [
        drawn(random, 1.0, -40.0) for _ in range(high)
    ]


def likelihood(mixture: Mixture, values: list[float]) -> float:
    return sum(
        math.log(math.exp(mixture.low.log_density(y)) + math.exp(mixture.high.log_density(y))) for y in values
    )


def test_the_parameters_of_many_draws_are_found_again() -> None:
    random = Random(1)
    values = [drawn(random, *LOW) for _ in range(400)] + [drawn(random, *HIGH) for _ in range(600)]
    found = fit(values)
    assert found is not None
    assert (found.low.weight, found.low.shape, found.low.place) == pytest.approx((0.4, *LOW), rel=0.08)
    assert (found.high.weight, found.high.shape, found.high.place) == pytest.approx((0.6, *HIGH), rel=0.08)
    truth = Mixture(Weibull(0.4, *LOW), Weibull(0.6, *HIGH))
    assert likelihood(found, values) >= likelihood(truth, values), "of greatest likelihood"


@pytest.mark.parametrize("each", [4, 9, 30])
def test_each_text_is_told_from_those_of_the_other_component(each: int) -> None:
    for seed in range(5):
        assert kept(sample(seed, each, each)) == [False] * each + [True] * each


def test_more_texts_stay_than_the_mean_alone_would_keep() -> None:
    """The paper's point: among probable texts one is always far above the others, and with it their mean."""
    logprobs = sample(3, 20, 20)
    most = max(logprobs)
    probabilities = [math.exp(logprob - most) for logprob in logprobs]
    above = sum(one >= sum(probabilities) / 40 for one in probabilities)
    assert above < sum(kept(logprobs)) == 20


def test_components_that_overlap_are_mostly_told_apart() -> None:
    right = whole = 0
    for seed in range(10):
        found = kept(sample(seed, 20, 20, apart=5.0))
        right += found[:20].count(False) + found[20:].count(True)
        whole += 40
    assert right / whole > 0.9


@pytest.mark.parametrize("scale", [0.0, -900.0, -50_000.0])
def test_texts_of_any_length_are_judged_alike(scale: float) -> None:
    logprobs = sample(5, 6, 6)
    assert kept([scale + logprob for logprob in logprobs]) == kept(logprobs)


def test_the_order_of_the_texts_does_not_matter() -> None:
    logprobs = sample(2, 7, 5)
    mixed = list(enumerate(logprobs))
    Random(0).shuffle(mixed)
    stays = kept([logprob for _, logprob in mixed])
    back = dict(zip((index for index, _ in mixed), stays, strict=True))
    assert [back[index] for index in range(12)] == kept(logprobs)


@pytest.mark.parametrize(
    "logprobs",
    [
        [math.log(p) for p in (0.5, 0.3, 0.3)],
        [-7.0] * FEWEST,
        [-1e6, *([-3.0] * FEWEST)],
    ],
    ids=["few", "equal", "one alone"],
)
def test_where_no_two_distributions_can_be_told_apart_the_mean_decides(logprobs: list[float]) -> None:
    assert fit(logprobs) is None
    mean = sum(math.exp(logprob) for logprob in logprobs) / len(logprobs)
    assert kept(logprobs) == [math.exp(logprob) >= mean - 1e-12 for logprob in logprobs]


def test_what_is_above_the_mean_stays_and_somebody_always_does() -> None:
    random = Random(4)
    for _ in range(200):
        logprobs = [random.uniform(-80, 0) for _ in range(random.randint(1, 15))]
        stays, most = kept(logprobs), max(logprobs)
        mean = sum(math.exp(logprob - most) for logprob in logprobs) / len(logprobs)
        assert stays[logprobs.index(most)]
        assert all(stay for stay, y in zip(stays, logprobs, strict=True) if math.exp(y - most) > mean)
