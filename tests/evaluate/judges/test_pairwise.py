"""Pairs: both orders, ties, refusals, juries, and judges with known faults."""

from __future__ import annotations

from pathlib import Path

import pytest

from moa.errors import BudgetExceededError, ServerFailedError, SpecError, UsageError
from moa.evaluate.judges import open_judge
from moa.evaluate.records import Verdict
from moa.run.budget import Budget
from moa.run.runner import Runner
from moa.spec.evaluation import JudgeSpec
from tests.support.backends import Scripted
from tests.support.court import (
    Shown,
    answer,
    baseline,
    court,
    for_text,
    item,
    prefers_first,
    says,
    shown,
)
from tests.support.judge_server import JudgeServer

REASONED = JudgeSpec(agent="judge-reasoned")
BRACKETS = "Well.\n[[{}]]"


def values(verdicts: list[Verdict]) -> list[float | None]:
    return [verdict.value for verdict in verdicts]


async def judged(judge: Scripted, spec: JudgeSpec | None = None) -> list[Verdict]:
    async with court(spec, judge=judge) as bench:
        return await bench.judge(item(), answer("good"), baseline("bad"))


# Orders


async def test_both_orders_are_two_verdicts_from_the_entrants_side() -> None:
    verdicts = await judged(says(for_text("good")))
    assert values(verdicts) == [1.0, 1.0]
    assert [verdict.swapped for verdict in verdicts] == [False, True]
    assert {(v.kind, v.judge, v.entrant, v.against) for v in verdicts} == {
        ("preference", "judge", "ensemble", "baseline")
    }


async def test_a_position_bias_cancels() -> None:
    assert values(await judged(says(prefers_first()))) == [0.0, 1.0]


async def test_the_fixed_order_shows_the_baseline_first() -> None:
    judge = says(prefers_first())
    [verdict] = await judged(judge, JudgeSpec(order="fixed"))
    assert (verdict.value, verdict.swapped) == (0.0, False)
    assert shown(judge.requests[0]).candidates == ["bad", "good"]


async def test_equal_texts_are_a_draw_that_nobody_is_asked_for() -> None:
    judge = says(prefers_first())
    async with court(judge=judge) as bench:
        [verdict] = await bench.judge(item(), answer("same"), baseline("same"))
    assert (verdict.state, verdict.value, verdict.method) == ("ok", 0.5, "identical")
    assert judge.requests == []


async def test_fixed_labels() -> None:
    judge = says(prefers_first())
    await judged(judge, JudgeSpec(labels=("m", "M")))
    assert {tuple(shown(request).labels) for request in judge.requests} == {("m", "M")}


async def test_calls_are_known_before() -> None:
    async with court(judge=says(prefers_first())) as bench:
        assert bench.calls(item()) == 2
    async with court(JudgeSpec(order="seeded", samples=4), judge=says(prefers_first())) as bench:
        assert bench.calls(item()) == 4


# What is shown


async def test_history_reference_and_checklist_are_shown() -> None:
    judge = says(for_text("good", BRACKETS))
    history = ({"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Hi!"})
    async with court(JudgeSpec(agent="judge-reasoned", order="fixed"), judge=judge) as bench:
        asked = item(history=history, references=("Rayleigh",), checklist=("Is it short?",))
        await bench.judge(asked, answer("good"), baseline("bad"))
    seen = shown(judge.requests[0])
    assert seen.parts[:2] == (
        ("earlier turn of the user", "Hello."),
        ("earlier turn of the assistant", "Hi!"),
    )
    assert seen.part("instruction") == "Why is the sky blue?"
    assert seen.part("reference answer") == "Rayleigh"
    assert seen.part("questions to check") == "1. Is it short?"


async def test_several_turns_are_shown_together() -> None:
    judge = says(prefers_first())
    async with court(JudgeSpec(order="fixed"), judge=judge) as bench:
        await bench.judge(item("One?", "Two?"), answer("a", "b"), baseline("c", "d"))
    seen = shown(judge.requests[0])
    assert seen.part("instruction") == "Turn 1:\nOne?\n\nTurn 2:\nTwo?"
    assert seen.candidates == ["Turn 1:\nc\n\nTurn 2:\nd", "Turn 1:\na\n\nTurn 2:\nb"]


