"""What AlpacaEval's length control rests on: instruction difficulties, gamed rows, the list of instructions."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from moa.errors import UsageError
from moa.evaluate.numbers.intervals import Floats
from moa.evaluate.numbers.length_control import GamedRows
from moa.evaluate.tasks import hub
from moa.run.records import read_rows
from moa.spec.evaluation import SourceSpec

DATASET = "tatsu-lab/alpaca_eval"
REVISION = "2edc6fad8be6b14ea7230aabfd08188da6b8b814"
GAMED = "df_gamed.csv"
DIFFICULTY = "instruction_difficulty.csv"
INSTRUCTIONS = (
    "instructions.jsonl",
    "instructions.jsonl.gz",
    "alpaca_eval.json",
    "alpaca_eval_gpt4_baseline.json",
)
"""Lists of instructions that a folder may hold, the first that is there."""


@dataclass(frozen=True, slots=True)
class Reference:
    """The fixed inputs of length control; `difficulty` (K,) is keyed by the instruction's index."""

    difficulty: Floats
    gamed: GamedRows
    warnings: tuple[str, ...] = ()


class Instructions:
    """The list of instructions, in the order of their difficulties."""

    def __init__(self, texts: Iterable[str], origin: str) -> None:
        self.origin = origin
        self._exact: dict[str, list[int]] = {}
        self._loose: dict[str, list[int]] = {}
        for index, text in enumerate(texts):
            self._exact.setdefault(text, []).append(index)
            self._loose.setdefault(normalised(text), []).append(index)

    def index(self, text: str) -> int:
        """The place of a text in the list, but for white space.

        Raises:
            UsageError: when it stands nowhere in the list, or more than once.
        """
        found = self._exact.get(text, [])
        if len(found) != 1:
            found = self._loose.get(normalised(text), [])
        if not found:
            raise UsageError(f"the instruction {shortened(text)!r} is not in {self.origin}")
        if len(found) > 1:
            places = " and ".join(map(str, found))
            raise UsageError(
                f"the instruction {shortened(text)!r} stands at {places} in {self.origin}: give `index`"
            )
        return found[0]


def normalised(text: str) -> str:
    """A text without differences in white space."""
    return " ".join(text.split())


def shortened(text: str, length: int = 40) -> str:
    """The beginning of a text, for a message."""
    line = normalised(text)
    return line if len(line) <= length else f"{line[: length - 1]}…"


def read_reference(folder: Path | None, environ: Mapping[str, str] = os.environ) -> Reference:
    """The gamed rows and the difficulties of a folder, or the hub's (downloaded once) for None.

    The difficulties are those beside the gamed rows, as the official scorer takes them; where a folder's
    `instruction_difficulty.csv` says otherwise there is a warning.

    Raises:
        UsageError: for a file that is absent, cannot be downloaded or is not what it should be; names the row.
    """
    gamed = _path(folder, GAMED, environ)
    rows = list(_numbers(gamed, ("preference", "std_delta_len", "instruction_difficulty")))
    difficulty = _by_index(gamed, ((index, values[2]) for index, values in rows))
    table = np.array([values for _, values in rows if not np.isnan(values[0])])
    if len(table) and not ((table[:, 0] >= 0) & (table[:, 0] <= 1)).all():
        raise UsageError(f"{gamed}: its preferences must be from 0 to 1")
    named = gamed.with_name(DIFFICULTY)
    warnings = _differences(named, difficulty) if named.is_file() else ()
    return Reference(difficulty, GamedRows(table[:, 0], table[:, 1], table[:, 2]), warnings)


def read_instructions(folder: Path | None) -> Instructions | None:
    """The folder's list of instructions; None where it has none, or there is no folder."""
    paths = [folder / name for name in INSTRUCTIONS] if folder else []
    path = next((path for path in paths if path.is_file()), None)
    return _instructions(path, str(path)) if path else None


def hub_instructions(*, fetch: bool, environ: Mapping[str, str] = os.environ) -> Instructions | None:
    """The hub's list of instructions; without `fetch` only where it is on this machine already."""
    source = SourceSpec(hub=DATASET, file=INSTRUCTIONS[-1], revision=REVISION)
    found = hub.locate(source, None, environ) if fetch else hub.here(source, None, environ)
    return _instructions(found[0], f"the instructions of {DATASET}") if found else None


def _path(folder: Path | None, file: str, environ: Mapping[str, str]) -> Path:
    if folder is None:
        try:
            return hub.locate(SourceSpec(hub=DATASET, file=file, revision=REVISION), None, environ)[0]
        except UsageError as error:
            reason = str(error).partition(": download")[0]
            raise UsageError(
                f"{reason}: give a folder that has it with --reference DIR, or leave length control out "
                "with --no-length-control"
            ) from None
    if not (folder / file).is_file():
        raise UsageError(f"--reference {folder}: has no {file}")
    return folder / file


def _numbers(path: Path, names: Sequence[str]) -> Iterable[tuple[int, tuple[float, ...]]]:
    """The index and the named columns of each row of a CSV file; the first of them may be empty (NaN)."""
    for number, (place, fields) in enumerate(read_rows(path)):
        values = tuple(_number(fields, name, f"{path}:{place}") for name in names)
        if not np.isfinite(values[1:]).all() or (len(values) == 1 and not np.isfinite(values[0])):
            raise UsageError(f"{path}:{place}: {' and '.join(names[-2:])} must be finite numbers")
        yield _index(fields, number, f"{path}:{place}"), values


def _number(fields: Mapping[str, Any], name: str, place: str) -> float:
    try:
        return float(fields.get(name, "nan"))
    except ValueError:
        raise UsageError(f"{place}: {name} is {fields[name]!r}, not a number") from None


def _index(fields: Mapping[str, Any], number: int, place: str) -> int:
    """The instruction's index; the hub's table of difficulties leaves the column's name empty."""
    text = fields.get("index", fields.get("", number))
    try:
        return int(text)
    except ValueError:
        raise UsageError(f"{place}: index is {text!r}, not a whole number") from None


def _by_index(path: Path, pairs: Iterable[tuple[int, float]]) -> Floats:
    """The first value of each index 0, 1, ..., none of which may be absent."""
    found: dict[int, float] = {}
    for index, value in pairs:
        found.setdefault(index, value)
    if sorted(found) != list(range(len(found))) or not found:
        raise UsageError(
            f"{path}: its indices must be 0, 1, ... without a gap; has {len(found)} different ones"
        )
    return np.array([found[index] for index in range(len(found))])


def _differences(path: Path, difficulty: Floats) -> tuple[str, ...]:
    rows = ((index, values[0]) for index, values in _numbers(path, ("instruction_difficulty",)))
    other = _by_index(path, rows)
    if len(other) == len(difficulty) and np.allclose(other, difficulty, rtol=0, atol=1e-6):
        return ()
    return (f"{path} does not hold the difficulties of {GAMED}, which are used, as the official scorer does",)


def _instructions(path: Path, origin: str) -> Instructions:
    texts: dict[int, str] = {}
    for number, (place, fields) in enumerate(read_rows(path)):
        text = fields.get("instruction") if isinstance(fields, Mapping) else None
        if not isinstance(text, str):
            raise UsageError(f"{path}:{place}: has no instruction")
        index = _index(fields, number, f"{path}:{place}")
        if index in texts:
            raise UsageError(f"{path}:{place}: index {index} stands there twice")
        texts[index] = text
    if sorted(texts) != list(range(len(texts))):
        raise UsageError(f"{path}: its indices must be 0, 1, ... without a gap")
    return Instructions((texts[index] for index in range(len(texts))), origin)
