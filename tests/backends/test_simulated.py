"""A population of members with known rates."""

from __future__ import annotations

import math
from collections import Counter
from statistics import correlation, fmean, stdev
from typing import Any

import pytest

from moa.backends.base import Backend, Choice, Delta, Request
from moa.backends.simulated import Simulated
from moa.errors import ContextOverflowError, ServerFailedError, UsageError
from moa.spec.model import ModelSpec

QUESTIONS = 5000
CHOICE = "Question {}: which one?\n(A) this\n(B) that\n(C) neither\n(D) both"


class Slept:
    """A clock that only notes how long it was asked to wait."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


def member(name: str = "sim:a", spec: dict[str, Any] | None = None, **options: Any) -> Simulated:
    return Simulated(ModelSpec(name=name, provider="sim", options=options, **(spec or {})), sleep=Slept())


def asking(text: str, *, system: str = "", **fields: Any) -> Request:
    heard = ({"role": "system", "content": system},) if system else ()
    return Request((*heard, {"role": "user", "content": text}), **fields)


def answer_of(choice: Choice) -> str:
    return choice.text.rsplit(" ", 1)[1].strip("().")


async def answers(backend: Simulated, questions: int = 1000, **fields: Any) -> list[str]:
    """The member's answer to each of many questions."""
    replies = [await backend.complete(asking(CHOICE.format(at), **fields)) for at in range(questions)]
    return [answer_of(reply.choices[0]) for reply in replies]


async def test_says_the_same_again_for_the_same_seed_and_messages() -> None:
    request = asking(CHOICE.format(1), n=6, seed=3)
    first, again = await member(skill=0.5).complete(request), await member(skill=0.5).complete(request)
    assert isinstance(member(), Backend)
    assert first == again
    alone = [await member(skill=0.5).complete(asking(CHOICE.format(1), seed=seed)) for seed in range(3, 9)]
    assert [choice.text for choice in first.choices] == [reply.choices[0].text for reply in alone]
    assert len({choice.text for choice in first.choices}) > 1


@pytest.mark.parametrize(
    ("question", "allowed"),
    [
        (CHOICE.format(0), set("ABCD")),
        ("Which?\nA. x\nB. y\nC. z", set("ABC")),
        ("Which?\n A) x\n B) y", set("AB")),
        ("Which? (0) x (1) y (2) z", set("012")),
        ("Which?\n1. x\n2. y", set("12")),
    ],
)
async def test_answers_one_of_the_options(question: str, allowed: set[str]) -> None:
    replies = await member(skill=0.5).complete(asking(question, n=100, seed=0))
    assert {answer_of(choice) for choice in replies.choices} == allowed


async def test_a_question_without_options_has_one_truth_and_some_errors() -> None:
    replies = await member(skill=0.7, choices=3).complete(asking("Speak to (A) me.", n=200, seed=0))
    counts = Counter(answer_of(choice) for choice in replies.choices)
    assert len(counts) == 3 and all(answer.isdigit() for answer in counts)
    always = await member("sim:b", skill=1).complete(asking("Speak to (A) me."))
    assert answer_of(always.choices[0]) == counts.most_common(1)[0][0]


async def test_the_truth_can_be_given() -> None:
    assert await answers(member(skill=1, answer="C")) == ["C"] * 1000
    reply = await member(skill=1, answer=42).complete(asking("How many?"))
    assert reply.choices[0].text.endswith("The answer is 42.")


@pytest.mark.parametrize(("skill", "rho"), [(0.8, 0.0), (0.8, 0.3), (0.25, 0.3), (0.5, 1.0)])
async def test_accuracy_is_the_skill_and_errors_correlate_as_asked(skill: float, rho: float) -> None:
    options: dict[str, Any] = {"skill": skill, "correlation": rho, "answer": "A"}
    first = await answers(member("sim:a", **options), QUESTIONS, seed=0)
    second = await answers(member("sim:b", **options), QUESTIONS, seed=0)
    right = [[float(said == "A") for said in one] for one in (first, second)]
    four_errors = 4 * math.sqrt(skill * (1 - skill) / QUESTIONS)
    assert fmean(right[0]) == pytest.approx(skill, abs=four_errors)
    assert fmean(right[1]) == pytest.approx(skill, abs=four_errors)
    assert correlation(*right) == pytest.approx(rho, abs=0.08)


async def test_samples_of_one_member_correlate_like_members() -> None:
    backend = member(skill=0.5, correlation=0.5, answer="A")
    first, second = await answers(backend, 2000, seed=0), await answers(backend, 2000, seed=1)
    right = [[float(said == "A") for said in one] for one in (first, second)]
    assert correlation(*right) == pytest.approx(0.5, abs=0.1)


