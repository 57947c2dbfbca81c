"""Checklists: written once for an instruction, answered point by point."""

from __future__ import annotations

from typing import Any

import pytest

from moa.errors import ServerFailedError
from moa.evaluate.judges.checklist import read_questions
from moa.evaluate.records import Verdict
from moa.spec.evaluation import JudgeSpec
from tests.support.court import Say, Shown, answer, court, item, says, shown

CHECKLIST = JudgeSpec(kind="checklist")
WRITTEN = "1. Is it true?\n2. Is it short?\n3. Is it kind?"


def checks(yes: str) -> Say:
    """Writes three questions, and says yes to those that hold this word."""

    def say(seen: Shown) -> str:
        headings = dict(seen.parts)
        if "question" not in headings:
            return WRITTEN
        return "Well.\n[[YES]]" if yes in headings["question"] else "Well.\n[[NO]]"

    return say


async def checked(say: Say, **fields: Any) -> Verdict:
    async with court(CHECKLIST, judge=says(say)) as bench:
        [verdict] = await bench.judge(item(**fields), answer("because"), None)
    return verdict


def points(verdict: Verdict) -> list[Any]:
    found = verdict.details["checklist"]
    assert isinstance(found, list)
    return found


async def test_the_value_is_the_share_of_points_that_are_met() -> None:
    verdict = await checked(checks("short"), checklist=("Is it short?", "Is it true?"))
    assert (verdict.kind, verdict.state, verdict.value) == ("checklist", "ok", 0.5)
    assert [(point["question"], point["passed"]) for point in points(verdict)] == [
        ("Is it short?", True),
        ("Is it true?", False),
    ]
    assert verdict.details["written"] is False
    assert verdict.text == "YES: Is it short?\nNO: Is it true?"
    assert verdict.spent.calls == 2


async def test_an_item_without_a_checklist_gets_one_from_its_instruction_alone() -> None:
    judge = says(checks("short"))
    async with court(CHECKLIST, judge=judge) as bench:
        assert bench.calls(item()) == 1 + 8
        assert bench.calls(item(checklist=("Is it?",))) == 1
        assert not bench.needs_baseline
        [first] = await bench.judge(item(), answer("because", entrant="x"), None)
        [second] = await bench.judge(item(), answer("why not", entrant="y"), None)
    assert first.value == second.value == pytest.approx(1 / 3)
    assert first.details["written"] is True
    assert first.spent.calls == 1 + 3
    writing = [request for request in judge.requests if "Write between two" in shown(request).prompt]
    assert writing[0].messages == writing[1].messages
    assert "because" not in shown(writing[0]).prompt


async def test_a_point_that_cannot_be_read_does_not_count() -> None:
    def say(seen: Shown) -> str:
        return "[[maybe]]" if "true" in seen.part("question") else "[[YES]]"

    verdict = await checked(say, checklist=("Is it true?", "Is it short?"))
    assert (verdict.state, verdict.value) == ("ok", 1.0)
    assert [(point["passed"], point["state"]) for point in points(verdict)] == [
        (None, "unparsed"),
        (True, "ok"),
    ]


@pytest.mark.parametrize(
    ("said", "state"), [("Hm.", "unparsed"), ("I'm sorry, but I can't evaluate this.", "refused")]
)
async def test_where_no_point_can_be_read_there_is_no_value(said: str, state: str) -> None:
    verdict = await checked(lambda seen: said, checklist=("Is it true?", "Is it short?"))
    assert (verdict.state, verdict.value) == (state, None)


async def test_a_call_that_fails_fails_the_verdict() -> None:
    def say(seen: Shown) -> str | BaseException:
        if "true" in seen.part("question"):
            return ServerFailedError("down", status=503, retryable=False)
        return "[[YES]]"

    verdict = await checked(say, checklist=("Is it true?", "Is it short?"))
    assert (verdict.state, verdict.value) == ("failed", None)
    assert [point["passed"] for point in points(verdict)] == [None, True]


@pytest.mark.parametrize(
    ("said", "state"),
    [("1. Only one?", "unparsed"), ("Sure!", "unparsed"), ("I can't help with that.", "refused")],
)
async def test_without_a_checklist_nothing_is_checked(said: str, state: str) -> None:
    verdict = await checked(lambda seen: said)
    assert (verdict.state, verdict.value, verdict.text) == (state, None, said)
    assert verdict.spent.calls == 1


async def test_a_writer_that_fails_fails_the_verdict() -> None:
    verdict = await checked(lambda seen: ServerFailedError("down", status=503, retryable=False))
    assert (verdict.state, verdict.details["error"]) == ("failed", "down")


@pytest.mark.parametrize(
    ("text", "questions"),
    [
        (WRITTEN, ("Is it true?", "Is it short?", "Is it kind?")),
        ("Here they are:\n- **Is it true?**\n* Is it short?\n\nGood luck!", ("Is it true?", "Is it short?")),
        ("(1) A?\n2) B?\n2) B?", ("A?", "B?")),
        ("<think>1. No?</think>\n1. Yes?", ("Yes?",)),
        ("Is it true?\nIs it short?", ()),
        (
            "\n".join(f"{number}. Is it {number}?" for number in range(20)),
            tuple(f"Is it {n}?" for n in range(8)),
        ),
    ],
)
def test_questions_are_read_from_a_list(text: str, questions: tuple[str, ...]) -> None:
    assert read_questions(text) == questions


async def test_the_last_of_several_turns_is_checked() -> None:
    judge = says(checks("short"))
    async with court(CHECKLIST, judge=judge) as bench:
        [verdict] = await bench.judge(
            item("One?", "Two?", checklist=("Is it short?",)), answer("a1", "a2"), None
        )
    assert verdict.turn == 1
    assert shown(judge.requests[0]).part("response") == "a2"
    assert shown(judge.requests[0]).part("earlier turn of the assistant") == "a1"
