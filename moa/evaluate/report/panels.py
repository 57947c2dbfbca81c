"""How much longer each sampled answer was than the baseline's, and what the judge thought of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from moa.evaluate.records import Item, Verdict
from moa.evaluate.report.lengths import Panel
from moa.evaluate.report.survey import Survey, values
from moa.evaluate.standings import Board

NAMES = {
    "preference": "Preference",
    "checklist": "Share of the checklist",
    "correct": "Correct",
    "score": "Score, of 10",
}
WHOLE = {"preference": 1.0, "checklist": 1.0, "correct": 1.0, "score": 10.0}
"""The best value of each kind of verdict."""


def panels(board: Board, survey: Survey) -> list[Panel]:
    """A panel for every judged entrant whose answers differ in length, best first; lengths are in characters."""
    items = {asked.item.id: asked.item for asked in survey.sample}
    names = [row.name for row in board.rows if not row.is_baseline and row.name in survey.records]
    found = [_panel(name, items, board.baseline, survey) for name in names]
    return [panel for panel in found if len(set(panel.lengths.tolist())) > 1]


def _panel(name: str, items: Mapping[str, Item], baseline: str | None, survey: Survey) -> Panel:
    pairs = [
        pair
        for item, verdicts in survey.records[name].verdicts.items()
        for pair in _pairs(items[item], verdicts, name, baseline, survey)
    ]
    table = np.array(pairs, dtype=np.float64).reshape(-1, 2)
    return Panel(name, table[:, 0], table[:, 1])


def _pairs(
    item: Item, verdicts: list[Verdict], name: str, baseline: str | None, survey: Survey
) -> Iterator[tuple[float, float]]:
    """Length and value of each turn's answer."""
    for turn in sorted({verdict.turn for verdict in verdicts}):
        judged = [verdict for verdict in verdicts if verdict.turn == turn]
        found = values(judged)
        length = _length(item, name, turn, survey)
        against = (
            0 if judged[0].against is None else _against(item, judged[0].against, baseline, turn, survey)
        )
        if found and length is not None and against is not None:
            whole = WHOLE[judged[0].kind]
            yield float(length - against), min(1.0, max(0.0, sum(found) / len(found) / whole))


def _against(item: Item, name: str, baseline: str | None, turn: int, survey: Survey) -> int | None:
    if name == baseline and turn < len(item.baseline):
        return len(item.baseline[turn])
    return _length(item, name, turn, survey)


def _length(item: Item, name: str, turn: int, survey: Survey) -> int | None:
    record = survey.records.get(name)
    answer = record.answers.get(item.id) if record else None
    return len(answer.outputs[turn]) if answer is not None and turn < len(answer.outputs) else None


def value_name(survey: Survey) -> str:
    """What the values of the panels are."""
    kinds = (
        verdict.kind
        for record in survey.records.values()
        for verdicts in record.verdicts.values()
        for verdict in verdicts
    )
    return NAMES[next(kinds, "preference")]
