"""Numbers in words: units, signs, unknowns."""

from __future__ import annotations

import math

import pytest

from moa.evaluate.numbers.intervals import Estimate
from moa.evaluate.report.words import Unit, chance, count, dollars, listed, points, seconds, unit_of

RATE = unit_of("win-rate", "win rate", "%")


def test_a_share_is_in_percent_about_the_baseline() -> None:
    assert (RATE.title, RATE.heading, RATE.floor, RATE.middle) == ("Win rate", "Win rate (%)", 0.0, 50.0)
    assert RATE.long(Estimate(57.26, 1, 55.2, 59.3, 9, "t")) == "57.3% (95% CI 55.2 to 59.3)"


def test_a_reward_is_about_zero_and_a_score_about_nothing() -> None:
    assert unit_of("wb-reward", "WB-Reward", "%").middle == 0.0
    assert unit_of("wb-reward", "WB-Reward", "%").floor is None
    assert unit_of("mean-score", "score", "").middle is None
    assert unit_of("mean-score", "score", "").write(7.123) == "7.12"
    assert unit_of("elo", "Elo", "").write(1049.6) == "1050"


def test_differences_of_percent_are_points_with_a_sign() -> None:
    assert points(RATE).write(-2.34, signed=True) == "−2.3 points"
    assert points(RATE).write(2.0, signed=True) == "+2.0 points"


@pytest.mark.parametrize("value", [0.0, -0.0, 0.01, -0.01])
def test_a_zero_has_no_sign(value: float) -> None:
    assert points(RATE).bare(value, signed=True) == "0.0"


def test_what_is_not_known_is_said() -> None:
    nan = math.nan
    assert Unit("x", "%").write(nan) == "n/a"
    assert Unit("x").interval(Estimate(1.0, nan, nan, nan, 1, "t")) == "n/a"
    assert (dollars(None), dollars(nan), seconds(None), chance(nan)) == ("n/a",) * 4


@pytest.mark.parametrize(
    ("value", "written"),
    [(0.0, "$0"), (12.345, "$12.35"), (0.4, "$0.40"), (0.0123, "$0.012"), (0.000045, "$0.000045")],
)
def test_a_small_price_is_not_shown_as_none(value: float, written: str) -> None:
    assert dollars(value) == written


def test_times_chances_and_counts() -> None:
    assert [seconds(value) for value in (0.0, 0.456, 3.14159, 75.4)] == ["0 s", "0.46 s", "3.1 s", "75 s"]
    assert [chance(p) for p in (0.0001, 0.0432, 0.5)] == ["< 0.001", "0.043", "0.50"]
    assert [count(n, "pair") for n in (0, 1, 1200)] == ["0 pairs", "1 pair", "1,200 pairs"]
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert listed(list("abcdefgh")) == "a, b, c, d, e and 3 more"