# How verdicts are read


async def test_log_probabilities_over_http() -> None:
    def prefer(first: str, second: str) -> float:
        return 0.7 if first == "good" else 0.4

    async with JudgeServer(prefer, "vllm") as server, Runner() as runner:
        judge = open_judge(JudgeSpec(), runner, model=server.model)
        verdicts = await judge.judge(item(), answer("good"), baseline("bad"))
    assert values(verdicts) == [pytest.approx(0.6), pytest.approx(0.7)]
    assert {verdict.method for verdict in verdicts} == {"logprobs"}
    assert judge.name == server.model


async def test_alpaca_evals_annotator_takes_one_token_and_its_five_alternatives() -> None:
    spec = JudgeSpec(agent="judge-weighted", order="seeded", labels=("m", "M"))
    async with JudgeServer(lambda first, second: 0.9) as server, Runner() as runner:
        judge = open_judge(spec, runner, model=server.model)
        [verdict] = await judge.judge(item("How did US states get their names?"), answer("x"), baseline("y"))
    [body] = server.asked
    assert {key: body[key] for key in ("max_tokens", "temperature", "logprobs", "top_logprobs")} == {
        "max_tokens": 1,
        "temperature": 1,
        "logprobs": True,
        "top_logprobs": 5,
    }
    assert verdict.swapped
    assert verdict.value == pytest.approx(0.9)
    assert verdict.state == "ok"


async def test_samples_are_averaged() -> None:
    turns = iter([0, 0, 0, 1] * 2)

    def waver(seen: Shown) -> str:
        return seen.labels[0]

    class Wavering(Scripted):
        """Says another label every fourth time."""

        async def _answer(self, request, emit):  # type: ignore[no-untyped-def]
            completion = await super()._answer(request, emit)
            labels = shown(request).labels
            choices = tuple(
                type(choice)(labels[next(turns)], "stop", usage=choice.usage) for choice in completion.choices
            )
            return type(completion)(choices, "scripted")

    judge = Wavering(lambda request: waver(shown(request)))
    verdicts = await judged(judge, JudgeSpec(samples=4))
    assert values(verdicts) == [0.25, 0.75]
    assert {verdict.method for verdict in verdicts} == {"text"}
    assert len(verdicts[0].details["members"]) == 4  # type: ignore[arg-type]
    assert {request.params["temperature"] for request in judge.requests} == {1.0}


@pytest.mark.parametrize(
    ("agent", "verdict", "value", "grade"),
    [
        ("judge-reasoned", "tie", 0.5, None),
        ("judge-grades", "{0}++", 0.0, "B++"),
        ("judge-grades", "{0}+", 0.25, "B+"),
        ("judge-grades", "{0}={1}", 0.5, "A=B"),
        ("judge-grades", "{1}++", 1.0, "A++"),
        ("judge-arena", "{0}>>{1}", 0.0, "B>>A"),
        ("judge-arena", "{1}>{0}", 0.75, "A>B"),
    ],
)
async def test_grades_are_the_entrants(agent: str, verdict: str, value: float, grade: str | None) -> None:
    """The baseline is shown first, so the first label's win is the entrant's loss."""
    judge = says(lambda seen: f"Well.\n[[{verdict.format(*seen.labels)}]]")
    [found] = await judged(judge, JudgeSpec(agent=agent, order="fixed"))
    assert (found.value, found.grade, found.method) == (value, grade, "text")


async def test_a_grade_in_both_orders_is_the_same_grade() -> None:
    def consistent(seen: Shown) -> str:
        best = seen.labels[seen.candidates.index("good")]
        return f"[[{best}++]]"

    verdicts = await judged(says(consistent), JudgeSpec(agent="judge-grades"))
    assert [(verdict.value, verdict.grade) for verdict in verdicts] == [(1.0, "A++"), (1.0, "A++")]


# States of their own


