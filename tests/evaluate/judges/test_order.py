"""Who is shown first, and AlpacaEval's own formulas."""

from __future__ import annotations

import math
from random import Random

import pytest

from moa.evaluate.judges.alpaca import unswitched, weighted_preference
from moa.evaluate.judges.order import mirrored, seeded_swap, swaps
from moa.spec.evaluation import JudgeSpec
from tests.support.court import answer, baseline, court, for_text, item, says


@pytest.mark.parametrize(
    ("instruction", "swapped"),
    [
        ("What are the names of some famous actors that started their careers on Broadway?", True),
        ("How did US states get their names?", True),
        ("", False),
        ("Warum?", False),
    ],
)
def test_the_seeded_order_is_alpaca_evals(instruction: str, swapped: bool) -> None:
    key = "is_switched_outputs" + instruction + "0"
    assert Random(key).choices([False, True], k=1)[0] is seeded_swap(instruction)
    assert seeded_swap(instruction) is swapped


def test_orders() -> None:
    assert swaps("both", "x") == (False, True)
    assert swaps("fixed", "x") == (False,)
    assert swaps("seeded", "x") == (seeded_swap("x"),)


@pytest.mark.parametrize(
    ("logprobs", "preference"),
    [
        ({"m": -0.5, "M": -1.5}, 2 - 1 / (1 + math.exp(-1))),
        ({"m": -0.5, "M": -1.5, " m": -0.1}, 2 - 1 / (1 + math.exp(-1))),
        ({"m": -3.0}, 1.0),
        ({"M": -3.0}, 2.0),
        ({"The": -0.1}, None),
        ({}, None),
        ({"m": -2000.0, "M": -2000.0}, 1.5),
    ],
)
def test_the_weighted_preference(logprobs: dict[str, float], preference: float | None) -> None:
    assert weighted_preference(logprobs) == (None if preference is None else pytest.approx(preference))


def test_a_switched_preference_is_switched_back() -> None:
    assert unswitched(1.2, True) == pytest.approx(1.8)
    assert unswitched(1.2, False) == 1.2


@pytest.mark.parametrize(
    ("grade", "other"),
    [("A++", "B++"), ("B+", "A+"), ("A=B", "A=B"), ("A>>B", "B>>A"), ("B>A", "A>B"), (None, None)],
)
def test_a_grade_from_the_other_side(grade: str | None, other: str | None) -> None:
    assert mirrored(grade) == other


@pytest.mark.parametrize("instruction", ["Why is the sky blue?", "Warum?", "Name a river.", "2 + 2?"])
async def test_the_judge_keeps_to_the_seeded_order(instruction: str) -> None:
    spec = JudgeSpec(agent="judge-weighted", order="seeded", labels=("m", "M"))
    async with court(spec, judge=says(for_text("good"))) as judge:
        [verdict] = await judge.judge(item(instruction), answer("good"), baseline("bad"))
        assert judge.calls(item(instruction)) == 1
    assert verdict.swapped is seeded_swap(instruction)
    assert verdict.value == 1.0
