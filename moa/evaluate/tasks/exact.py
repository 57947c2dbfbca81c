"""Exact match: what an answer says, read from its text and compared with the right one."""

from __future__ import annotations

from moa.evaluate.records import Answer, Item, Verdict
from moa.spec.evaluation import AnswerSpec


def check_answer(spec: AnswerSpec, item: Item, answer: Answer) -> Verdict:
    """Whether an answer is right: 1 or 0, or `unparsed` where nothing could be read from it."""
    if answer.state == "failed":
        return Verdict(
            item=item.id,
            entrant=answer.entrant,
            kind="correct",
            judge="exact",
            state="failed",
            text=answer.error or "",
        )
    said, expected = answer.output.strip(), item.answer or ""
    return Verdict(
        item=item.id,
        entrant=answer.entrant,
        kind="correct",
        judge="exact",
        state="ok" if said else "unparsed",
        value=float(said == expected) if said else None,
        method="text",
        details={"extracted": said, "expected": expected},
    )