@pytest.mark.parametrize(
    ("said", "state"),
    [
        ("I'm sorry, but I can't compare these.", "refused"),
        ("I cannot assist with that request.", "refused"),
        ("As an AI language model, I am not able to judge this.", "refused"),
        ("Both have merits.", "unparsed"),
        ("I cannot decide which is better.", "unparsed"),
        ("[[Z]]", "unparsed"),
    ],
)
async def test_no_verdict_is_no_tie(said: str, state: str) -> None:
    for spec in (JudgeSpec(), REASONED):
        verdicts = await judged(says(lambda seen: said), spec)
        assert [(v.state, v.value, v.method, v.text) for v in verdicts] == [(state, None, None, said)] * 2


async def test_a_refusal_in_the_reasoning_of_a_verdict_is_none() -> None:
    judge = says(for_text("good", "I'm sorry, but I can't recommend the other one.\n[[{}]]"))
    assert values(await judged(judge, REASONED)) == [1.0, 1.0]


async def test_an_unreadable_verdict_is_not_asked_for_again() -> None:
    judge = says(lambda seen: "Hm.")
    await judged(judge)
    assert len(judge.requests) == 2


async def test_a_call_that_fails_is_a_verdict_that_failed() -> None:
    failing = says(lambda seen: ServerFailedError("down", status=503, retryable=False))
    verdicts = await judged(failing)
    assert [(verdict.state, verdict.value) for verdict in verdicts] == [("failed", None)] * 2
    assert verdicts[0].details["error"] == "down"


async def test_one_order_may_fail_alone() -> None:
    def half(seen: Shown) -> str | BaseException:
        if seen.candidates[0] == "good":
            return ServerFailedError("down", status=503, retryable=False)
        return seen.labels[1]

    verdicts = await judged(says(half))
    assert [(verdict.state, verdict.value) for verdict in verdicts] == [("ok", 1.0), ("failed", None)]


async def test_a_spent_budget_ends_the_run() -> None:
    judge = says(prefers_first())
    async with Runner(backends={"judge": judge}, budget=Budget(tokens=1)) as runner:
        bench = open_judge(JudgeSpec(), runner)
        with pytest.raises(BudgetExceededError):
            await bench.judge(item(), answer("good"), baseline("bad"))


async def test_a_pair_needs_another_answer() -> None:
    async with court(judge=says(prefers_first())) as bench:
        assert bench.needs_baseline
        with pytest.raises(UsageError, match="compares two answers: name a baseline"):
            await bench.judge(item(), answer("good"), None)
        failed = answer("good").model_copy(update={"state": "failed", "outputs": ()})
        with pytest.raises(UsageError, match="ensemble has no answer to 1"):
            await bench.judge(item(), failed, baseline("bad"))


# Juries


async def test_a_jury_is_averaged() -> None:
    good, first = says(for_text("good", BRACKETS)), says(prefers_first(BRACKETS))
    spec = JudgeSpec(graph="jury", models={"a": "one", "b": "two", "c": "three"}, order="fixed")
    async with court(spec, one=good, two=good, three=first) as bench:
        assert (bench.name, bench.calls(item())) == ("one + two + three", 3)
        [verdict] = await bench.judge(item(), answer("good"), baseline("bad"))
    assert verdict.value == pytest.approx(2 / 3)
    members = verdict.details["members"]
    assert isinstance(members, list)
    assert [(m["model"], m["state"], m["value"]) for m in members if isinstance(m, dict)] == [
        ("one", "ok", 0.0),
        ("two", "ok", 0.0),
        ("three", "ok", 1.0),
    ]
    assert verdict.spent.calls == 3


async def test_a_juror_who_says_nothing_readable_has_no_vote() -> None:
    good, silent = says(for_text("good", BRACKETS)), says(lambda seen: "Hm.")
    spec = JudgeSpec(graph="jury", models={"a": "one"}, model="silent", order="fixed")
    async with court(spec, one=good, silent=silent) as bench:
        [verdict] = await bench.judge(item(), answer("good"), baseline("bad"))
    assert (verdict.state, verdict.value) == ("ok", 1.0)
    async with court(spec.model_copy(update={"models": {}}), one=good, silent=silent) as bench:
        [verdict] = await bench.judge(item(), answer("good"), baseline("bad"))
    assert (verdict.state, verdict.value) == ("unparsed", None)


