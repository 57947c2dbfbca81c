"""A checklist for an instruction, and how much of it an answer fulfils."""

from __future__ import annotations

import re
from collections.abc import Sequence
from statistics import fmean

from pydantic import JsonValue

from moa.evaluate.judges import showing
from moa.evaluate.judges.base import JudgedKind, VerdictState, all_of, check_answered
from moa.evaluate.judges.panel import Panel, Ruling, fingerprint
from moa.evaluate.judges.refusal import is_refusal
from moa.evaluate.records import Answer, Item, Spent, Verdict

FEWEST, MOST = 2, 8
"""Questions of a checklist that an agent writes (Cook et al. 2024, arXiv:2410.03608)."""
YES_NO = ["YES", "NO"]
_QUESTION = re.compile(
    r"^[ \t]{0,8}(?:[-*•]|\(?\d{1,2}[.):])[ \t]{0,8}(\S.{0,1000}\?)[\s*_`\"]{0,8}$", re.MULTILINE
)
_DRESS = '*_`" \t'


class ChecklistJudge:
    """Asks YES/NO questions about an answer, each for itself; the value is the share of YES (TICK).

    The questions are the item's own, or written by an agent that sees the instruction alone, so all entrants
    answer to the same ones. Of several turns the last is judged, the others are history.

    Args:
        panel: who answers; its agents read a `preference` between YES and NO.
        writer: who writes the questions of an item that brings none.
        seed: for fences.
    """

    kind: JudgedKind = "checklist"
    needs_baseline = False

    def __init__(self, panel: Panel, writer: Panel, *, seed: int = 0) -> None:
        self.panel = panel
        self.writer = writer
        self.seed = seed
        self.name = panel.name
        self.fingerprint = fingerprint(
            "checklist", panel.plan.fingerprint, writer.plan.fingerprint, FEWEST, MOST, seed
        )

    def calls(self, item: Item) -> int:
        """One question to the panel for each on the list; for one that is still to be written, at most."""
        if item.checklist:
            return len(item.checklist) * self.panel.calls
        return self.writer.calls + MOST * self.panel.calls

    async def judge(self, item: Item, answer: Answer, against: Answer | None) -> list[Verdict]:
        """One verdict; its `details` hold every question with its answer."""
        check_answered(answer)
        questions, written = item.checklist, None
        if not questions:
            written = await self._write(item)
            questions = read_questions(written.text) if written.state == "ok" else ()
            if len(questions) < FEWEST:
                return [self._unwritten(item, answer, written)]
        rulings = await all_of(self._check(item, answer, question) for question in questions)
        return [self._verdict(item, answer, questions, rulings, written)]

    async def _write(self, item: Item) -> Ruling:
        last = len(item.turns) - 1
        return await self.writer.ask(item.turns[last], showing.instruction(item, last, self.seed))

    async def _check(self, item: Item, answer: Answer, question: str) -> Ruling:
        last = len(answer.outputs) - 1
        given = showing.turn(item, answer, last, self.seed)
        return await self.panel.ask(
            item.turns[last], given | {"labels": YES_NO, "question_to_check": question}
        )

    def _unwritten(self, item: Item, answer: Answer, written: Ruling) -> Verdict:
        """There is no checklist, so there is nothing to answer."""
        state: VerdictState = written.state
        if state == "ok":
            state = "refused" if is_refusal(written.text) else "unparsed"
        return Verdict(
            item=item.id,
            entrant=answer.entrant,
            kind="checklist",
            judge=self.name,
            state=state,
            turn=len(answer.outputs) - 1,
            text=written.text,
            details={**written.details, "checklist": []},
            spent=written.spent,
        )

    def _verdict(
        self,
        item: Item,
        answer: Answer,
        questions: Sequence[str],
        rulings: Sequence[Ruling],
        written: Ruling | None,
    ) -> Verdict:
        passed = [_passed(ruling) for ruling in rulings]
        points: list[JsonValue] = [
            _point(question, ruling, fulfilled)
            for question, ruling, fulfilled in zip(questions, rulings, passed, strict=True)
        ]
        state = _state(rulings)
        methods = {ruling.method for ruling in rulings if ruling.method}
        return Verdict(
            item=item.id,
            entrant=answer.entrant,
            kind="checklist",
            judge=self.name,
            state=state,
            value=fmean(each for each in passed if each is not None) if state == "ok" else None,
            turn=len(answer.outputs) - 1,
            text="\n".join(_line(question, each) for question, each in zip(questions, passed, strict=True)),
            method=methods.pop() if len(methods) == 1 else None,
            details={"checklist": points, "written": written is not None},
            spent=sum((ruling.spent for ruling in rulings), written.spent if written else Spent()),
        )


def read_questions(text: str) -> tuple[str, ...]:
    """The numbered or listed questions of a reply, each once, at most eight."""
    found = (question.strip(_DRESS) for question in _QUESTION.findall(text.rpartition("</think>")[2]))
    return tuple(dict.fromkeys(found))[:MOST]


def _passed(ruling: Ruling) -> bool | None:
    """Whether the answer is YES; None where there is none."""
    return None if ruling.value is None else float(ruling.value) > 0.5


def _state(rulings: Sequence[Ruling]) -> VerdictState:
    """Failed where any call failed (it may be asked again); else what was read counts, if anything was."""
    states = [ruling.state for ruling in rulings]
    for state in ("failed", "ok", "refused"):
        if state in states:
            return state
    return "unparsed"


def _point(question: str, ruling: Ruling, passed: bool | None) -> dict[str, JsonValue]:
    return {
        "question": question,
        "passed": passed,
        "state": ruling.state,
        "probability": None if ruling.value is None else float(ruling.value),
        "text": ruling.text,
    }


def _line(question: str, passed: bool | None) -> str:
    answers = {True: "YES", False: "NO", None: "unread"}
    return f"{answers[passed]}: {question}"
