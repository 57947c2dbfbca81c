"""Whatever a client sends is read or refused; nothing else ever happens."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import moa
from moa.run.runner import Runner
from moa.serve import messages_request, ollama_request, responses_request
from moa.serve.answer import plan_for
from moa.serve.chat_request import ChatRequest, asked_by, read_chat
from moa.serve.decisions_request import read_decisions, words_of
from moa.serve.house import House, Served, Settings
from moa.serve.refusal import Refusal


def words(text: str) -> st.SearchStrategy[str]:
    """One of the words of a text."""
    return st.sampled_from(re.findall(r"\w+", text))


WORDS = words(
    """auto user assistant system tool text function input_text image image_url tool_use tool_result message
    function_call function_call_output json_schema json_object choice predicate score required any none base64 url m
    input_image refusal thinking custom reasoning output_text media_type data"""
)
NAMES = words(
    """model messages role content type text n seed stop tools tool_choice function name parameters arguments
    tool_calls response_format json_schema schema input output call_id questions choices levels value label
    instructions image_url url source images options format prompt system max_tokens max_output_tokens temperature
    top_p stream logprobs logit_bias input_schema thinking moa nodes pool tool_use_id id tool_call_id
    media_type data num_predict verbosity reasoning effort"""
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | WORDS
    | st.text(max_size=5)
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=20,
)
TURN = st.fixed_dictionaries(
    {"role": WORDS, "content": st.text(max_size=3) | st.lists(VALUES, max_size=2)},
    optional={"tool_calls": VALUES, "type": WORDS, "images": VALUES},
)
QUESTION = st.fixed_dictionaries(
    {"type": st.sampled_from(["predicate", "choice", "score"]), "instructions": st.text(min_size=1) | VALUES},
    optional={"choices": VALUES, "levels": VALUES},
)
BODIES = st.builds(
    lambda wild, sound: {**sound, **wild},
    st.dictionaries(NAMES, VALUES, max_size=4),
    st.fixed_dictionaries(
        {
            "model": st.just("m"),
            "max_tokens": st.just(5),
            "messages": st.lists(TURN, min_size=1, max_size=3),
            "prompt": st.text(max_size=3),
            "input": st.text(min_size=1, max_size=3) | st.lists(TURN, min_size=1, max_size=3),
            "questions": st.lists(QUESTION, min_size=1, max_size=2),
        }
    ),
)


ODD: dict[str, Any] = {
    "model": "m",
    "max_tokens": 5,
    "messages": [{"role": "user", "content": [{"type": []}], "tool_calls": 1.0}],
    "input": [{"role": "user", "content": [{"type": []}]}],
    "questions": [{"type": "predicate", "instructions": [{"type": []}]}],
}


def house() -> House:
    graph = moa.Graph("m")
    graph.answer = graph.agent("proposer", model="sim:")
    return House([Served("m", graph.plan())], Runner(), Settings())


HOUSE = house()


def asked(wanted: ChatRequest) -> None:
    plan_for(asked_by(HOUSE, wanted), HOUSE.plans)


def chat(body: Mapping[str, Any]) -> None:
    asked(read_chat({name: value for name, value in body.items() if name != "prompt"}))


def responses(body: Mapping[str, Any]) -> None:
    plain = {name: value for name, value in body.items() if name != "prompt"}
    asked(responses_request.as_chat(responses_request.read_responses(plain)))


def messages(body: Mapping[str, Any]) -> None:
    asked(messages_request.as_chat(messages_request.read_messages(body)))


def ollama_chat(body: Mapping[str, Any]) -> None:
    wanted = ollama_request.read_ollama(body)
    asked(ollama_request.as_chat(wanted, list(ollama_request.turns_of(wanted)), "m"))


def ollama_generate(body: Mapping[str, Any]) -> None:
    wanted = ollama_request.read_ollama(body)
    asked(ollama_request.as_chat(wanted, list(ollama_request.prompt_of(wanted)), "m"))


def decisions(body: Mapping[str, Any]) -> None:
    wanted = read_decisions(body)
    assert wanted.turns
    for question in wanted.questions:
        assert question.options
        words_of(question.instructions, "instructions")


@pytest.mark.parametrize("read", [chat, responses, messages, ollama_chat, ollama_generate, decisions])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(body=BODIES)
@example(body=ODD)
def test_a_body_is_read_or_refused(read: Callable[[Mapping[str, Any]], None], body: dict[str, Any]) -> None:
    try:
        read(body)
    except Refusal as refusal:
        assert refusal.status in (400, 404) and refusal.message
