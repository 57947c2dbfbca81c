"""Questions from files: JSONL, JSON, CSV or Parquet, read as they are needed."""

from __future__ import annotations

import csv
import gzip
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from moa.errors import UsageError
from moa.nodes.prompt import question_of
from moa.run.conversation import FIELDS, Question, question_in, read_conversation

FORMATS = (".jsonl", ".json", ".csv", ".parquet")


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
    for index, (place, fields) in enumerate(islice(_rows(path), limit)):
        found = True
        yield _record(index, fields, f"{path}:{place}")
    if not found:
        raise UsageError(f"{path} holds no questions")


def count_records(path: Path) -> int | None:
    """How many questions a file has, where that is cheap to know."""
    if path.suffix == ".jsonl" and path.is_file():
        with path.open("rb") as file:
            return sum(bool(line.strip()) for line in file)
    if path.suffix == ".parquet" and path.is_file():
        import pyarrow.parquet

        return int(pyarrow.parquet.ParquetFile(path).metadata.num_rows)
    return None


def _record(index: int, fields: Any, place: str) -> Entry:
    if not isinstance(fields, Mapping):
        raise UsageError(f"{place}: expected an object with `instruction`, `prompt` or `messages`")
    try:
        question = _parsed(question_in(fields))
        conversation = read_conversation(question)
    except UsageError as error:
        raise UsageError(f"{place}: {error}") from None
    extra = {key: value for key, value in fields.items() if key not in FIELDS}
    return Entry(index, question, question_of(conversation), extra)


def _parsed(question: Any) -> Question:
    """Messages that a table holds as JSON text; everything else as it is."""
    if isinstance(question, str) and question.lstrip().startswith("[{"):
        try:
            messages = json.loads(question)
        except ValueError:
            return question
        if all(isinstance(message, dict) and "role" in message for message in messages):
            return messages  # type: ignore[no-any-return]
    if isinstance(question, str | list):
        return question
    raise UsageError(f"the question must be text or a list of messages, not {type(question).__name__}")


def _rows(path: Path) -> Iterator[tuple[str, Any]]:
    """Each record with the place that an error about it names."""
    suffix = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    if str(path) == "-":
        return _json_lines(sys.stdin)
    if suffix not in FORMATS:
        raise UsageError(
            f"{path}: cannot tell the format; known: {', '.join(FORMATS)} (and .gz of the texts)"
        )
    if not path.is_file():
        raise UsageError(f"cannot read {path}: no such file")
    if suffix == ".parquet":
        return _parquet(path)
    return _texts(path, suffix)


def _texts(path: Path, suffix: str) -> Iterator[tuple[str, Any]]:
    with _open(path) as file:
        if suffix == ".jsonl":
            yield from _json_lines(file)
        elif suffix == ".csv":
            reader = csv.DictReader(file)
            for row in reader:
                yield (
                    str(reader.line_num),
                    {k: v for k, v in row.items() if k is not None and v not in ("", None)},
                )
        else:
            yield from _json_array(file)


@contextmanager
def _open(path: Path) -> Iterator[TextIO]:
    try:
        if path.suffix == ".gz":
            with gzip.open(path, "rt", encoding="utf-8-sig", newline="") as file:
                yield file
        else:
            with path.open(encoding="utf-8-sig", newline="") as file:
                yield file
    except UnicodeDecodeError:
        raise UsageError(f"{path}: not UTF-8 text") from None
    except (gzip.BadGzipFile, csv.Error) as error:
        raise UsageError(f"{path}: {error}") from None


def _json_lines(file: TextIO) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(file, 1):
        if line.strip():
            try:
                fields = json.loads(line)
            except ValueError as error:
                raise UsageError(f"{file.name}:{number}: not JSON: {error}") from None
            yield str(number), fields


def _json_array(file: TextIO) -> Iterator[tuple[str, Any]]:
    try:
        records = json.load(file)
    except ValueError as error:
        raise UsageError(f"{file.name}: not JSON: {error}") from None
    if not isinstance(records, list):
        raise UsageError(f"{file.name}: expected a list of records")
    for number, fields in enumerate(records, 1):
        yield f"record {number}", fields


def _parquet(path: Path) -> Iterator[tuple[str, Any]]:
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
        number = 0
        for batch in file.iter_batches(batch_size=256):
            for row in batch.to_pylist():
                number += 1
                yield f"row {number}", {key: value for key, value in row.items() if value is not None}
    except (pyarrow.ArrowException, OSError) as error:
        raise UsageError(f"{path}: not a readable Parquet file: {str(error).splitlines()[0]}") from None
