"""The store: every sample that a model was ever asked for, by the key of its request."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import weakref
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from moa.backends.base import Message
from moa.backends.upheld import state_folder
from moa.errors import StoreError
from moa.run.absence import MOST, Absence
from moa.run.database import MEMORY, OpenFile, ReadOnlyFile, explain, explained, open_again, open_writable
from moa.run.keys import Written, sample_key, split_key
from moa.run.record import COLUMNS, Record
from moa.run.writer import Put, Writer

__all__ = ["Record", "Store"]

Source = OpenFile | ReadOnlyFile

_forks = 0
"""How often this process is the child of a fork."""

_LOOK_UPS = (1, 4, 16, 64)
"""How many samples one statement asks for."""


class Store:
    """Samples in an SQLite file, shared by everything that asks models and by several processes at once.

    Reading is synchronous and takes tens of microseconds; writing is left to a thread of its own.
    """

    def __init__(self, path: str, source: Source, writer: Writer | None) -> None:
        self.path = path
        self._source = source
        self._writer = writer
        self._absence: Absence | None = None
        self._asked = False
        self._forks = _forks
        self._closed = False
        self._finalizer = weakref.finalize(self, _release, source, writer)

    @classmethod
    def open(
        cls, path: str | Path, *, readonly: bool = False, linger: float = 0.2, timeout: float = 30.0
    ) -> Store:
        """Open a store, and create it with its folders where it does not exist.

        `readonly` never creates or writes anything (replay). `linger` is how long a write that nobody
        waits for waits for others to share its transaction, and the longest rest between two of them,
        `timeout` how long to wait for other programs, both in seconds.
        Raises `StoreError` with one line for a file that cannot be used.
        """
        name = MEMORY if str(path) == MEMORY else str(Path(path).expanduser())
        with explained(name):
            if readonly:
                source = ReadOnlyFile(name, timeout)
                source.connection()
                return cls(name, source, None)
            db = open_writable(name, timeout)
            reader = db if name == MEMORY else open_again(name, timeout)
            return cls(name, OpenFile(reader), Writer(name, db, linger=linger, timeout=timeout))

    @staticmethod
    def default_path() -> Path:
        """`$MOA_STORE`, or `moa/store.sqlite` where this system keeps an application's state."""
        if chosen := os.environ.get("MOA_STORE"):
            return Path(chosen).expanduser()
        return state_folder() / "store.sqlite"

    @property
    def readonly(self) -> bool:
        """Whether the store was opened for replay."""
        return self._writer is None

    def get(self, keys: Sequence[str]) -> list[Record | None]:
        """The stored samples, in the order of the keys; None for a key that is not stored."""
        self._check_process()
        if len(keys) == 1 and self._certainly_new(keys[0]):
            return [None]
        pending = self._writer.pending if self._writer is not None else {}
        found = {key: pending[key] for key in keys if key in pending} if pending else {}
        if len(found) < len(keys):
            try:
                if wanted := self._perhaps_stored(keys, found):
                    self._read(wanted, found)
            except (sqlite3.Error, OSError) as error:
                raise explain(self.path, error) from error
        return [found.get(key) for key in keys]

    def put(
        self,
        base: str,
        identity: str,
        messages: Sequence[Message] | Written[tuple[Message, ...]],
        params: Mapping[str, Any] | Written[Mapping[str, Any]],
        samples: Sequence[tuple[int, Record]],
    ) -> None:
        """Add samples of one request, each with its number; never waits for the disk.

        `base` is `base_key(identity, messages, params)`. A key that is already stored keeps its first
        record. Raises `StoreError` for a read-only store and after an earlier write has failed.
        """
        self._check_process()
        if self._writer is None:
            raise StoreError(f"store {self.path}: is opened read-only (replay), so nothing can be added")
        if not isinstance(messages, Written):
            messages = Written(tuple(messages))
        if not isinstance(params, Written):
            params = Written(params)
        if self._absence is not None:
            self._absence.add(base)
        self._writer.put(Put(base, identity, messages, params, samples))

    async def flush(self) -> None:
        """Return once everything put before is committed; raises `StoreError` if a write failed."""
        if self._writer is not None:
            await asyncio.wrap_future(self._writer.flush())

    async def aclose(self) -> None:
        """Commit what is left and close the file; raises `StoreError` if a write failed."""
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        """`aclose` for callers without an event loop; closing twice is allowed."""
        self._closed = True
        self._finalizer()

    def _certainly_new(self, key: str) -> bool:
        """Whether the filter alone can tell that a sample is not stored, as for most that are asked for."""
        absence, writer = self._absence, self._writer
        if absence is None or writer is None or writer.shared:
            return False
        return not absence.maybe(key) and key not in writer.pending

    def _perhaps_stored(self, keys: Sequence[str], found: Mapping[str, Record]) -> list[str]:
        """The keys that are worth a look; all of them where others write, or too much is stored already."""
        wanted = [key for key in keys if key not in found]
        if self._writer is None:
            return wanted
        if not self._asked:
            self._asked = True
            self._absence = self._filter_of_stored()
        if self._absence is None or self._writer.shared:
            return wanted
        return [key for key in wanted if self._absence.maybe(key)]

    def _filter_of_stored(self) -> Absence | None:
        rows = self._source.connection().execute("SELECT base FROM requests LIMIT ?", (MOST + 1,)).fetchall()
        return Absence(row[0] for row in rows) if len(rows) <= MOST else None

    def _check_process(self) -> None:
        if self._closed:
            raise StoreError(f"store {self.path}: is closed")
        if self._forks != _forks:
            raise StoreError(f"store {self.path}: was opened before a fork; each process must open its own")

    def _read(self, keys: Sequence[str], found: dict[str, Record]) -> None:
        db = self._source.connection()
        for base, numbers in _by_base(keys).items():
            for start in range(0, len(numbers), _LOOK_UPS[-1]):
                wanted = numbers[start : start + _LOOK_UPS[-1]]
                size = next(size for size in _LOOK_UPS if size >= len(wanted))
                wanted += wanted[-1:] * (size - len(wanted))
                rows = db.execute(_look_up(size), (base, *wanted)).fetchall()
                found.update((sample_key(base, row[0]), Record.from_row(row[1:])) for row in rows)


def _count_fork() -> None:
    global _forks
    _forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_count_fork)


def _by_base(keys: Sequence[str]) -> dict[str, list[int]]:
    numbers: dict[str, list[int]] = {}
    for key in keys:
        base, number = split_key(key)
        numbers.setdefault(base, []).append(number)
    return numbers


@lru_cache
def _look_up(samples: int) -> str:
    return (
        f"SELECT sample, {COLUMNS} FROM responses WHERE request = (SELECT id FROM requests WHERE base = ?)"
        f" AND sample IN ({','.join('?' * samples)})"
    )


def _release(source: Source, writer: Writer | None) -> None:
    try:
        if writer is not None:
            writer.close()
    finally:
        source.close()
