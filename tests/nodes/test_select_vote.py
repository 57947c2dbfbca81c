"""The majority vote."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from moa.nodes.select_vote import UNREAD, Majority
from tests.nodes.scripted import Context, said


async def test_the_first_response_with_the_commonest_answer_wins() -> None:
    responses = said("It is 4. The answer is 5", "The answer is 1,000", "#### 1000", "answer: 1000.0 km")
    context = Context()
    [winner] = await Majority().select(responses, context)
    assert (winner.node, winner.label, winner.score) == ("drafts[1]", "1000", 0.75)
    assert context.warnings == []


async def test_what_cannot_be_read_has_no_vote() -> None:
    """The Doge code counts unparsed answers as an answer of their own, and they win."""
    prose = "I would rather not commit myself to anything at all in this delicate matter."
    context = Context()
    [winner] = await Majority().select(said(prose, prose, prose, "The answer is 2"), context)
    assert (winner.label, winner.score) == ("2", 1.0)
    assert context.warnings == ["3 of 4 responses gave no answer and have no vote"]


async def test_where_nothing_can_be_read_the_first_goes_on_and_says_so() -> None:
    context = Context()
    [kept] = await Majority(answer="number").select(said("none", "nil"), context)
    assert (kept.text, kept.label, kept.score) == ("none", UNREAD, 0.0)
    assert context.warnings == ["no answer could be read in any of 2 responses; kept the first"]


async def test_a_vote_in_which_no_two_agree_is_reported() -> None:
    context = Context()
    [winner] = await Majority().select(said("1", "2", "3"), context)
    assert (winner.label, winner.score) == ("1", 1 / 3)
    assert context.warnings == ["no two of 3 answers agree; the vote decides nothing"]


async def test_ties_go_to_the_first_or_to_a_seeded_draw() -> None:
    responses = said("1", "2", "2", "1", "3")
    first = await Majority().select(responses, Context())
    assert first[0].label == "1"
    draws = [await Majority(ties="random").select(responses, Context(seed=seed)) for seed in range(20)]
    again = [await Majority(ties="random").select(responses, Context(seed=seed)) for seed in range(20)]
    assert draws == again
    assert {winner.label for [winner] in draws} == {"1", "2"}


async def test_a_pattern_of_ones_own() -> None:
    vote = Majority(answer="regex", pattern=r"verdict=(\w+)")
    [winner] = await vote.select(said("verdict=no 5", "verdict=yes 5", "verdict=yes 7"), Context())
    assert winner.label == "yes"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"answer": "regex"}, "belong together"),
        ({"pattern": "(x)"}, "belong together"),
        ({"answer": "regex", "pattern": "("}, "not a regular expression"),
        ({"answer": "regex", "pattern": "x"}, "needs a group"),
        ({"ties": "last"}, "first"),
        ({"anwser": "auto"}, "anwser"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Majority.model_validate(options)
