"""One pass over an experiment's folder: a sample of its questions with all that was said, and what went wrong."""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple

from moa.evaluate.folder import Folder
from moa.evaluate.records import Answer, Experiment, Item, Spent, Verdict

MOST_ITEMS = 2_000
"""Questions whose texts are in the page; of more, a sample."""
MOST_FAILURES = 200
"""Failures of an entrant that are listed one by one; more are counted."""


class Failure(NamedTuple):
    """An answer or a verdict that is none, and why."""

    item: str
    entrant: str
    what: str
    """`answer`, or the state of the verdict: `refused`, `unparsed`, `failed`."""
    reason: str


class Asked(NamedTuple):
    """A sampled question and its place among all."""

    place: int
    item: Item


@dataclass(slots=True)
class Record:
    """What is known about one entrant."""

    answers: dict[str, Answer] = field(default_factory=dict)
    """Of the sampled questions, as are the verdicts."""
    verdicts: dict[str, list[Verdict]] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How often each kind of failure had each reason, those included that are not listed."""
    warnings: Counter[str] = field(default_factory=Counter)
    asked: int = 0
    """How many questions have an answer, or have failed."""
    spent: Spent = field(default_factory=Spent)
    judging: Spent = field(default_factory=Spent)
    """What the verdicts took."""


@dataclass(frozen=True, slots=True)
class Survey:
    """The sampled questions in the order that they were drawn in, and a record for each entrant."""

    total: int
    sample: tuple[Asked, ...]
    groups: dict[str, int]
    """How many of all questions belong to each group; empty where none names one."""
    records: dict[str, Record]


def survey(folder: Folder, experiment: Experiment, most: int = MOST_ITEMS) -> Survey:
    """Read the folder once, line by line; memory grows with the sample, not with the experiment.

    The sample are the `most` questions whose names have the smallest hashes: the same ones each time, and those of
    a smaller sample are in every larger one.
    """
    groups: Counter[str] = Counter()
    total = 0

    def counted() -> Iterator[Asked]:
        nonlocal total
        for place, item in enumerate(folder.items()):
            total += 1
            groups[item.group] += 1
            yield Asked(place, item)

    asked = counted()
    sample = tuple(heapq.nsmallest(most, asked, key=lambda one: (_hash(one.item.id), one.place)))
    deque(asked, maxlen=0)  # A sample of none reads none, and all are to be counted.
    wanted = {asked.item.id for asked in sample}
    records = {entrant.name: _record(folder, entrant.name, wanted) for entrant in experiment.entrants}
    named = dict(sorted(groups.items())) if set(groups) - {""} else {}
    return Survey(total, sample, named, records)


def _hash(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def _record(folder: Folder, entrant: str, wanted: set[str]) -> Record:
    record = Record()
    for answer in folder.answers(entrant):
        if answer.item in wanted:
            record.answers[answer.item] = answer
        record.warnings.update(answer.warnings)
        record.asked += 1
        record.spent += answer.spent
        if answer.state != "ok":
            _note(record, Failure(answer.item, entrant, "answer", answer.error or "no reason given"))
    for verdict in folder.verdicts(entrant):
        if verdict.item in wanted:
            record.verdicts.setdefault(verdict.item, []).append(verdict)
        record.judging += verdict.spent
        if verdict.state != "ok":
            _note(record, Failure(verdict.item, entrant, verdict.state, _why(verdict)))
    return record


def _why(verdict: Verdict) -> str:
    """The error or what the judge wrote instead of a verdict."""
    said = verdict.details.get("error") or verdict.text or "the judge wrote nothing"
    return str(said)


def _note(record: Record, failure: Failure) -> None:
    if len(record.failures) < MOST_FAILURES:
        record.failures.append(failure)
    record.reasons[failure.what, _kind(failure)] += 1


def _kind(failure: Failure) -> str:
    """What failures have in common: an error's class and its first words."""
    if failure.what in ("refused", "unparsed"):
        return "in the judge's own words below"
    first = failure.reason.split("\n", 1)[0]
    return first if len(first) <= 120 else f"{first[:119]}…"


def values(verdicts: Iterable[Verdict]) -> list[float]:
    """The values of those verdicts that have one."""
    return [verdict.value for verdict in verdicts if verdict.state == "ok" and verdict.value is not None]


def disagree(verdicts: Iterable[Verdict]) -> bool:
    """Whether a judge preferred the entrant in one order and the other side in the other order."""
    sides: dict[tuple[str, int, str | None], set[tuple[bool, bool]]] = {}
    for verdict in verdicts:
        if verdict.kind == "preference" and verdict.value is not None and verdict.value != 0.5:
            key = (verdict.judge, verdict.turn, verdict.against)
            sides.setdefault(key, set()).add((verdict.swapped, verdict.value > 0.5))
    return any(
        (True, won) in seen and (False, not won) in seen for seen in sides.values() for won in (True, False)
    )
