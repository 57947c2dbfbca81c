"""The verdicts on one answer: exact match, or a judge who may compare it with the baseline's."""

from __future__ import annotations

from collections.abc import Sequence

from moa.errors import MoaError
from moa.evaluate.judges.base import Judge
from moa.evaluate.records import Answer, Item, Verdict
from moa.evaluate.tasks import check_answer
from moa.run.execution import FATAL
from moa.spec.evaluation import AnswerSpec

EXACT = "exact"
"""The judge's name where answers are checked without one."""


class Referee:
    """Judges answers in the way that the evaluation asks for."""

    def __init__(
        self, exact: AnswerSpec | None, judge: Judge | None, needs_baseline: bool | None = None
    ) -> None:
        self.exact = exact
        self.judge = judge
        asked = judge is not None and judge.needs_baseline
        self.needs_baseline = asked if needs_baseline is None else needs_baseline
        """Whether answers are compared with the baseline's; by default the judge says it."""

    async def verdicts(self, item: Item, answer: Answer, against: Answer | None) -> tuple[Verdict, ...]:
        """Every verdict on an answer, at least one; `against` is the baseline's answer, where one is needed.

        An answer that failed, or whose baseline failed, has the verdict `failed`, and nobody is asked.
        """
        if self.exact is not None:
            return _counted([check_answer(self.exact, item, answer)])
        assert self.judge is not None
        missing = _missing(answer, against)
        if missing is not None:
            return (self._failed(item, answer, against, missing),)
        try:
            found = await self.judge.judge(item, answer, against)
        except FATAL:
            raise
        except MoaError as error:
            return (self._failed(item, answer, against, f"{type(error).__name__}: {error}"),)
        return _counted(found)

    def _failed(self, item: Item, answer: Answer, against: Answer | None, why: str) -> Verdict:
        assert self.judge is not None
        return Verdict(
            item=item.id,
            entrant=answer.entrant,
            kind=self.judge.kind,
            judge=self.judge.name,
            state="failed",
            against=against.entrant if against is not None else None,
            text=why,
        )


def _missing(answer: Answer, against: Answer | None) -> str | None:
    """Why nothing can be judged."""
    for each in (answer, against):
        if each is not None and each.state == "failed":
            return f"{each.entrant} has no answer: {each.error}"
    return None


def _counted(verdicts: Sequence[Verdict]) -> tuple[Verdict, ...]:
    """Verdicts of one answer, each saying how many they are."""
    if not verdicts:
        raise MoaError("the judge gave no verdict at all")
    return tuple(verdict.model_copy(update={"of": len(verdicts)}) for verdict in verdicts)
