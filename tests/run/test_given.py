"""Values that come with one question, for the agents that declare them."""

from __future__ import annotations

import pytest

from moa import AgentSpec, Graph, Runner, UsageError
from moa.errors import SpecError
from moa.spec.agent import AgentSpec as Spec
from tests.support.backends import Scripted

JUDGE = AgentSpec(name="judge", given=("first", "second"), user="{{ question }} {{ first }} or {{ second }}?")


def judging() -> Graph:
    graph = Graph("judging")
    graph.answer = graph.agent(JUDGE, model="m")
    return graph


async def test_each_question_brings_its_own_values() -> None:
    backend = Scripted()
    async with Runner(backends={"m": backend}) as runner:
        items = [
            {"prompt": "Which?", "given": {"first": "A", "second": "B"}},
            {"prompt": "Which?", "given": {"first": "C", "second": "D", "unused": 1}},
        ]
        async for _, reply in runner.map(judging(), items):
            assert reply.ok
        await runner.run(judging(), "Who?", given={"first": "E", "second": "F"})
    asked = {request.messages[0]["content"] for request in backend.requests}
    assert asked == {"Which? A or B?", "Which? C or D?", "Who? E or F?"}


async def test_a_value_that_nobody_gives_is_named() -> None:
    async with Runner(backends={"m": Scripted()}) as runner:
        with pytest.raises(UsageError, match=r"agent 'judge' needs `second` with the question"):
            await runner.run(judging(), "Which?", given={"first": "A"})


async def test_given_is_an_object() -> None:
    async with Runner(backends={"m": Scripted()}) as runner:
        with pytest.raises(UsageError, match="an object of values by name, not str"):
            [reply async for reply in runner.map(judging(), [{"prompt": "Which?", "given": "A"}])]


def test_a_node_cannot_fix_what_is_given() -> None:
    graph = Graph("fixed")
    graph.answer = graph.agent(JUDGE, model="m", vars={"first": "A"})
    with pytest.raises(SpecError, match="no variable `first`"):
        graph.plan()


def test_a_given_value_is_no_input_too() -> None:
    with pytest.raises(ValueError, match="`first` stands for two things"):
        Spec.model_validate(
            {"name": "judge", "given": ["first"], "vars": {"first": 1}, "user": "{{ first }}"}
        )
