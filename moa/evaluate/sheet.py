"""What is known of one entrant, item by item, as columns of numbers; texts stay on the disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np
from pydantic import JsonValue

from moa.evaluate.fingerprint import text_mark
from moa.evaluate.folder import Folder
from moa.evaluate.numbers.intervals import Floats
from moa.evaluate.records import DRAFTS, LENGTHS, Answer, Entrant, Item, Verdict


class Agenda(NamedTuple):
    """The items of an experiment: where each stands, and what is known of it."""

    rows: dict[int, int]
    """From the mark of an item's id to its row."""
    groups: tuple[str, ...]
    baseline_lengths: Floats
    """Characters of the recorded baseline's output; NaN where the baseline is an entrant."""

    def __len__(self) -> int:
        return len(self.groups)

    def row(self, item: str) -> int | None:
        """Where an item stands."""
        return self.rows.get(text_mark(item))

    @staticmethod
    def mark(item: str) -> int:
        """What an item is known by."""
        return text_mark(item)


def read_agenda(items: Iterable[Item]) -> Agenda:
    """The items in their order."""
    rows: dict[int, int] = {}
    groups: list[str] = []
    lengths: list[float] = []
    for item in items:
        rows[text_mark(item.id)] = len(groups)
        groups.append(item.group)
        lengths.append(float(sum(map(len, item.baseline))) if item.baseline else float("nan"))
    return Agenda(rows, tuple(groups), np.array(lengths))


class Sheet:
    """One entrant's columns (n,), a row an item; NaN where there is no number."""

    def __init__(self, name: str, entrant: Entrant, folder: Folder, n: int) -> None:
        self.name = name
        self.entrant = entrant
        self.folder = folder
        self.is_baseline = False
        self.answered = _blank(n)
        """1 for an answer, 0 for one that failed."""
        self.lengths = _blank(n)
        self.latencies = _blank(n)
        self.calls = _blank(n)
        self.input_tokens = _blank(n)
        self.output_tokens = _blank(n)
        self.cached_tokens = _blank(n)
        self.costs = _blank(n)
        """In US dollars; NaN where a price is unknown, too."""
        self.judge_costs = _blank(n)
        self.values = _blank(n)
        """The mean of the verdicts; of preferences only where every one has a value."""
        self.read = _blank(n)
        """1 where all verdicts have a value, else 0."""
        self.shown_first = _blank(n)
        """The preference when the entrant's answer was shown first."""
        self.shown_second = _blank(n)
        self.states: Counter[str] = Counter()
        """Verdicts by their state."""
        self.kinds: Counter[str] = Counter()
        self.judges: Counter[str] = Counter()
        self.baseline_lengths = _blank(n)
        """Characters of the baseline's output where the verdict was recorded with them."""
        self.draft_values: dict[int, list[float]] = {}
        """The recorded preferences of a row's drafts."""
        self.grades: dict[int, list[str | None]] = {}
        """The grades of a row's verdicts from the entrant's side, None for an unreadable one."""

    @property
    def judged(self) -> int:
        """How many items have a verdict with a value."""
        return int(np.isfinite(self.values).sum())

    def note_answer(self, row: int, answer: Answer) -> None:
        """Take an answer into the columns."""
        ok = answer.state == "ok"
        self.answered[row] = float(ok)
        self.calls[row] = answer.spent.calls
        self.input_tokens[row] = answer.spent.input_tokens
        self.output_tokens[row] = answer.spent.output_tokens
        self.cached_tokens[row] = answer.spent.cached_tokens
        self.costs[row] = _or_nan(answer.spent.cost)
        if ok:
            self.latencies[row] = answer.latency
            self.lengths[row] = sum(map(len, answer.outputs))

    def note_verdicts(self, row: int, verdicts: Sequence[Verdict]) -> None:
        """Take all verdicts on one answer into the columns."""
        values = [value for verdict in verdicts if (value := _value(verdict)) is not None]
        whole = len(values) == len(verdicts)
        self.read[row] = float(whole)
        if whole or (values and verdicts[0].kind != "preference"):
            self.values[row] = sum(values) / len(values)
        self.judge_costs[row] = sum(_or_nan(verdict.spent.cost) for verdict in verdicts)
        self.states.update(verdict.state for verdict in verdicts)
        self.kinds.update(verdict.kind for verdict in verdicts)
        self.judges.update(verdict.judge for verdict in verdicts)
        self._note_recorded(row, verdicts)
        if any(verdict.grade is not None for verdict in verdicts):
            self.grades[row] = [verdict.grade for verdict in verdicts]
        if len(verdicts) == 2 and verdicts[0].swapped != verdicts[1].swapped and whole:
            for verdict in verdicts:
                (self.shown_first if verdict.swapped else self.shown_second)[row] = verdict.value

    def _note_recorded(self, row: int, verdicts: Sequence[Verdict]) -> None:
        """Take what a recorded verdict brings along: lengths as they were judged, and what its drafts are worth."""
        details = verdicts[0].details
        lengths, drafts = details.get(LENGTHS), details.get(DRAFTS)
        if isinstance(lengths, list):
            self.baseline_lengths[row], self.lengths[row] = map(_number, lengths)
        if isinstance(drafts, list):
            values = [float(value) for value in drafts if isinstance(value, int | float)]
            if values:
                self.draft_values[row] = values


def read_sheet(name: str, entrant: Entrant, folder: Folder, agenda: Agenda) -> Sheet:
    """Read the answers of an entrant and the verdicts on them, line by line."""
    sheet = Sheet(name, entrant, folder, len(agenda))
    for answer in folder.answers(entrant.name):
        if (row := agenda.row(answer.item)) is not None:
            sheet.note_answer(row, answer)
    for item, verdicts in groupby(folder.verdicts(entrant.name), key=lambda verdict: verdict.item):
        if (row := agenda.row(item)) is not None:
            sheet.note_verdicts(row, list(verdicts))
    return sheet


def _blank(n: int) -> Floats:
    return np.full(n, np.nan)


def _value(verdict: Verdict) -> float | None:
    return verdict.value if verdict.state == "ok" else None


def _number(value: JsonValue) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value
