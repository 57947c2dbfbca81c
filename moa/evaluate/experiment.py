"""Running an experiment: every item to every entrant, every answer to the judge, all of it resumable."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, aclosing
from dataclasses import dataclass, field
from typing import NamedTuple

from moa.errors import UsageError
from moa.evaluate.answering import ask
from moa.evaluate.entrants import Contender
from moa.evaluate.folder import Folder
from moa.evaluate.journal import Journal
from moa.evaluate.judging import Referee
from moa.evaluate.records import Answer, Item, Verdict
from moa.run.batch import Progress
from moa.run.execution import first_of
from moa.run.flow import LOOKAHEAD, InOrder, as_done
from moa.run.runner import Runner

IN_FLIGHT = 64
"""Items under way at once, each with all entrants."""


class Recorded(NamedTuple):
    """What is recorded of one entrant about one item."""

    answer: Answer | None
    verdicts: tuple[Verdict, ...]


class Case(NamedTuple):
    """One item and what is known about it before it is asked."""

    number: int
    item: Item
    recorded: Mapping[str, Recorded]
    baseline: Answer | None
    """The baseline's answer where it is recorded and the baseline does not take part now."""


class Outcome(NamedTuple):
    """What is to be written about one entrant and one item, and which of it the files have already."""

    answer: Answer
    verdicts: tuple[Verdict, ...]
    answered: bool
    judged: bool


class Finished(NamedTuple):
    """A case that is done."""

    number: int
    outcomes: Mapping[str, Outcome]


class _Files(NamedTuple):
    answers: Journal[Answer]
    verdicts: Journal[Verdict] | None
    """None for the baseline, which is not judged."""


