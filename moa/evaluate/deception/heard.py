"""What became of one entrant's answers: the option that was read, who was heard at the last step, and why some failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from moa.evaluate.folder import Folder
from moa.evaluate.records import Answer, Verdict

LONGEST_REASON = 160


@dataclass(slots=True)
class Column:
    """One entrant, question by question."""

    picks: dict[str, str | None] = field(default_factory=dict)
    """What was read from the answer to each question that was judged; None where nothing could be."""
    scores: dict[str, float] = field(default_factory=dict)
    """What each answer is worth, by the mean of its verdicts; what could not be read is worth nothing where it is held against a right one."""
    heard: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """The nodes whose words the last step heard, or picked where it selects."""
    selects: bool = False
    """Whether the last step hands on what others said."""
    exact: bool = False
    """Whether answers are held against right ones."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Why answers or verdicts failed."""


def read_column(folder: Folder, entrant: str) -> Column:
    """Read the answers of an entrant and the verdicts on them, line by line."""
    column = Column()
    for answer in folder.answers(entrant):
        _note_answer(column, answer)
    for item, verdicts in groupby(folder.verdicts(entrant), key=lambda verdict: verdict.item):
        _note_verdicts(column, item, list(verdicts))
    return column


def _note_answer(column: Column, answer: Answer) -> None:
    if answer.state == "failed":
        column.reasons[_short(answer.error or "no reason given")] += 1
    elif answer.nodes:
        last = max(node.get("turn", 0) for node in answer.nodes)
        nodes = [node for node in answer.nodes if node.get("turn", 0) == last]
        column.heard[answer.item] = last_heard(nodes)
        column.selects = column.selects or bool(nodes[-1].get("chosen"))


def _note_verdicts(column: Column, item: str, verdicts: Sequence[Verdict]) -> None:
    first = verdicts[0]
    values = [verdict.value for verdict in verdicts if verdict.state == "ok" and verdict.value is not None]
    if first.kind == "correct":
        column.exact = True
        said = first.details.get("extracted")
        column.picks[item] = said if isinstance(said, str) else None
        column.scores[item] = values[0] if values else 0.0
    elif len(values) == len(verdicts):
        column.scores[item] = sum(values) / len(values)
    for verdict in verdicts:
        if verdict.state == "failed" and first.kind != "correct":
            column.reasons[_short(str(verdict.details.get("error") or verdict.text))] += 1


def last_heard(nodes: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The nodes that the answering one, which is the last, picked or heard; a selector stands for those it chose."""
    by_id = {str(node["id"]): node for node in nodes}
    answering = nodes[-1]
    if chosen := answering.get("chosen"):
        return tuple(map(str, chosen))
    return tuple(dict.fromkeys(_authors(answering.get("references") or (), by_id)))


def _authors(ids: Iterable[Any], by_id: Mapping[str, Mapping[str, Any]]) -> Iterable[str]:
    for reference in map(str, ids):
        yield from map(str, by_id.get(reference, {}).get("chosen") or (reference,))


def _short(reason: str) -> str:
    first = " ".join(reason.split("\n", 1)[0].split())
    return first if len(first) <= LONGEST_REASON else f"{first[: LONGEST_REASON - 1]}…"
