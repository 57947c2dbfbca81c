"""Choosing through an agent."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from pydantic import ValidationError

from moa.errors import ServerFailedError, UsageError
from moa.nodes.response import Response
from moa.nodes.select_rank import UNRANKED, TopK
from moa.nodes.selector import Asked
from tests.nodes.scripted import Context, said

ABC = ("a", "b", "c")


async def test_a_ranking_is_asked_for_once() -> None:
    context = Context("ranking", ["[3] > [1] > [2]"])
    kept = await TopK(k=2).select(said(*ABC), context)
    assert [(response.text, response.label) for response in kept] == [("c", "1"), ("a", "2")]
    assert context.shown == [["a", "b", "c"]]
    assert context.warnings == []


async def test_a_choice_keeps_one() -> None:
    kept = await TopK().select(said(*ABC), Context("choice", ["Best: 2"]))
    assert [response.text for response in kept] == ["b"]


async def test_a_single_response_is_not_asked_about() -> None:
    context = Context()
    assert await TopK().select(said("a"), context) == said("a")
    assert context.shown == []


async def test_an_unreadable_reply_keeps_the_first_and_says_so() -> None:
    context = Context("ranking", ["I cannot decide."])
    kept = await TopK(k=2).select(said(*ABC), context)
    assert [(response.text, response.label) for response in kept] == [("a", UNRANKED), ("b", UNRANKED)]
    assert context.warnings == [
        "the agent's reply 'I cannot decide.' could not be read; kept the first 2 of 3"
    ]


async def test_what_the_agent_leaves_out_is_not_kept() -> None:
    """Archon appends missing ids to the ranking, as if the model had ranked them."""
    context = Context("ranking", ["[2]"])
    kept = await TopK(k=3).select(said(*ABC), context)
    assert [response.text for response in kept] == ["b"]
    assert context.warnings == ["the agent ranked 1 of 3 responses, fewer than 3"]


async def test_scores_are_asked_for_one_by_one() -> None:
    context = Context("score", ["Score: 2/10", "Score: 9/10", "Score: 9/10"])
    kept = await TopK(k=2, each=True).select(said(*ABC), context)
    assert [(response.text, response.score) for response in kept] == [("b", 9.0), ("c", 9.0)]
    assert context.shown == [["a"], ["b"], ["c"]]


async def test_a_score_that_cannot_be_read_is_no_zero() -> None:
    context = Context("score", ["Score: -1", "good", "Score: -2"])
    kept = await TopK(k=3, each=True).select(said(*ABC), context)
    assert [response.text for response in kept] == ["a", "c"]
    assert context.warnings == [
        "1 of 3 scores could not be read",
        "the agent ranked 2 of 3 responses, fewer than 3",
    ]


async def test_no_readable_score_at_all_keeps_the_first() -> None:
    context = Context("score", ["?"] * 3)
    kept = await TopK(each=True).select(said(*ABC), context)
    assert [(response.text, response.label) for response in kept] == [("a", UNRANKED)]


@pytest.mark.parametrize(
    ("each", "reads", "reply"),
    [(False, "score", "7/10"), (False, "text", "hm"), (True, "ranking", "[1]"), (True, "text", "7")],
)
async def test_an_agent_that_reads_something_else_is_the_users_mistake(
    each: bool, reads: str, reply: str
) -> None:
    with pytest.raises(UsageError, match="needs an agent that reads"):
        await TopK(each=each).select(said(*ABC), Context(reads, [reply] * 3))


async def test_a_failed_call_fails_as_itself() -> None:
    class Down(Context):
        async def ask(self, responses: Sequence[Response]) -> Asked:
            raise ServerFailedError("down")

    for each in (False, True):
        with pytest.raises(ServerFailedError, match="down"):
            await TopK(each=each).select(said(*ABC), Down())


def test_calls_and_kept_follow_from_the_options() -> None:
    assert [TopK(k=2).calls(n) for n in (0, 1, 2, 9)] == [0, 0, 1, 1]
    assert [TopK(k=2, each=True).calls(n) for n in (0, 1, 2, 9)] == [0, 0, 2, 9]
    assert [TopK(k=2).kept(n) for n in (0, 1, 2, 9)] == [0, 1, 2, 2]


async def test_a_scorer_ranks_in_the_place_of_an_agent() -> None:
    context = Context()
    context.rewards = {"a": -3.0, "b": 0.5, "c": 0.5}
    kept = await TopK(k=2, scorer="rm").select(said(*ABC), context)
    assert [(r.text, r.label, r.score) for r in kept] == [("b", "1", 0.5), ("c", "2", 0.5)]
    assert (context.rewarded, context.shown) == ([("Which?", "rm", "classify")], [])


async def test_how_the_scorer_is_asked_is_an_option() -> None:
    context = Context()
    context.rewards = {"a": 0.0, "b": 1.0}
    await TopK(scorer="rm", how="rerank").select(said("a", "b"), context)
    assert context.rewarded == [("Which?", "rm", "rerank")]


def test_a_scorer_needs_no_agent_and_takes_none() -> None:
    assert not TopK(scorer="rm").needs_agent()
    assert TopK(scorer="rm").calls(9) == 0
    with pytest.raises(ValidationError, match="`each` is for an agent"):
        TopK(scorer="rm", each=True)
    with pytest.raises(ValidationError, match="name one"):
        TopK(how="score")
