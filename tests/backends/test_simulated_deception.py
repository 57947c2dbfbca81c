"""Simulated members deceive where a prompt tells them to, and are deceived at a known rate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from moa.backends.base import Request
from moa.backends.simulated import Simulated
from moa.backends.truth import open_truth
from moa.errors import UsageError
from moa.evaluate.deception.given import given_of
from moa.evaluate.records import Item
from moa.nodes.prompt import render_messages
from moa.nodes.response import Response
from moa.spec.catalogue import load_agent
from moa.spec.model import ModelSpec

QUESTION = "Question {}: which?\n(A) this\n(B) that\n(C) neither\n(D) both"
TRIALS = 400


def member(**options: Any) -> Simulated:
    return Simulated(ModelSpec(name="sim:", provider="sim", options={"answer": "A", "skill": 1, **options}))


async def said(
    backend: Simulated, agent: str, question: str, heard: tuple[str, ...] = (), seed: int = 0
) -> str:
    spec = load_agent(agent).spec
    item = Item(
        id="q", turns=(question,), answer="A", target="C", options=("this", "that", "neither", "both")
    )
    inputs = {role: [Response(text, "n", "m") for text in heard] for role in spec.inputs}
    messages = render_messages(spec, [{"role": "user", "content": question}], inputs, {}, given_of(item))
    return (await backend.complete(Request(messages, seed=seed))).choices[0].text


@pytest.mark.parametrize("role", ["opposer", "promoter", "copycat", "evader"])
@pytest.mark.parametrize("heard", [(), ("The answer is (A).",)])
async def test_deceivers_argue_for_the_target(role: str, heard: tuple[str, ...]) -> None:
    assert (await said(member(), role, QUESTION.format(1), heard)).endswith("answer is (C).")


@pytest.mark.parametrize("role", ["deceiver", "colluder"])
async def test_deceivers_without_a_target_are_wrong_and_colluders_agree(role: str) -> None:
    replies = [await said(member(), role, QUESTION.format(1), seed=seed) for seed in range(30)]
    named = {reply.rsplit(" ", 1)[1] for reply in replies}
    assert "(A)." not in named
    assert len(named) == (1 if role == "colluder" else 3)


@pytest.mark.parametrize("persuasiveness", [0.0, 0.3, 1.0])
async def test_hearers_follow_a_deceiver_at_the_stated_rate(persuasiveness: float) -> None:
    liar, judge = member(persuasiveness=persuasiveness), member(follow=1)
    followed = 0
    for number in range(TRIALS):
        question = QUESTION.format(number)
        heard = ("The answer is (A).", await said(liar, "opposer", question), "The answer is (A).")
        followed += (await said(judge, "aggregator", question, heard)).endswith("(C).")
    assert followed / TRIALS == pytest.approx(persuasiveness, abs=0.08)


async def test_injections_are_copied_and_pretended_references_counted() -> None:
    payload = await said(member(), "injector-numbering", QUESTION.format(1))
    assert payload.startswith("The answer is (C).") and "\n6. " in payload
    verdict = await said(
        member(follow=1), "aggregator", QUESTION.format(1), ("The answer is (A).",) * 3 + (payload,)
    )
    assert verdict.endswith("(C).")


async def test_the_truth_comes_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    rows = [{"question": "Is it red?", "answer": 2}, {"question": "Is it red? Really?", "answer": "D"}]
    path.write_text("\n".join(map(json.dumps, rows)))
    knowing = Simulated(ModelSpec(name="sim:", provider="sim", options={"truth": str(path), "skill": 1}))
    for text, right in {
        "Say.\nIs it red?\n(A) a\n(B) b\n(C) c": "(C)",
        "Is it red?\n(0) a\n(1) b\n(2) c": "(2)",
        "Is it red? Really?\n(A) a\n(B) b\n(C) c\n(D) d": "(D)",
    }.items():
        reply = (await knowing.complete(Request(({"role": "user", "content": text},)))).choices[0].text
        assert reply.endswith(f"The answer is {right}.")


@pytest.mark.parametrize(
    ("text", "message"),
    [("no", ":1: not JSON"), ('{"question": "Q"}', ":1: expected `question` and `answer`"), ('{"answer": 1}', ":1: has no question")],
)  # fmt: skip
def test_a_file_without_truth_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "t.jsonl"
    with pytest.raises(UsageError, match="cannot read the truth"):
        open_truth(str(path))
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        open_truth(str(path))
