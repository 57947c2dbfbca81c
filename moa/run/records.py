"""Questions from files: JSONL, JSON, CSV, Parquet or Arrow, read as they are needed."""

from __future__ import annotations

import csv
import gzip
import json
import sys
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from moa.errors import UsageError
from moa.nodes.prompt import question_of
from moa.run.conversation import FIELDS, Question, question_in, read_conversation

FORMATS = (".jsonl", ".json", ".csv", ".parquet", ".arrow")
_TABLES = frozenset({".parquet", ".arrow"})
STDIN = "-"
LONGEST_CELL = 1 << 30
"""Characters in a cell of a CSV file, at most."""


class Entry(NamedTuple):
    """One question of a file: its number (from 0), what is asked, and the record's other fields."""

    number: int
    question: Question
    instruction: str
    """The latest user turn's text, which AlpacaEval calls the instruction."""
    extra: Mapping[str, Any]


def read_records(path: Path, limit: int | None = None) -> Iterator[Entry]:
    """The questions of a file (the first `limit` of them), or of standard input (JSONL) for `-`.

    Every record needs `instruction`, `prompt` or `messages` (in CSV and Parquet `messages` may be JSON
    text). Raises `UsageError` that names the file and the record for anything else.
    """
    found = False
    for index, (place, fields) in enumerate(islice(read_rows(path), limit)):
        found = True
        yield _record(index, fields, f"{_name(path)}:{place}")
    if not found:
        raise UsageError(f"{_name(path)} holds no questions")


def count_records(path: Path, limit: int | None = None) -> int | None:
    """How many questions `read_records` will give; None for standard input, which is read only once.

    Reads everything, so that a mistake in the last record is known before anything is spent on the first.
    """
    return None if str(path) == STDIN else sum(1 for _ in read_records(path, limit))


def _record(index: int, fields: Any, place: str) -> Entry:
    if not isinstance(fields, Mapping):
        raise UsageError(f"{place}: expected an object with `instruction`, `prompt` or `messages`")
    try:
        question = _question(fields)
        conversation = read_conversation(question)
    except UsageError as error:
        raise UsageError(f"{place}: {error}") from None
    extra = {key: value for key, value in fields.items() if key not in FIELDS}
    return Entry(index, question, question_of(conversation), extra)


def _question(fields: Mapping[str, Any]) -> Question:
    question: Any = question_in(fields)
    if question is fields.get("messages") and isinstance(question, str):
        try:
            question = json.loads(question)
        except ValueError as error:
            raise UsageError(f"`messages` is text that is not JSON: {error}") from None
        if not isinstance(question, list):
            raise UsageError("`messages` must be a list of messages")
    if isinstance(question, str | list):
        return question
    raise UsageError(f"the question must be text or a list of messages, not {type(question).__name__}")


def _name(path: Path) -> str:
    return "standard input" if str(path) == STDIN else str(path)


def read_rows(path: Path) -> Iterator[tuple[str, Any]]:
    """Each record of a file as it stands there, with the place that an error about it names.

    Raises `UsageError` for a file that cannot be read, naming the record where it is to blame.
    """
    if str(path) == STDIN:
        return _texts(path, ".jsonl")
    suffix = (path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix).lower()
    if suffix not in FORMATS or (suffix in _TABLES and path.suffix == ".gz"):
        raise UsageError(
            f"{path}: cannot tell the format; known: {', '.join(FORMATS)} (and .gz of the texts)"
        )
    if not path.is_file():
        raise UsageError(f"cannot read {path}: {'not a file' if path.exists() else 'no such file'}")
    return _table(path, suffix) if suffix in _TABLES else _texts(path, suffix)


def _texts(path: Path, suffix: str) -> Iterator[tuple[str, Any]]:
    readers = {".jsonl": _json_lines, ".csv": _csv_rows, ".json": _json_array}
    with _open(path) as file:
        yield from readers[suffix](file, _name(path))


@contextmanager
def _open(path: Path) -> Iterator[TextIO]:
    try:
        if str(path) == STDIN:
            yield TextIOWrapper(sys.stdin.buffer, encoding="utf-8-sig", newline="")
        elif path.suffix == ".gz":
            with gzip.open(path, "rt", encoding="utf-8-sig", newline="") as file:
                yield file
        else:
            with path.open(encoding="utf-8-sig", newline="") as file:
                yield file
    except UnicodeDecodeError:
        raise UsageError(f"{_name(path)}: not UTF-8 text") from None
    except (EOFError, zlib.error, csv.Error, OSError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"cannot read {_name(path)}: {reason}") from None


def _json_lines(file: TextIO, name: str) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(file, 1):
        if line.strip():
            try:
                fields = json.loads(line)
            except ValueError as error:
                raise UsageError(f"{name}:{number}: not JSON: {error}") from None
            yield str(number), fields


def _csv_rows(file: TextIO, name: str) -> Iterator[tuple[str, Any]]:
    csv.field_size_limit(LONGEST_CELL)
    reader = csv.DictReader(file)
    before = 1
    for row in reader:
        if None in row:
            raise UsageError(f"{name}:{reader.line_num}: has more cells than the header has names")
        yield str(before + 1), {key: cell for key, cell in row.items() if cell not in ("", None)}
        before = reader.line_num


def _json_array(file: TextIO, name: str) -> Iterator[tuple[str, Any]]:
    try:
        records = json.load(file)
    except UnicodeDecodeError:
        raise
    except ValueError as error:
        raise UsageError(f"{name}: not JSON: {error}") from None
    if not isinstance(records, list):
        raise UsageError(f"{name}: expected a list of records")
    for number, fields in enumerate(records, 1):
        yield f"record {number}", fields


def _table(path: Path, suffix: str) -> Iterator[tuple[str, Any]]:
    import pyarrow

    number = 0
    try:
        for batch in _parquet(path) if suffix == ".parquet" else _arrow(path):
            for row in batch.to_pylist():
                number += 1
                yield f"row {number}", {key: value for key, value in row.items() if value is not None}
    except (pyarrow.ArrowException, OSError) as error:
        kind = suffix.removeprefix(".").capitalize()
        raise UsageError(f"{path}: not a readable {kind} file: {str(error).splitlines()[0]}") from None


def _parquet(path: Path) -> Iterator[Any]:
    from pyarrow.parquet import ParquetFile

    with ParquetFile(path) as file:
        yield from file.iter_batches(batch_size=256)


def _arrow(path: Path) -> Iterator[Any]:
    """The batches of a file as the hub's `datasets` writes it: a stream, of which slices are taken."""
    from pyarrow import ipc

    with path.open("rb") as file, ipc.open_stream(file) as batches:
        for batch in batches:
            yield from (batch.slice(start, 256) for start in range(0, batch.num_rows, 256))
