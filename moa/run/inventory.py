"""What a store holds: counted, exported, and thrown away when it is no longer wanted."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from moa.errors import StoreError, UsageError
from moa.run.database import ReadOnlyFile, begin, explained, open_writable
from moa.run.keys import expanded, sample_key
from moa.run.record import COLUMNS, Record, readable

PATIENCE = 30.0
"""Seconds to wait for other programs."""


class ModelCount(NamedTuple):
    """What is stored of one model; `identity` says where it is, too."""

    model: str
    identity: str
    requests: int
    samples: int
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Stock:
    """What a store holds; times are in seconds since the epoch, `bytes` is the size on disk."""

    path: str
    bytes: int
    samples: int
    requests: int
    texts: int
    oldest: float | None
    newest: float | None
    models: tuple[ModelCount, ...]


class Collected(NamedTuple):
    """What was deleted, and how much smaller the files have become."""

    samples: int
    requests: int
    texts: int
    bytes: int


_DETAILS = (
    "coalesce((SELECT group_concat(key || '=' || value) FROM json_each(identity, '$.options')),"
    " substr(json_extract(identity, '$.file[0]'), 1, 12), '')"
)
"""What tells simulated members and recordings apart: options, or the beginning of a digest."""
_MODEL = (
    "coalesce(CASE WHEN json_valid(identity) THEN coalesce(nullif(json_extract(identity, '$.model'), ''),"
    f" json_extract(identity, '$.at') || ':' || {_DETAILS}) END, identity)"
)
"""A model's own name in SQL: its identity is a JSON object that says where it is, too."""
_WANTED = f"(?1 IS NULL OR identity = ?1 OR {_MODEL} = ?1)"


class _Refused(Exception):
    """Ends a transaction that was only a trial."""


def take_stock(path: Path) -> Stock:
    """Count what the store holds; raises `UsageError` where there is no file."""
    with _opened(path) as db:
        models = db.execute(
            f"SELECT {_MODEL}, identity, count(DISTINCT q.id), count(*), sum(r.input_tokens),"
            " sum(r.output_tokens) FROM responses AS r JOIN requests AS q ON q.id = r.request"
            " GROUP BY identity ORDER BY 1, 2"
        ).fetchall()
        oldest, newest = db.execute("SELECT min(created), max(created) FROM responses").fetchone()
        return Stock(
            path=str(path),
            bytes=size(path),
            samples=_count(db, "responses"),
            requests=_count(db, "requests"),
            texts=_count(db, "texts"),
            oldest=oldest,
            newest=newest,
            models=tuple(map(ModelCount._make, models)),
        )


def export(path: Path, model: str | None = None) -> Iterator[dict[str, Any]]:
    """Every sample with its whole request, in the order of the requests; one at a time.

    Raises `UsageError` where there is no file and `StoreError` where a text is missing.
    """
    query = (
        f"SELECT q.id, q.base, {_MODEL}, q.identity, q.messages, q.params, r.sample, {_prefixed('r', COLUMNS)}"
        " FROM responses AS r JOIN requests AS q ON q.id = r.request"
        f" WHERE {_WANTED} ORDER BY r.request, r.sample"
    )
    with _opened(path) as db:
        texts = _Texts(db)
        last, request = 0, {}
        for number, base, name, identity, messages, params, sample, *columns in db.execute(query, (model,)):
            if number != last:
                parts = {"messages": texts.expand(messages), "params": texts.expand(params)}
                last, request = number, {"model": name, "identity": identity, **parts}
            yield {"key": sample_key(base, sample), **request, "sample": sample, **_exported(columns)}


def collect(path: Path, *, before: float | None, model: str | None, dry_run: bool = False) -> Collected:
    """Delete samples made before a time, of one model, or both; then whatever nothing refers to.

    With neither, only the latter. `dry_run` counts and changes nothing. Others may write meanwhile.
    """
    size_before = size(path)
    with _opened(path) as db:
        try:
            begin(db, PATIENCE)
            with db:
                counts = _delete(db, before, model)
                if dry_run:
                    raise _Refused
        except _Refused:
            return Collected(*counts, 0)
        db.execute("VACUUM")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return Collected(*counts, max(0, size_before - size(path)))


def size(path: Path) -> int:
    """Bytes on disk, the journal included."""
    files = (path, Path(f"{path}-wal"))
    return sum(file.stat().st_size for file in files if file.exists())


class _Texts:
    """Texts of the store by their digest."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def expand(self, condensed: str) -> Any:
        return expanded(json.loads(condensed), self._text)

    def _text(self, digest: str) -> str:
        row = self._db.execute("SELECT text FROM texts WHERE hash = ?", (digest,)).fetchone()
        if row is None:
            raise StoreError(f"is damaged: the text {digest} is missing")
        return readable(row[0])


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """An existing store, brought up to date where it may be written and read as it is where not."""
    if not path.exists():
        raise UsageError(f"there is no store at {path}; name one with --store or $MOA_STORE")
    with explained(str(path)):
        if os.access(path, os.W_OK) and os.access(path.absolute().parent, os.W_OK):
            with closing(open_writable(str(path), PATIENCE)) as db:
                yield db
        else:
            with closing(ReadOnlyFile(str(path), PATIENCE)) as file:
                yield file.connection()


def _delete(db: sqlite3.Connection, before: float | None, model: str | None) -> tuple[int, int, int]:
    samples = 0
    if before is not None or model is not None:
        samples = db.execute(
            "DELETE FROM responses WHERE (?2 IS NULL OR created < ?2)"
            f" AND request IN (SELECT id FROM requests WHERE {_WANTED})",
            (model, before),
        ).rowcount
    requests = db.execute("DELETE FROM requests WHERE id NOT IN (SELECT request FROM responses)").rowcount
    texts = db.execute(
        "DELETE FROM texts WHERE hash NOT IN ("
        " SELECT j.value FROM requests, json_tree(requests.messages) AS j WHERE j.key = '#' AND j.type = 'text'"
        " UNION ALL"
        " SELECT j.value FROM requests, json_tree(requests.params) AS j WHERE j.key = '#' AND j.type = 'text')"
    ).rowcount
    return samples, requests, texts


def _exported(columns: list[Any]) -> dict[str, Any]:
    fields = asdict(Record.from_row(columns))
    created = fields.pop("created")
    return {"response": fields, "created": created}


def _prefixed(table: str, columns: str) -> str:
    return ", ".join(f"{table}.{column}" for column in columns.split(", "))


def _count(db: sqlite3.Connection, table: str) -> int:
    return int(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
