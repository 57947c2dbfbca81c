"""Arena-Hard's style-controlled win rate of all entrants of a board, from verdicts and texts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from moa.errors import UsageError
from moa.evaluate.figures import LABELS, Sizes
from moa.evaluate.folder import Folder
from moa.evaluate.numbers.rewards import ARENA_HARD, arena_hard_rows
from moa.evaluate.numbers.style_control import Style, style_controlled, style_differences, style_of
from moa.evaluate.sheet import Agenda, Sheet
from moa.evaluate.standings import Figure

NAME = "style-controlled"
REPLICATES = 100


class _Game(NamedTuple):
    """One verdict: whose, on which item, what it is worth to the entrant, and how much it counts."""

    name: str
    row: int
    score: float
    weight: float


def style_figures(
    sheets: Sequence[Sheet], baseline: str | None, folder: Folder, agenda: Agenda, sizes: Sizes
) -> dict[str, Figure]:
    """The win rate of each entrant once length and markdown are taken out; none where nothing was judged."""
    own = next((sheet for sheet in sheets if sheet.name == baseline), None)
    theirs = _styles(own, agenda) if own is not None else _recorded(folder, agenda)
    games: list[_Game] = []
    pairs: list[tuple[Style, Style]] = []
    for sheet in sheets:
        if sheet is own:
            continue
        ours = _styles(sheet, agenda)
        for game in _games(sheet):
            if game.row in ours and game.row in theirs:
                games.append(game)
                pairs.append((ours[game.row], theirs[game.row]))
    if not games:
        return {}
    try:
        found = style_controlled(
            [game.name for game in games],
            [game.score for game in games],
            style_differences(*zip(*pairs, strict=True)),
            weights=[game.weight for game in games],
            questions=[game.row for game in games],
            replicates=min(sizes.bootstrap, REPLICATES),
            seed=sizes.seed,
        )
    except UsageError:
        return {}
    note = f"at the {found.reference} style"
    return {
        name: Figure(NAME, LABELS[NAME], rate.percent(), "%", note) for name, rate in found.win_rates.items()
    }


def _games(sheet: Sheet) -> Iterator[_Game]:
    """Arena-Hard's weighted games where the judge grades so, else the mean preference on each item."""
    rows = [row for row, grades in sheet.grades.items() for _ in grades]
    labels = [grade for grades in sheet.grades.values() for grade in grades]
    if labels and all(label in ARENA_HARD for label in labels if label is not None):
        found = arena_hard_rows(labels, [True] * len(labels), questions=rows)
        for row, score, weight in zip(found.rows, found.scores, found.weights, strict=True):
            yield _Game(sheet.name, rows[int(row)], float(score), float(weight))
        return
    for row in np.flatnonzero(np.isfinite(sheet.values)).tolist():
        yield _Game(sheet.name, row, float(sheet.values[row]), 1.0)


def _styles(sheet: Sheet, agenda: Agenda) -> dict[int, Style]:
    answers = sheet.folder.answers(sheet.entrant.name)
    return _by_row(((answer.item, answer.outputs) for answer in answers if answer.state == "ok"), agenda)


def _recorded(folder: Folder, agenda: Agenda) -> dict[int, Style]:
    return _by_row(((item.id, item.baseline) for item in folder.items() if item.baseline), agenda)


def _by_row(texts: Iterable[tuple[str, Sequence[str]]], agenda: Agenda) -> dict[int, Style]:
    found: dict[int, Style] = {}
    for item, outputs in texts:
        if (row := agenda.row(item)) is not None:
            found[row] = style_of("\n".join(outputs))
    return found
