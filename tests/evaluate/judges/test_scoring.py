"""Scores: a verdict for each turn, with what went before in sight."""

from __future__ import annotations

import pytest

from moa.evaluate.records import Verdict
from moa.spec.evaluation import JudgeSpec
from tests.support.backends import Scripted
from tests.support.court import Shown, answer, court, item, says, shown

SCORE = JudgeSpec(kind="score")


async def scored(judge: Scripted, spec: JudgeSpec = SCORE, *outputs: str) -> list[Verdict]:
    async with court(spec, judge=judge) as bench:
        return await bench.judge(item(), answer(*(outputs or ("because",))), None)


async def test_a_grade_is_read_from_its_brackets() -> None:
    [verdict] = await scored(says(lambda seen: "It says 3 of 5 things.\nGrade: [[8]]"))
    assert (verdict.kind, verdict.state, verdict.value, verdict.turn) == ("score", "ok", 8.0, 0)


@pytest.mark.parametrize(("said", "value"), [("[[7.5]]", 7.5), ("[[ 9/10 ]]", 9.0), ("[[2]] no, [[3]]", 3.0)])
async def test_forms_of_a_grade(said: str, value: float) -> None:
    [verdict] = await scored(says(lambda seen: said))
    assert verdict.value == value


@pytest.mark.parametrize(
    ("said", "state"),
    [
        ("Grade: 8", "unparsed"),
        ("[[11]]", "unparsed"),
        ("[[0]]", "unparsed"),
        ("I can't grade that.", "refused"),
    ],
)
async def test_what_is_not_on_the_scale_is_no_grade(said: str, state: str) -> None:
    [verdict] = await scored(says(lambda seen: said))
    assert (verdict.state, verdict.value, verdict.text) == (state, None, said)


async def test_the_scale_is_the_evaluations() -> None:
    judge = says(lambda seen: "[[0]]")
    [verdict] = await scored(judge, JudgeSpec(kind="score", scale=(0, 5)))
    assert verdict.value == 0.0
    assert "0 is useless" in shown(judge.requests[0]).prompt
    assert "5 could not be better" in shown(judge.requests[0]).prompt


async def test_the_second_turn_is_judged_in_sight_of_the_first() -> None:
    def by_turn(seen: Shown) -> str:
        return "[[9]]" if len(seen.parts) > 3 else "[[4]]"

    judge = says(by_turn)
    asked = item("One?", "Two?", references=("ref one", "ref two"))
    async with court(SCORE, judge=judge) as bench:
        assert (bench.calls(asked), bench.needs_baseline) == (2, False)
        verdicts = await bench.judge(asked, answer("a1", "a2"), None)
    assert [(verdict.turn, verdict.value) for verdict in verdicts] == [(0, 4.0), (1, 9.0)]
    first, second = sorted((shown(request).parts for request in judge.requests), key=len)
    assert first == (("instruction", "One?"), ("reference answer", "ref one"), ("response", "a1"))
    assert second == (
        ("earlier turn of the user", "One?"),
        ("earlier turn of the assistant", "a1"),
        ("instruction", "Two?"),
        ("reference answer", "ref two"),
        ("response", "a2"),
    )


async def test_a_checklist_is_shown() -> None:
    judge = says(lambda seen: "[[5]]")
    async with court(SCORE, judge=judge) as bench:
        await bench.judge(item(checklist=("Is it true?", "Is it short?")), answer("yes"), None)
    assert shown(judge.requests[0]).part("questions to check") == "1. Is it true?\n2. Is it short?"


async def test_samples_of_a_score_are_averaged() -> None:
    grades = iter(["[[4]]", "[[7]]"])

    class Wavering(Scripted):
        """Gives another grade for each sample."""

        async def _answer(self, request, emit):  # type: ignore[no-untyped-def]
            completion = await super()._answer(request, emit)
            choices = tuple(type(each)(next(grades), "stop", usage=each.usage) for each in completion.choices)
            return type(completion)(choices, "scripted")

    [verdict] = await scored(Wavering(), JudgeSpec(kind="score", samples=2))
    assert verdict.value == 5.5