async def test_wrong_answers_of_a_common_cause_agree() -> None:
    options: dict[str, Any] = {"skill": 0.0, "correlation": 1}
    assert await answers(member("sim:a", **options)) == await answers(member("sim:b", **options))


REFERENCES = "1. I think the answer is (B).\n2. Well. The answer is (B).\n3. The answer is (A)."


async def test_an_aggregator_follows_the_majority_of_its_references() -> None:
    follower = member(follow=1.0, skill=1, answer="D")
    reply = await follower.complete(asking(CHOICE.format(1), system=REFERENCES, n=50, seed=0))
    assert {answer_of(choice) for choice in reply.choices} == {"B"}


async def test_an_aggregator_follows_as_often_as_asked() -> None:
    follower = member(follow=0.75, skill=1, answer="D")
    reply = await follower.complete(asking(CHOICE.format(1), system=REFERENCES, n=4000, seed=0))
    counts = Counter(answer_of(choice) for choice in reply.choices)
    assert set(counts) == {"B", "D"}
    assert counts["B"] / 4000 == pytest.approx(0.75, abs=0.03)


async def test_members_hear_each_other() -> None:
    question = "What is the number?"
    first = await member("sim:a", skill=1).complete(asking(question))
    heard = "\n".join(f"{at}. {first.choices[0].text}" for at in (1, 2, 3))
    reply = await member("sim:b", skill=0, follow=1).complete(asking(question, system=heard))
    assert answer_of(reply.choices[0]) == answer_of(first.choices[0])


async def test_failures_come_at_their_rate_and_a_new_attempt_is_a_new_draw() -> None:
    backend, attempts, failures = member(failure=0.2), 0, 0
    for at in range(2000):
        for _ in range(50):
            attempts += 1
            try:
                await backend.complete(asking(f"q{at}"))
                break
            except ServerFailedError as error:
                assert error.retryable
                failures += 1
        else:
            pytest.fail("an attempt in fifty should succeed")
    assert failures / attempts == pytest.approx(0.2, abs=0.04)


async def test_empty_replies_come_at_their_rate() -> None:
    reply = await member(empty=0.1).complete(asking("q", n=4000, seed=0))
    assert sum(choice.text == "" for choice in reply.choices) / 4000 == pytest.approx(0.1, abs=0.02)
    assert (await member(empty=1).complete(asking("q"))).choices[0].usage.output_tokens == 0


async def test_latency_is_constant_or_log_normal() -> None:
    constant = Slept()
    backend = Simulated(ModelSpec(provider="sim", options={"latency": 0.2}), sleep=constant)
    await backend.complete(asking("q"))
    assert sum(constant.seconds) == pytest.approx(0.2)
    varied = Slept()
    options: dict[str, Any] = {"latency": 2.0, "latency_sd": 0.5}
    backend = Simulated(ModelSpec(provider="sim", options=options), sleep=varied)
    for seed in range(4000):
        await backend.complete(asking("q", seed=seed))
    waits = [wait for wait in varied.seconds if wait]
    assert fmean(waits) == pytest.approx(2.0, abs=0.05)
    assert stdev(waits) == pytest.approx(0.5, abs=0.05)


async def test_writes_word_by_word_at_its_speed() -> None:
    slept, heard = Slept(), list[Delta]()
    options: dict[str, Any] = {"tokens_per_second": 50, "length": 10}
    backend = Simulated(ModelSpec(provider="sim", options=options), sleep=slept)
    reply = await backend.complete(asking("q", n=2, seed=0), heard.append)
    for index, choice in enumerate(reply.choices):
        pieces = [delta.text for delta in heard if delta.index == index]
        assert len(pieces) == 10 == choice.usage.output_tokens
        assert "".join(pieces) == choice.text
    assert sum(slept.seconds) == pytest.approx(10 / 50)


async def test_max_tokens_cuts_the_reply() -> None:
    reply = await member(length=30).complete(asking("q", params={"max_tokens": 7}))
    assert reply.choices[0].finish_reason == "length"
    assert len(reply.choices[0].text.split()) == 7 == reply.usage.output_tokens


async def test_a_prompt_beyond_the_window_is_refused() -> None:
    backend = member(spec={"context": 50})
    assert await backend.context_length() == 50
    with pytest.raises(ContextOverflowError, match="50 tokens"):
        await backend.complete(asking("word " * 100))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"skil": 0.5}, "skil"),
        ({"skill": 1.5}, "skill"),
        ({"correlation": -0.1}, "correlation"),
        ({"tokens_per_second": 0}, "tokens_per_second"),
        ({"latency": "slow"}, "latency"),
    ],
)
def test_a_wrong_option_is_refused_by_name(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=rf"sim:x: options: .*{said}"):
        member("sim:x", **options)
