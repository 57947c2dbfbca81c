"""The bytes that agents send."""

from __future__ import annotations

import time
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moa.errors import SpecError
from moa.nodes.prompt import question_of, reference_role, render_messages
from moa.spec.agent import AgentSpec
from tests.nodes.scripted import said

MOA = (
    "Read them all.\n\nResponses from models:\n"
    "{% for reference in references %}\n{{ loop.index }}. {{ reference.text }}\n{% endfor %}\n"
)
EXPECTED = "Read them all.\n\nResponses from models:\n1. Alpha\n2. Beta"
REFERENCES = {"references": said("Alpha", "Beta")}


def agent(**fields: Any) -> AgentSpec:
    return AgentSpec.model_validate({"name": "agent", "inputs": {"references": "0+"}, **fields})


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def test_an_agent_without_words_sends_the_conversation() -> None:
    conversation = [{"role": "system", "content": "Be kind."}, user("Hi")]
    assert render_messages(agent(), conversation, {}, {}) == tuple(conversation)


def test_references_go_into_a_new_system_message_numbered_from_one() -> None:
    messages = render_messages(agent(system=MOA), [user("Why?")], REFERENCES, {})
    assert messages == ({"role": "system", "content": EXPECTED}, user("Why?"))


@pytest.mark.parametrize("role", ["system", "developer"])
def test_they_are_appended_to_an_existing_one_after_a_blank_line(role: str) -> None:
    messages = render_messages(
        agent(system=MOA), [{"role": role, "content": "Be kind."}, user("Why?")], REFERENCES, {}
    )
    assert messages == ({"role": role, "content": f"Be kind.\n\n{EXPECTED}"}, user("Why?"))


def test_an_empty_system_message_gets_no_blank_line() -> None:
    messages = render_messages(
        agent(system=MOA), [{"role": "system", "content": ""}, user("Why?")], REFERENCES, {}
    )
    assert messages[0]["content"] == EXPECTED


def test_a_system_message_of_parts_gets_a_part_more() -> None:
    system = {"role": "system", "content": [{"type": "text", "text": "Be kind."}]}
    messages = render_messages(agent(system="Hear."), [system, user("Why?")], {}, {})
    assert messages[0]["content"] == [
        {"type": "text", "text": "Be kind."},
        {"type": "text", "text": "\n\nHear."},
    ]


def test_a_later_system_message_is_not_the_leading_one() -> None:
    conversation = [user("Hi"), {"role": "system", "content": "Now in French."}]
    messages = render_messages(agent(system="Hear."), conversation, {}, {})
    assert messages == ({"role": "system", "content": "Hear."}, *conversation)


def test_the_whole_history_is_kept_and_only_the_latest_user_turn_replaced() -> None:
    conversation = [user("One"), {"role": "assistant", "content": "1"}, user("Two")]
    messages = render_messages(agent(user="{{ question }}, you asked."), conversation, {}, {})
    assert messages == (user("One"), {"role": "assistant", "content": "1"}, user("Two, you asked."))


def test_the_question_of_content_parts_is_their_text() -> None:
    parts = [{"type": "image_url", "image_url": {"url": "x"}}, {"type": "text", "text": "What?"}]
    assert question_of([user("Before"), user(parts), {"role": "assistant", "content": "Hm"}]) == "What?"


def test_a_user_template_keeps_the_pictures() -> None:
    picture = {"type": "image_url", "image_url": {"url": "x"}}
    parts = [picture, {"type": "text", "text": "What"}, {"type": "text", "text": "is it?"}, picture]
    messages = render_messages(agent(user="Asked: {{ question }}"), [user(parts)], {}, {})
    assert messages[0]["content"] == [picture, {"type": "text", "text": "Asked: What\nis it?"}, picture]


def test_a_conversation_without_a_user_turn_gets_one() -> None:
    messages = render_messages(
        agent(user="Go on{{ question }}."), [{"role": "assistant", "content": "A"}], {}, {}
    )
    assert messages[-1] == user("Go on.")


def test_the_conversation_is_neither_changed_nor_shared() -> None:
    conversation = [
        {"role": "system", "content": "Be kind."},
        user([{"type": "text", "text": "Hi"}]),
    ]
    before = deepcopy(conversation)
    messages = render_messages(agent(system=MOA, user="Now."), conversation, REFERENCES, {})
    messages[1]["content"].append("more")
    assert conversation == before


def test_a_nodes_vars_win_over_the_agents() -> None:
    spec = agent(system="{{ a }}{{ b }}", vars={"a": 1, "b": 2})
    assert render_messages(spec, [user("Hi")], {}, {"b": 3})[0]["content"] == "13"


def test_an_input_that_nobody_fills_is_an_empty_list() -> None:
    spec = agent(system="{{ references | length }}")
    assert render_messages(spec, [user("Hi")], {}, {})[0]["content"] == "0"


def test_items_carry_all_that_is_known_about_a_response() -> None:
    spec = agent(
        system="{% for r in references %}{{ r.label }} {{ r.score }} {{ r.model }} {{ r.node }}{% endfor %}"
    )
    [response] = said("Alpha")
    messages = render_messages(spec, [user("Hi")], {"references": [response.labelled("A").scored(0.5)]}, {})
    assert messages[0]["content"] == "A 0.5 sim:0 drafts[0]"


def test_a_system_template_that_comes_out_empty_adds_nothing() -> None:
    spec = agent(system="{% if references %}Hear.{% endif %}")
    assert render_messages(spec, [user("Hi")], {}, {}) == (user("Hi"),)


def test_a_failing_template_names_its_agent() -> None:
    with pytest.raises(SpecError, match="agent"):
        render_messages(agent(system="{{ references[0].text }}"), [user("Hi")], {}, {})


@given(st.text(), st.text())
def test_what_models_and_users_say_is_never_a_template(question: str, reference: str) -> None:
    messages = render_messages(
        agent(system="<{{ references[0].text }}>", user="<{{ question }}>"),
        [user(question)],
        {"references": said(reference)},
        {},
    )
    assert [message["content"] for message in messages] == [f"<{reference}>", f"<{question}>"]


def test_what_equal_agents_share_comes_first() -> None:
    first, second = (
        render_messages(agent(system=MOA), [{"role": "system", "content": "S"}, user("Q")], references, {})
        for references in (REFERENCES, {"references": said("Alpha", "Gamma")})
    )
    common = "S\n\nRead them all.\n\nResponses from models:\n1. Alpha\n2. "
    assert all(messages[0]["content"].startswith(common) for messages in (first, second))


def test_the_first_declared_input_takes_references_without_a_name() -> None:
    spec = AgentSpec.model_validate({"name": "refiner", "inputs": {"draft": 1, "critique": "1+"}})
    assert reference_role(spec) == "draft"
    with pytest.raises(SpecError, match="`references: 1\\+`"):
        reference_role(AgentSpec(name="proposer"))


def test_a_prompt_costs_microseconds() -> None:
    spec, conversation = agent(system=MOA), [user("Why?")]
    references = {"references": said(*("text " * 200,) * 3)}
    render_messages(spec, conversation, references, {})

    def batch() -> float:
        began = time.perf_counter()
        for _ in range(200):
            render_messages(spec, conversation, references, {})
        return (time.perf_counter() - began) / 200

    assert min(batch() for _ in range(10)) < 150e-6
