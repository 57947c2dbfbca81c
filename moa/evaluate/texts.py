"""What only the texts tell: who wins without answering, and how much an entrant's drafts differ."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from moa.evaluate.folder import Folder
from moa.evaluate.numbers.diversity import ngram_kernel, vendi_score
from moa.evaluate.numbers.intervals import Estimate, bounded_mean
from moa.evaluate.numbers.suspicion import Entrant, suspicions
from moa.evaluate.records import Answer, Item
from moa.evaluate.sheet import Agenda, Sheet
from moa.evaluate.standings import Drafts, Finding
from moa.evaluate.tasks import check_answer
from moa.spec.evaluation import AnswerSpec

MOST = 5_000
"""Items whose texts are looked at; of more, a sample."""
MOST_DRAFTED = 200
"""Items whose drafts are compared with each other; of more, a sample."""


class Texts(NamedTuple):
    """What was found in an entrant's texts."""

    drafts: Drafts | None
    findings: tuple[Finding, ...]


def sampled_items(folder: Folder, agenda: Agenda) -> dict[str, Item]:
    """The items whose texts are looked at: the same ones each time, by the marks of their ids."""
    wanted = set(heapq.nsmallest(MOST, agenda.rows))
    whole = len(wanted) == len(agenda)
    return {item.id: item for item in folder.items() if whole or agenda.mark(item.id) in wanted}


def look_at(sheet: Sheet, items: Mapping[str, Item], agenda: Agenda, exact: AnswerSpec | None) -> Texts:
    """Look at the texts of one entrant's answers to these items."""
    answers = [answer for answer in sheet.folder.answers(sheet.entrant.name) if answer.item in items]
    given = [answer for answer in answers if answer.state == "ok"]
    drafts = _drafts(given, items, exact)
    if drafts is not None and sheet.draft_values:
        drafts = replace(drafts, quality=_recorded_quality(sheet))
    return Texts(drafts, tuple(_suspicious(sheet, given, items, agenda)))


def _recorded_quality(sheet: Sheet) -> Estimate:
    """The mean recorded preference of the drafts in percent: what a draft drawn by chance has in expectation."""
    return bounded_mean([float(np.mean(values)) for values in sheet.draft_values.values()]).percent()


def _suspicious(
    sheet: Sheet, answers: Iterable[Answer], items: Mapping[str, Item], agenda: Agenda
) -> Iterator[Finding]:
    """Outputs that no honest entrant has; the judgments count where there are any on all of them."""
    known = [answer for answer in answers if not sheet.is_baseline]
    rows = [agenda.row(answer.item) for answer in known]
    judged = [float(sheet.values[row]) for row in rows if row is not None and np.isfinite(sheet.values[row])]
    preferred = "preference" in sheet.kinds and len(judged) == len(known)
    found = Entrant(
        tuple(answer.item for answer in known),
        tuple("\n".join(items[answer.item].turns) for answer in known),
        tuple("\n".join(answer.outputs) for answer in known),
        tuple(judged) if preferred else None,
    )
    if known and "correct" not in sheet.kinds:
        for each in suspicions(found):
            yield Finding(sheet.name, "suspicious", f"{sheet.name}: {each.message}")


def _drafts(answers: Iterable[Answer], items: Mapping[str, Item], exact: AnswerSpec | None) -> Drafts | None:
    """How many drafts there are, how different, and how many of them are right; None where there is but one."""
    counts: list[int] = []
    scores: list[float] = []
    right: list[float] = []
    asked: list[str] = []
    for answer in answers:
        texts = _proposals(answer)
        if len(texts) < 2:
            continue
        counts.append(len(texts))
        if len(scores) < MOST_DRAFTED:
            scores.append(_diversity(tuple(texts)))
        for text in texts if exact is not None else ():
            right.append(_is_right(exact, items[answer.item], answer, text))
            asked.append(answer.item)
    if not counts:
        return None
    quality: Estimate | None = bounded_mean(right, clusters=asked).percent() if right else None
    return Drafts(float(np.mean(counts)), float(np.mean(scores)), quality)


@lru_cache(maxsize=2 * MOST_DRAFTED)
def _diversity(texts: tuple[str, ...]) -> float:
    """The Vendi score of one question's drafts, which entrants often share."""
    return vendi_score(ngram_kernel(texts))


def _proposals(answer: Answer) -> list[str]:
    """What the nodes wrote that heard nobody, in the first turn."""
    nodes: Iterable[Mapping[str, Any]] = answer.nodes
    first = [node for node in nodes if not node.get("turn") and not node.get("references")]
    return [text for node in first if (text := str(node.get("text") or "").strip())]


def _is_right(exact: AnswerSpec | None, item: Item, answer: Answer, text: str) -> float:
    assert exact is not None
    verdict = check_answer(exact, item, answer.model_copy(update={"outputs": (text,)}))
    return verdict.value or 0.0
