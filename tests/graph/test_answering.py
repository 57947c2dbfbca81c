"""Sampling of a caller's own, and several answers, where a plan's answer is written."""

from __future__ import annotations

import pytest

import moa
from moa.errors import UsageError
from moa.graph.answering import answer_ids, answering, writers
from moa.spec.agent import Sampling

CALM = Sampling(temperature=0, max_tokens=5)


def test_the_last_agent_writes() -> None:
    plan = moa.load("moa-lite", models="sim:").plan()
    assert [node.id for node in writers(plan)] == ["answer"]
    changed = answering(plan, CALM)
    assert changed.by_id["answer"].sampling.temperature == 0
    assert [node.sampling for node in changed.nodes[:-1]] == [node.sampling for node in plan.nodes[:-1]]
    assert changed.fingerprint != plan.fingerprint == answering(plan, Sampling()).fingerprint


def test_those_whom_a_selector_chooses_from_write() -> None:
    plan = moa.load("best-of-n", models="sim:").plan()
    changed = answering(plan, CALM)
    assert {node.group for node in writers(plan)} == {"drafts"} and len(writers(plan)) == 6
    assert all(node.sampling.max_tokens == 5 for node in changed.nodes if node.group == "drafts")
    assert changed.by_id["answer"].sampling == plan.by_id["answer"].sampling


def test_more_answers_hear_the_same() -> None:
    plan = moa.load("self-moa", models="sim:").plan()
    changed = answering(plan, Sampling(), 3)
    answers = [changed.by_id[id] for id in answer_ids(plan, 3)]
    assert [node.id for node in answers] == ["answer", "answer@1", "answer@2"]
    assert [node.sample for node in answers] == [0, 1, 2]
    assert len({node.inputs for node in answers}) == 1 and changed.answer == "answer"


def test_a_choice_is_made_once() -> None:
    with pytest.raises(UsageError, match="has only one"):
        answering(moa.load("majority-vote", models="sim:").plan(), Sampling(), 2)
