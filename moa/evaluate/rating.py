"""One scale for everybody on a board: Bradley-Terry and Elo over all that was judged in pairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np

from moa.errors import UsageError
from moa.evaluate.figures import LABELS
from moa.evaluate.numbers.intervals import Estimate
from moa.evaluate.numbers.ratings import Battles, battles, bradley_terry, elo
from moa.evaluate.sheet import Sheet
from moa.evaluate.standings import Figure

MOST = 200_000
"""Battles, at most, that are rated; of more, those of the first questions."""
MOST_ELO = 20_000
RIDGE = 0.1


def ratings(sheets: Sequence[Sheet], baseline: str | None, *, seed: int) -> dict[str, tuple[Figure, ...]]:
    """The ratings of each entrant, on a scale where 1000 is the mean and 400 points are odds of 10 to 1.

    Preferences are battles with the baseline; scores make a battle of every two entrants on a question.
    """
    found = _battles(sheets, baseline)
    if found is None:
        return {}
    strengths, note = _strengths(found, seed)
    rated = [Figure("bradley-terry", LABELS["bradley-terry"], estimate, "", note) for estimate in strengths]
    figures: dict[str, tuple[Figure, ...]] = {
        name: (figure,) for name, figure in zip(found.names, rated, strict=True)
    }
    if len(found) <= MOST_ELO:
        for name, estimate in zip(found.names, elo(found, seed=seed), strict=True):
            figures[name] += (Figure("elo", LABELS["elo"], estimate, ""),)
    return figures


def _strengths(found: Battles, seed: int) -> tuple[Sequence[Estimate], str]:
    try:
        return bradley_terry(found, seed=seed).elo(), ""
    except UsageError:
        return bradley_terry(
            found, ridge=RIDGE, seed=seed
        ).elo(), f"ridge {RIDGE:g}: somebody won or lost everything"


def _battles(sheets: Sequence[Sheet], baseline: str | None) -> Battles | None:
    rows = [row for games in _games(sheets, baseline) for row in games]
    if not rows:
        return None
    rows = sorted(rows, key=lambda row: row[3])[:MOST]
    first, second, scores, questions = zip(*rows, strict=True)
    return battles(first, second, scores, questions=questions)


Game = tuple[str, str, float, int]


def _games(sheets: Sequence[Sheet], baseline: str | None) -> Iterator[list[Game]]:
    kinds = {kind for sheet in sheets for kind in sheet.kinds}
    if "preference" in kinds and baseline is not None:
        for sheet in sheets:
            if not sheet.is_baseline:
                rows = np.flatnonzero(np.isfinite(sheet.values)).tolist()
                yield [(sheet.name, baseline, float(sheet.values[row]), row) for row in rows]
    elif kinds & {"score", "checklist"}:
        for one, other in combinations(sheets, 2):
            gap = one.values - other.values
            rows = np.flatnonzero(np.isfinite(gap)).tolist()
            yield [(one.name, other.name, (float(np.sign(gap[row])) + 1) / 2, row) for row in rows]
