"""Human labels beside the judge's: how far they agree, and what they correct."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import numpy as np

from moa.errors import UsageError
from moa.evaluate.folder import Folder
from moa.evaluate.merging import Merged, merge
from moa.evaluate.numbers.agreement import Agreement, agreement
from moa.evaluate.numbers.intervals import Floats
from moa.evaluate.numbers.ppi import PredictionPowered, prediction_powered_mean
from moa.evaluate.sheet import read_sheet
from moa.run.records import read_rows
from moa.spec.words import nearest

SIDES = ("baseline", "tie", "entrant")
"""What a preference says in words, from the lowest to the highest."""


@dataclass(frozen=True, slots=True)
class Corrected:
    """An entrant's win rate (a fraction) with human labels taken into account, and how the judge agrees with them."""

    name: str
    win_rate: PredictionPowered
    agreement: Agreement


def correct(folders: Sequence[Folder], labels: Path) -> list[Corrected]:
    """Prediction-powered win rates of the entrants that people have judged too.

    `labels` is a JSONL, JSON, CSV or Parquet file with `item`, `entrant` and `preference`, from 0 (the baseline
    is better) to 1 (the entrant is). Raises `UsageError` that names the row for anything else.
    """
    merged = merge(folders)
    given = _read(labels, merged)
    found = []
    for part in merged.parts:
        if part.name in given:
            sheet = read_sheet(part.name, part.entrant, part.folder, merged.agenda)
            found.append(_corrected(part.name, given[part.name], sheet.values))
    return found


def _corrected(name: str, human: Floats, judge: Floats) -> Corrected:
    known = np.isfinite(judge)
    if not known.any():
        raise UsageError(f"{name} has no verdicts that human labels could correct")
    words = [[_side(value) for value in values[known].tolist()] for values in (judge, human)]
    return Corrected(
        name, prediction_powered_mean(human[known], judge[known]), agreement(words[0], words[1], order=SIDES)
    )


def _side(value: float) -> str | None:
    if not isfinite(value):
        return None
    return SIDES[1] if value == 0.5 else SIDES[2] if value > 0.5 else SIDES[0]


def _read(path: Path, merged: Merged) -> dict[str, Floats]:
    names = [part.name for part in merged.parts if not part.is_baseline]
    found: dict[str, Floats] = {}
    for place, fields in read_rows(path):
        for row, name, value in _label(fields, f"{path}:{place}", names, merged):
            column = found.setdefault(name, np.full(len(merged.agenda), np.nan))
            if isfinite(column[row]):
                raise UsageError(f"{path}:{place}: {name} has a label on this item already")
            column[row] = value
    if not found:
        raise UsageError(f"{path}: holds no labels")
    return found


def _label(
    fields: object, place: str, names: Sequence[str], merged: Merged
) -> Iterator[tuple[int, str, float]]:
    if not isinstance(fields, Mapping):
        raise UsageError(f"{place}: expected an object with `item`, `entrant` and `preference`")
    missing = [name for name in ("item", "entrant", "preference") if fields.get(name) is None]
    if missing:
        raise UsageError(f"{place}: has no `{missing[0]}`")
    row, name = merged.agenda.row(str(fields["item"])), str(fields["entrant"])
    if row is None:
        raise UsageError(f"{place}: the item {str(fields['item'])!r} is not among those asked")
    if name not in names:
        meant = nearest(name, names)
        hint = f"did you mean {meant}?" if meant else f"there are: {', '.join(names)}"
        raise UsageError(f"{place}: nobody is called {name!r}; {hint}")
    yield row, name, _preference(fields["preference"], place)


def _preference(value: object, place: str) -> float:
    try:
        number = float(str(value))
    except ValueError:
        number = float("nan")
    if not 0 <= number <= 1:
        raise UsageError(
            f"{place}: the preference {value!r} is not from 0 (the baseline is better) to 1 (the entrant is)"
        )
    return number