async def test_debaters_hear_each_other_and_vote() -> None:
    def swayed(seen: Shown) -> str:
        return BRACKETS.format(seen.labels[1] if "opinion of judge 1" in dict(seen.parts) else seen.labels[0])

    judge = says(swayed)
    spec = JudgeSpec(graph="judge-debate", order="fixed")
    async with court(spec, judge=judge) as bench:
        assert bench.calls(item()) == 6
        [verdict] = await bench.judge(item(), answer("good"), baseline("bad"))
    assert verdict.value == 1.0
    last = shown(judge.requests[-1])
    assert [heading for heading, _ in last.parts if heading.startswith("opinion")] == [
        f"opinion of judge {number}" for number in (1, 2, 3)
    ]


async def test_a_graph_beside_the_evaluation(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("nodes: {answer: {agent: judge-pairwise, model: a}}")
    async with Runner(backends={"judge": says(prefers_first())}) as runner:
        bench = open_judge(JudgeSpec(graph="./mine.yaml", order="fixed"), runner, near=tmp_path)
        [verdict] = await bench.judge(item(), answer("good"), baseline("bad"))
    assert verdict.value == 0.0


# What is no judge


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (JudgeSpec(agent="solver"), "reads a text, where a preference is wanted"),
        (JudgeSpec(kind="score", agent="judge-pairwise"), "reads a preference, where a score is wanted"),
        (JudgeSpec(graph="jury", kind="score"), "reads a preference, where a score is wanted"),
        (JudgeSpec(agent="judge-pairwize"), "unknown agent 'judge-pairwize'; did you mean `judge-pairwise`"),
    ],
)
async def test_what_cannot_judge_is_refused_at_once(spec: JudgeSpec, message: str) -> None:
    async with Runner() as runner:
        with pytest.raises((UsageError, SpecError), match=message):
            open_judge(spec, runner, model="sim:")


async def test_a_judge_must_show_what_it_judges(tmp_path: Path) -> None:
    (tmp_path / "blind.yaml").write_text("reads: preference\nsystem: Pick one.")
    async with Runner() as runner:
        with pytest.raises(UsageError, match="'blind' needs a `user` template"):
            open_judge(JudgeSpec(agent="./blind.yaml"), runner, model="sim:", near=tmp_path)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"agent": "a", "graph": "b"}, "takes `agent` or `graph`, not both"),
        ({"graph": "jury", "samples": 3}, "`samples` belongs to a single agent"),
        ({"labels": ["X", "X"]}, "the two labels must differ"),
        ({"scale": [10, 1]}, "`scale` is the lowest score, then the highest"),
    ],
)
def test_specifications_that_contradict_themselves(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        JudgeSpec.model_validate(fields)


async def test_the_fingerprint_changes_with_what_decides() -> None:
    specs = [
        JudgeSpec(),
        JudgeSpec(agent="judge-weighted"),
        JudgeSpec(order="seeded"),
        JudgeSpec(labels=("m", "M")),
        JudgeSpec(samples=2),
    ]
    async with Runner() as runner:
        marks = [open_judge(spec, runner, model="sim:").fingerprint for spec in specs]
        marks.append(open_judge(JudgeSpec(), runner, model="sim:skill=1").fingerprint)
        marks.append(open_judge(JudgeSpec(), runner, model="sim:", seed=1).fingerprint)
        assert open_judge(JudgeSpec(), runner, model="sim:").fingerprint == marks[0]
    assert len(set(marks)) == 7


async def test_a_simulated_judge_gives_verdicts() -> None:
    async with Runner() as runner:
        for agent in ("judge-pairwise", "judge-reasoned", "judge-grades", "judge-arena"):
            judge = open_judge(JudgeSpec(agent=agent), runner, model="sim:skill=0.7")
            verdicts = await judge.judge(item(), answer("The answer is 4711."), baseline("The answer is 5."))
            assert [verdict.state for verdict in verdicts] == ["ok", "ok"]