@dataclass(slots=True)
class Trials:
    """Runs the items of a folder through entrants and a referee.

    `baseline` names the entrant, or the recorded outputs, that answers are compared with. With `retry` what
    failed before is asked again, and judged again where the answer or the baseline's answer is a new one.
    """

    runner: Runner
    folder: Folder
    contenders: Sequence[Contender]
    referee: Referee
    baseline: str | None = None
    recorded_baseline: bool = False
    """Whether the baseline's outputs come with the items."""
    in_flight: int = IN_FLIGHT
    retry: bool = False
    progress: Progress = field(default_factory=Progress)
    report: Callable[[Progress], None] | None = None
    lookahead: int = LOOKAHEAD

    async def run(self) -> Progress:
        """Ask and judge everything that the folder does not have yet; then write the outputs for AlpacaEval.

        Raises what ends a run: a spent budget, a broken store, a user's mistake. What is recorded until then
        stays, and the next run goes on from there.
        """
        with ExitStack() as stack:
            files = {each.name: self._open_files(each.name, stack) for each in self.contenders}
            other = self._other_baseline(stack)

            def write(done: Finished) -> None:
                # The baseline first: no verdict stands without the answer that it compares with.
                for name in sorted(done.outcomes, key=lambda name: name != self.baseline):
                    _write(files[name], done.outcomes[name])

            async with InOrder(write, self.runner.store, lookahead=self.lookahead) as lines:
                cases = self._cases(files, other, lines)
                async with aclosing(as_done(cases, self._work, self.in_flight)) as finished:
                    async for done in finished:
                        lines.done(done.number, done)
                        if lines.broken:
                            break
        for contender in self.contenders:
            self.folder.write_outputs(contender.name)
        return self.progress

    def _open_files(self, name: str, stack: ExitStack) -> _Files:
        answers = Journal(self.folder.answers_path(name), Answer, anew=self.retry)
        judged = not (self.referee.needs_baseline and name == self.baseline)
        verdicts = Journal(self.folder.verdicts_path(name), Verdict, anew=self.retry) if judged else None
        return _Files(stack.enter_context(answers), stack.enter_context(verdicts) if verdicts else None)

    def _other_baseline(self, stack: ExitStack) -> Iterator[Answer] | None:
        """The recorded answers of a baseline that takes no part in this run."""
        names = {contender.name for contender in self.contenders}
        if not self.referee.needs_baseline or self.recorded_baseline or self.baseline in names:
            return None
        assert self.baseline is not None
        return self.folder.answers(self.baseline)

    async def _cases(
        self, files: Mapping[str, _Files], other: Iterator[Answer] | None, lines: InOrder[Finished]
    ) -> AsyncIterator[Case]:
        """The items about which something is missing, no further ahead than memory should hold."""
        for number, item in enumerate(self.folder.items()):
            recorded = {name: _recorded(each, item) for name, each in files.items()}
            case = Case(number, item, recorded, self._baseline_answer(item, other))
            if not self.retry and all(_complete(each, recorded[name]) for name, each in files.items()):
                self.progress.reused += len(self.contenders)
                lines.done(number, None)
                continue
            await lines.room(number)
            yield case

    def _baseline_answer(self, item: Item, other: Iterator[Answer] | None) -> Answer | None:
        if self.recorded_baseline:
            return Answer(item=item.id, entrant=self.baseline or "", state="ok", outputs=item.baseline)
        if other is None:
            return None
        answer = next(other, None)
        if answer is None or answer.item != item.id:
            raise UsageError(
                f"the baseline {self.baseline} has no answer to the item {item.id!r}: name its graph too"
            )
        return answer

    async def _work(self, case: Case) -> Finished:
        """Ask all entrants at once; each is judged as soon as its answer and the baseline's are there."""
        try:
            async with asyncio.TaskGroup() as group:
                answers = {
                    contender.name: group.create_task(self._answer(case, contender))
                    for contender in self.contenders
                }
                outcomes = {name: group.create_task(self._outcome(case, name, answers)) for name in answers}
        except BaseExceptionGroup as failures:
            raise first_of(failures) from None
        return Finished(case.number, {name: task.result() for name, task in outcomes.items()})

    async def _answer(self, case: Case, contender: Contender) -> Answer:
        known = self._known(case, contender.name)
        if known is not None:
            self.progress.reused += 1
            return known
        answer = await ask(self.runner, contender, case.item)
        self.progress.answered += answer.state == "ok"
        self.progress.failed += answer.state == "failed"
        self.progress.warned += bool(answer.warnings)
        self._tell()
        return answer

    async def _outcome(self, case: Case, name: str, answers: Mapping[str, Awaitable[Answer]]) -> Outcome:
        answer = await answers[name]
        answered = case.recorded[name].answer is answer
        if self.referee.needs_baseline and name == self.baseline:
            return Outcome(answer, (), answered, judged=True)
        against, unchanged = await self._against(case, answers)
        recorded = case.recorded[name].verdicts
        if recorded and (not self.retry or (answered and unchanged and not _failed(recorded))):
            return Outcome(answer, recorded, answered, judged=True)
        verdicts = await self.referee.verdicts(case.item, answer, against)
        self._tell()
        return Outcome(answer, verdicts, answered, judged=False)

    async def _against(
        self, case: Case, answers: Mapping[str, Awaitable[Answer]]
    ) -> tuple[Answer | None, bool]:
        """The baseline's answer, and whether it is the one that recorded verdicts are about."""
        if not self.referee.needs_baseline:
            return None, True
        assert self.baseline is not None
        if self.baseline not in answers:
            return case.baseline, True
        answer = await answers[self.baseline]
        return answer, case.recorded[self.baseline].answer is answer

    def _known(self, case: Case, name: str) -> Answer | None:
        answer = case.recorded[name].answer
        return None if answer is not None and self.retry and answer.state == "failed" else answer

    def _tell(self) -> None:
        ledger = self.runner.ledger
        self.progress.tokens, self.progress.cost = ledger.usage.total_tokens, ledger.usd
        if self.report:
            self.report(self.progress)


def _recorded(files: _Files, item: Item) -> Recorded:
    answers = files.answers.recorded(item.id)
    verdicts = files.verdicts.recorded(item.id) if files.verdicts else ()
    return Recorded(answers[0] if answers else None, verdicts)


def _complete(files: _Files, recorded: Recorded) -> bool:
    return recorded.answer is not None and (files.verdicts is None or bool(recorded.verdicts))


def _failed(verdicts: Sequence[Verdict]) -> bool:
    return any(verdict.state == "failed" for verdict in verdicts)


def _write(files: _Files, outcome: Outcome) -> None:
    files.answers.write((outcome.answer,), known=outcome.answered)
    if files.verdicts is not None:
        files.verdicts.write(outcome.verdicts, known=outcome.judged)
