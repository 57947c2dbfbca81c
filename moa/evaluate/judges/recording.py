"""Recorded preferences by instruction and text, so that an answer's own can be looked up."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import lru_cache
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from moa.backends.replay import Recording, read_recording
from moa.errors import UsageError
from moa.evaluate.annotations import Judgment, annotation_files, read_annotations
from moa.run.records import read_rows

ENDINGS = (".jsonl.gz", ".jsonl", ".json.gz", ".json")
TABLES = ("instructions.jsonl", "instructions.jsonl.gz", "instructions.json")


class Recorded(NamedTuple):
    """One recorded preference."""

    model: str
    """Who wrote the output that was judged."""
    value: float | None
    """The probability that it is preferred to the baseline's; None where the judge gave no verdict."""
    output: bytes | None
    """The mark of the output, where the file holds it."""
    baseline: bytes | None
    """The mark of the baseline's output, where the file holds it."""
    length: int
    """Characters of the baseline's output."""
    own_length: int
    """Characters of the output that was judged."""


class Preferences:
    """What a file of annotations holds; outputs that lie beside it are read when a text is first compared with them."""

    def __init__(
        self, by_instruction: Mapping[bytes, list[Recorded]], baseline: str | None, shelf: _Shelf
    ) -> None:
        self.baseline = baseline
        """The baseline's name, where the file says it."""
        self.models = frozenset(each.model for known in by_instruction.values() for each in known)
        """Whose outputs were judged."""
        self._by_instruction = by_instruction
        self._shelf = shelf

    def about(self, instruction: str) -> list[Recorded]:
        """All preferences for outputs to one instruction."""
        return self._by_instruction.get(mark(instruction), [])

    def meant(self, instruction: str, text: str, authors: AbstractSet[str]) -> list[Recorded]:
        """The records that a text may stand for: of it and its authors, of it alone, or of its authors where texts are unknown.

        Args:
            instruction: What was asked.
            text: What was answered.
            authors: The models that may have written it.
        """
        known, wanted = self.about(instruction), mark(text)
        theirs = [each for each in known if each.model in authors]
        for some in (theirs, known):
            if same := [each for each in some if self._output(each, instruction) == wanted]:
                return same
        return [each for each in theirs if self._output(each, instruction) is None]

    def _output(self, recorded: Recorded, instruction: str) -> bytes | None:
        return recorded.output or self._shelf.output(recorded.model, instruction)


def worth(found: Sequence[Recorded]) -> float | None:
    """The preference that records of one text agree on, or their mean; None where the judge gave no verdict."""
    values = [each.value for each in found if each.value is not None]
    return (values[0] if len(set(values)) == 1 else fmean(values)) if values else None


class _Marks(NamedTuple):
    """The two outputs of an annotation."""

    first: bytes | None
    second: bytes | None


def mark(text: str) -> bytes:
    """A digest of a text, but for space at its ends, which an answer does not keep."""
    return hashlib.blake2b(text.strip().encode("utf-8", "surrogatepass"), digest_size=16).digest()


def preferences_in(path: Path) -> Preferences:
    """`read_preferences`, kept in memory as long as the files stay as they are: judge and oracle read them once."""
    place = path.absolute()
    return _read_once(place, tuple(file.stat().st_mtime_ns for file in annotation_files(place)))


@lru_cache(maxsize=4)
def _read_once(path: Path, stamps: tuple[int, ...]) -> Preferences:
    return read_preferences(path)


def read_preferences(path: Path) -> Preferences:
    """The preferences of a file or a folder of annotations (`moa.evaluate.annotations`).

    Rows without an `instruction` need a table `instructions.jsonl` beside the file, with `index` and `instruction`;
    rows without `output_2` are matched by text where `outputs/MODEL.jsonl` lies there too.

    Raises:
        UsageError: for what cannot be used; names the row.
    """
    shelf = _Shelf(path if path.is_dir() else path.parent)
    marks = dict(_marks(path))
    found = read_annotations([path], drop_unjudged=True)
    by_instruction: dict[bytes, list[Recorded]] = {}
    for judgment in (judgment for model in found for judgment in model.judgments):
        instruction = shelf.instruction(judgment)
        first, second = marks.get(judgment.place, _Marks(None, None))
        value = None if math.isnan(judgment.preference) else judgment.preference - 1
        recorded = Recorded(judgment.model, value, second, first, judgment.len_1, judgment.len_2)
        by_instruction.setdefault(mark(instruction), []).append(recorded)
    return Preferences(by_instruction, found[0].baseline if found else None, shelf)


def model_of(name: str) -> str:
    """The model that a recording's name stands for: `replay:outputs/claude-2.1.jsonl.gz` is `claude-2.1`."""
    if not name.startswith("replay:"):
        return name
    file = Path(name.removeprefix("replay:")).name
    return next((file.removesuffix(ending) for ending in ENDINGS if file.endswith(ending)), file)


def _marks(path: Path) -> Iterator[tuple[str, _Marks]]:
    """The texts of the rows that hold them, by the place that an error about a row names."""
    for file in annotation_files(path):
        for place, fields in read_rows(file):
            if isinstance(fields, Mapping) and isinstance(fields.get("output_2"), str):
                first = fields.get("output_1")
                yield (
                    f"{file}:{place}",
                    _Marks(mark(first) if isinstance(first, str) else None, mark(fields["output_2"])),
                )


class _Shelf:
    """What lies beside a table of annotations: the instructions by index, and each model's outputs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._recordings: dict[str, Recording | None] = {}
        self._instructions: dict[int, str] | None = None

    def instruction(self, judgment: Judgment) -> str:
        """What was asked; raises `UsageError` where nobody says it."""
        if judgment.instruction is not None:
            return judgment.instruction
        if judgment.index is None:
            raise UsageError(f"{judgment.place}: has neither `instruction` nor `index`")
        if self._instructions is None:
            self._instructions = self._table(judgment)
        if judgment.index not in self._instructions:
            raise UsageError(f"{judgment.place}: the table of instructions has no index {judgment.index}")
        return self._instructions[judgment.index]

    def output(self, model: str, instruction: str) -> bytes | None:
        """The mark of what `model` said, where its outputs are there."""
        if model not in self._recordings:
            self._recordings[model] = self._recording(model)
        recording = self._recordings[model]
        found = recording.outputs.get(instruction.strip()) if recording is not None else None
        return mark(found[0]) if found else None

    def _recording(self, model: str) -> Recording | None:
        for ending in ENDINGS:
            outputs = self._folder / "outputs" / f"{model}{ending}"
            if outputs.is_file():
                return read_recording(outputs)
        return None

    def _table(self, judgment: Judgment) -> dict[int, str]:
        for name in TABLES:
            if (table := self._folder / name).is_file():
                return dict(_entries(table))
        raise UsageError(f"{judgment.place}: names its instruction by index: put {TABLES[0]} beside the file")


def _entries(table: Path) -> Iterator[tuple[int, str]]:
    for place, fields in read_rows(table):
        row = fields if isinstance(fields, Mapping) else {}
        index, instruction = row.get("index"), row.get("instruction")
        if not isinstance(index, int) or not isinstance(instruction, str):
            raise UsageError(f"{table}:{place}: expected `index` and `instruction`")
        yield index, instruction
