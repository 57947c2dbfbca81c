"""The folder of an experiment: plain JSON lines that people, notebooks and the report read.

DIR/experiment.json             what is run: the evaluation, the entrants, the judge, their fingerprint
DIR/items.jsonl                 what is asked
DIR/answers/ENTRANT.jsonl       what each entrant said, in the items' order
DIR/verdicts/ENTRANT.jsonl      every judgment of those answers
DIR/outputs/ENTRANT.json        the same answers as AlpacaEval's command reads them
DIR/reference/                  AlpacaEval's instruction difficulties, where they were given
DIR/store.sqlite                every reply of a model, unless another store was named
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from moa.errors import UsageError
from moa.evaluate.records import Answer, Experiment, Item, Record, Verdict
from moa.run.output import LIST, dumped

R = TypeVar("R", bound=Record)

LONGEST = 120
"""Characters of a file's name, at most; file systems end at 255 bytes."""


class Folder:
    """Reads an experiment's folder, a record at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def experiment_path(self) -> Path:
        """Where it says what is run here."""
        return self.path / "experiment.json"

    @property
    def items_path(self) -> Path:
        """Where the items are."""
        return self.path / "items.jsonl"

    @property
    def experiment(self) -> Experiment:
        """What is run here; raises `UsageError` where `path` is no experiment."""
        place = self.experiment_path
        try:
            return Experiment.model_validate_json(place.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            raise UsageError(f"{self.path} is no experiment: it has no experiment.json") from None
        except ValidationError as error:
            raise UsageError(f"{place}: {_first(error)}") from None

    def items(self) -> Iterator[Item]:
        """What is asked, in order."""
        return read_lines(self.items_path, Item)

    def answers(self, entrant: str) -> Iterator[Answer]:
        """What `entrant` said; nothing before it has begun."""
        return read_lines(self.answers_path(entrant), Answer)

    def verdicts(self, entrant: str) -> Iterator[Verdict]:
        """Every judgment of what `entrant` said."""
        return read_lines(self.verdicts_path(entrant), Verdict)

    def answers_path(self, entrant: str) -> Path:
        """Where the answers of `entrant` are."""
        return self.path / "answers" / f"{file_name(entrant)}.jsonl"

    def verdicts_path(self, entrant: str) -> Path:
        """Where the judgments of `entrant` are."""
        return self.path / "verdicts" / f"{file_name(entrant)}.jsonl"

    def outputs_path(self, entrant: str) -> Path:
        """Where the answers of `entrant` are as AlpacaEval's command reads them."""
        return self.path / "outputs" / f"{file_name(entrant)}.json"

    @property
    def reference_path(self) -> Path:
        """Where what length control needs is kept."""
        return self.path / "reference"

    def write_experiment(self, experiment: Experiment) -> None:
        """Say what is run here, all at once."""
        text = experiment.model_dump_json(indent=2) + "\n"
        _write_whole(self.experiment_path, [text.encode("utf-8", "backslashreplace")])

    def write_outputs(self, entrant: str) -> None:
        """Write the answers of `entrant` for AlpacaEval: one object a turn, failed answers left out."""
        rows = (row for item, answer in zip(self.items(), self.answers(entrant), strict=False)
                for row in _alpaca_rows(item, answer))  # fmt: skip
        _write_whole(self.outputs_path(entrant), _json_list(rows))


def _alpaca_rows(item: Item, answer: Answer) -> Iterator[bytes]:
    dataset = item.fields.get("dataset") or item.group
    for turn, output in zip(item.turns, answer.outputs, strict=False):
        yield dumped({"instruction": turn, "output": output, "generator": answer.entrant, "dataset": dataset})


def _json_list(rows: Iterable[bytes]) -> Iterator[bytes]:
    """A JSON list with a row a line."""
    empty = True
    for row in rows:
        yield (LIST.head if empty else LIST.between) + row
        empty = False
    yield b"[]\n" if empty else LIST.tail


def file_name(entrant: str) -> str:
    """A name that every file system takes, different for different entrants."""
    name = re.sub(r"[^\w.=,+\[\]-]", lambda found: f"%{ord(found[0]):02x}", entrant)
    if len(name.encode()) <= LONGEST:
        return name
    return f"{name[: LONGEST // 4]}~{sha256(entrant.encode()).hexdigest()[:12]}"


def line_of(record: Record) -> bytes:
    """A record as one line of JSON."""
    return dumped(record.model_dump(mode="json")) + b"\n"


def read_lines(path: Path, kind: type[R]) -> Iterator[R]:
    """The records of a JSONL file; raises `UsageError` that names the line of one that is not."""
    if not path.exists():
        return
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            yield read_line(line, kind, path, number)


def read_line(line: bytes, kind: type[R], path: Path, number: int) -> R:
    """The record of one line; raises `UsageError` that names it."""
    try:
        try:
            return kind.model_validate_json(line)
        except ValidationError as error:
            return kind.model_validate(_loosely(line, error))
    except ValidationError as error:
        raise UsageError(f"{path}:{number}: {_first(error)}") from None


def _loosely(line: bytes, error: ValidationError) -> object:
    """A line read by Python's own parser, which lets half a surrogate pair pass."""
    if error.errors()[0]["type"] != "json_invalid":
        raise error
    try:
        return json.loads(line)
    except ValueError:
        raise error from None


def write_lines(path: Path, records: Iterable[Record]) -> None:
    """Write a whole JSONL file at once: it is there complete, or not at all."""
    _write_whole(path, map(line_of, records))


def _write_whole(path: Path, parts: Iterable[bytes]) -> None:
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            file.writelines(parts)
        part.replace(path)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from None


def _first(error: ValidationError) -> str:
    found = error.errors()[0]
    place = ".".join(str(part) for part in found["loc"])
    return f"{place}: {found['msg']}" if place else found["msg"]
