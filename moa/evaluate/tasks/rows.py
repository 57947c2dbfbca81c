"""Rows of an evaluation's files: found by our names, kept or left out, joined with a second file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from moa.errors import UsageError
from moa.evaluate.tasks.hub import locate
from moa.run.records import read_rows
from moa.spec.evaluation import SourceSpec

DEFAULTS: Mapping[str, tuple[str, ...]] = {"prompt": ("prompt", "instruction")}
"""Where a field is looked for that the evaluation says nothing about, if not under our own name."""
FOLDER = "@folder"
"""Stands for the name of the file's folder, in which some data sets keep the subject."""
_ABSENT = object()


class Row(NamedTuple):
    """A row: its number from 0, the place that an error about it names, and its fields."""

    number: int
    place: str
    fields: Mapping[str, Any]
    source: SourceSpec
    folder: str = ""
    """The name of the file's folder."""

    def get(self, name: str) -> Any:
        """The value of our field `name`; None where the row has none of the fields that may hold it."""
        for path in paths(self.source, name):
            value = self.folder if path == FOLDER else _lookup(self.fields, path)
            if value is not None and value is not _ABSENT:
                return value
        return None

    def refuse(self, message: str) -> UsageError:
        """The error that says what is wrong with this row."""
        return UsageError(f"{self.place}: {message}")


def paths(source: SourceSpec, name: str) -> tuple[str, ...]:
    """The fields of a file that may hold our field `name`, the first that is there."""
    named = source.fields.get(name)
    if named is None:
        return DEFAULTS.get(name) or (name,)
    return (named,) if isinstance(named, str) else named


def read(source: SourceSpec, near: Path | None) -> Iterator[Row]:
    """The rows that `where` keeps, in order, as they are needed.

    Numbers count all rows, so that a row keeps its number whatever `where` says. Raises `UsageError` that names the
    file, and the row where one is to blame.
    """
    number, kept, seen = 0, 0, set[str]()
    files = locate(source, near)
    for file in files:
        more = _beside(source, file)
        for place, fields in read_rows(file):
            if not isinstance(fields, Mapping):
                raise UsageError(f"{file}:{place}: expected an object, not {type(fields).__name__}")
            if not kept:
                seen |= fields.keys()
            row = Row(number, f"{file}:{place}", _joined(fields, source, more), source, file.parent.name)
            number += 1
            if _wanted(row):
                kept += 1
                yield row
    if not kept:
        raise UsageError(_nothing(source, files, number, seen))


def as_list(value: Any) -> Any:
    """A list that a table holds as JSON text, as a list."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            found = json.loads(value)
        except ValueError:
            return value
        return found if isinstance(found, list) else value
    return value


def _lookup(fields: Mapping[str, Any], path: str) -> Any:
    """The value at `path`; a field that is really called like the whole path comes first."""
    if path in fields or "." not in path:
        return fields.get(path, _ABSENT)
    value: Any = fields
    for part in path.split("."):
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        elif isinstance(value, list | tuple) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            return _ABSENT
    return value


def _wanted(row: Row) -> bool:
    for path, wanted in row.source.where.items():
        value = _lookup(row.fields, path)
        value = None if value is _ABSENT else value
        if value not in (wanted if isinstance(wanted, list) else [wanted]):
            return False
    return True


def _nothing(source: SourceSpec, files: tuple[Path, ...], count: int, seen: set[str]) -> str:
    names = ", ".join(str(file) for file in files)
    if not count:
        return f"{names}: holds no rows"
    unknown = [path for path in source.where if path.split(".")[0] not in seen]
    hint = f": no row has `{unknown[0]}`; they have {', '.join(sorted(seen))}" if unknown else ""
    return f"{names}: none of its {count} rows is as `where` asks{hint}"


def _beside(source: SourceSpec, file: Path) -> Mapping[str, Mapping[str, Any]]:
    """The rows of the joined file by the value that they have in common; empty where there is no such file."""
    if source.join is None:
        return {}
    stem = file.name.removesuffix(".gz").rpartition(".")[0]
    other = file.with_name(source.join.beside.replace("*", stem))
    if not other.is_file():
        return {}
    return {
        str(fields[source.join.by]): fields
        for _, fields in read_rows(other)
        if isinstance(fields, Mapping) and source.join.by in fields
    }


def _joined(
    fields: Mapping[str, Any], source: SourceSpec, more: Mapping[str, Mapping[str, Any]]
) -> Mapping[str, Any]:
    if source.join is None or not more:
        return fields
    return {**more.get(str(fields.get(source.join.by)), {}), **fields}
