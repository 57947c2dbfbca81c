"""What every judge is, whoever sits on it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, Literal, Protocol, TypeVar

from moa.errors import UsageError
from moa.evaluate.records import Answer, Item, Verdict
from moa.evaluate.records import VerdictState as VerdictState

JudgedKind = Literal["preference", "score", "checklist"]
T = TypeVar("T")
VERSION = 1
"""Of the way in which prompts are laid out and replies are read; part of every judge's fingerprint."""


class Judge(Protocol):
    """Gives verdicts on answers; what it asks goes through the runner that it was opened with."""

    name: str
    """What the report calls it: the judging model, or all of them."""
    fingerprint: str
    """Changes with the prompts, the models, the order and the version of the reading."""
    kind: JudgedKind
    needs_baseline: bool
    """Whether an answer is judged against another."""

    def calls(self, item: Item) -> int:
        """How many requests the verdicts on one answer to `item` take, at most."""
        ...

    async def judge(self, item: Item, answer: Answer, against: Answer | None) -> list[Verdict]:
        """The verdicts on `answer`: one a judgment, so two for a pair in both orders, one a turn for scores.

        What a judge could not do is the state of a verdict without a value. Raises what ends a whole run:
        a spent budget, a broken store, a user's mistake.
        """
        ...


def check_answered(answer: Answer) -> None:
    """Refuse to judge an answer that is not there; whoever asks for verdicts leaves those out."""
    if answer.state != "ok" or not answer.outputs:
        raise UsageError(f"{answer.entrant} has no answer to {answer.item}, so there is nothing to judge")


def opponent(judge: Judge, against: Answer | None) -> Answer:
    """The other answer of a pair; raises `UsageError` where it is missing."""
    if against is None:
        raise UsageError(f"the judge {judge.name} compares two answers: name a baseline")
    check_answered(against)
    return against


async def all_of(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """The results of all, asked side by side; the first error of any of them ends all."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in work]
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]
