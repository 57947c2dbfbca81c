"""Dropping what an agent finds wanting."""

from __future__ import annotations

import pytest

from moa.errors import UsageError
from moa.nodes.select_judged import JudgeFilter
from moa.spec.catalogue import load_agent
from tests.nodes.scripted import Context, said


def scores(*replies: str) -> Context:
    return Context("score", replies)


async def test_those_that_reach_the_threshold_go_on_with_their_scores() -> None:
    context = scores("Score: 5/10", "Score: 4/10", "Score: 9/10")
    kept = await JudgeFilter().select(said("a", "b", "c"), context)
    assert [(response.text, response.score) for response in kept] == [("a", 5.0), ("c", 9.0)]
    assert context.shown == [["a"], ["b"], ["c"]]
    assert context.warnings == []


async def test_never_all_are_dropped_and_it_says_so() -> None:
    context = scores("Score: 2/10", "Score: 3/10", "Score: 3/10")
    kept = await JudgeFilter().select(said("a", "b", "c"), context)
    assert [response.text for response in kept] == ["b", "c"]
    assert context.warnings == ["no response reached 5; kept the best, which had 3"]


async def test_a_score_that_cannot_be_read_is_no_verdict() -> None:
    context = scores("I will not grade this.", "Score: 1/10")
    kept = await JudgeFilter().select(said("a", "b"), context)
    assert [(response.text, response.score) for response in kept] == [("a", None)]
    assert context.warnings == ["1 of 2 scores could not be read; kept those responses"]


async def test_a_judge_that_does_not_grade_is_refused() -> None:
    with pytest.raises(UsageError, match="reads a `score`"):
        await JudgeFilter().select(said("a", "b"), Context("ranking", ["[2] > [1]"] * 2))
    assert JudgeFilter().refuses(load_agent("scorer").spec) is None
    assert "not `ranking`" in (JudgeFilter().refuses(load_agent("ranker").spec) or "")
