"""Opening the store's file, and saying in one line what is wrong with it."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from moa.errors import StoreError
from moa.run.migrations import migrate, missing

_T = TypeVar("_T")
MEMORY = ":memory:"

_FAULTS = {
    "SQLITE_FULL": "the disk is full",
    "SQLITE_BUSY": "is locked by another program",
    "SQLITE_LOCKED": "is locked by another program",
    "SQLITE_READONLY": "may not be written",
    "SQLITE_PERM": "may not be written",
    "SQLITE_CANTOPEN": "cannot be opened: the file or its folder may not be read or written",
    "SQLITE_NOTADB": "is not a SQLite database",
    "SQLITE_CORRUPT": "is damaged; `sqlite3 FILE .recover` may save what is left",
    "SQLITE_IOERR": "the disk failed",
}


def explain(path: str, error: Exception) -> StoreError:
    """A one-line error that names the file and what is wrong with it."""
    name = getattr(error, "sqlite_errorname", "")
    family = "_".join(name.split("_")[:2])
    plain = getattr(error, "strerror", None) or str(error)
    reason = f"{_FAULTS[family]} ({error})" if family in _FAULTS else plain
    return StoreError(f"store {path}: {reason}")


@contextmanager
def explained(path: str) -> Iterator[None]:
    """Turn what SQLite and the file system raise into a `StoreError` that names the file."""
    try:
        yield
    except StoreError as error:
        raise StoreError(f"store {path}: {error}") from None
    except (sqlite3.Error, OSError, OverflowError) as error:
        raise explain(path, error) from error


def open_writable(path: str, timeout: float) -> sqlite3.Connection:
    """Open a store for reading and writing; create it and its folders, or bring it up to date.

    `timeout` is how long to wait for other writers, in seconds.
    """
    if path != MEMORY:
        _create(Path(path))
    db = _connect(path, timeout)
    try:
        if missing(db):
            _use_wal(db, path, timeout)
            migrate(db)
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA wal_autocheckpoint = 4096")
        db.execute("PRAGMA cache_size = -8192")
    except BaseException:
        db.close()
        raise
    return db


def open_again(path: str, timeout: float) -> sqlite3.Connection:
    """A second connection to a store that is open for writing."""
    return _connect(path, timeout)


class OpenFile:
    """The connection that reads a store which is open for writing."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def connection(self) -> sqlite3.Connection:
        """The connection to read with."""
        return self._db

    def close(self) -> None:
        """Close the connection."""
        self._db.close()


class ReadOnlyFile:
    """A store that is read and never written, not even its side files where that can be helped.

    A file that nobody writes is opened as immutable, which works on a read-only disk too. As soon as a
    writer shows up (a `-wal` file, or a change of the file) it is opened anew, with locks.
    """

    def __init__(self, path: str, timeout: float) -> None:
        self.path = path
        self._timeout = timeout
        self._db: sqlite3.Connection | None = None
        self._stamp: tuple[float, ...] = ()

    def connection(self) -> sqlite3.Connection:
        """The connection to read with now; raises `StoreError` for a schema that is not this one's."""
        stamp = self._look()
        if self._db is None or stamp != self._stamp:
            self.close()
            mode = "immutable=1" if stamp else "mode=ro"
            self._db = _connect(f"{Path(self.path).absolute().as_uri()}?{mode}", self._timeout, uri=True)
            self._stamp = stamp
            _check_current(self._db)
        return self._db

    def close(self) -> None:
        """Close the connection; the next `connection` opens a new one."""
        if self._db is not None:
            self._db.close()
        self._db = None

    def _look(self) -> tuple[float, ...]:
        """What the file looks like, or nothing while somebody writes it."""
        seen = Path(self.path).stat()
        return () if written_now(self.path) else (seen.st_ino, seen.st_size, seen.st_mtime_ns)


def written_now(path: str) -> bool:
    """Whether the file has a journal that is not yet part of it."""
    try:
        return Path(f"{path}-wal").stat().st_size > 0
    except FileNotFoundError:
        return False


def file_identity(path: str) -> tuple[int, int, int, int]:
    """What tells the file and its journal from others of the same names."""
    file, journal = Path(path).stat(), Path(f"{path}-wal").stat()
    return file.st_dev, file.st_ino, journal.st_dev, journal.st_ino


def begin(db: sqlite3.Connection, timeout: float) -> None:
    """Begin a transaction that writes; waits for other writers."""
    _patiently(lambda: db.execute("BEGIN IMMEDIATE"), timeout)


def _create(path: Path) -> None:
    """Make the file, readable by its owner only: it will hold prompts and answers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


def _connect(path: str, timeout: float, *, uri: bool = False) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=timeout, isolation_level=None, check_same_thread=False, uri=uri)


def _use_wal(db: sqlite3.Connection, path: str, timeout: float) -> None:
    mode = _patiently(lambda: db.execute("PRAGMA journal_mode = WAL").fetchone()[0], timeout)
    if mode != "wal" and path != MEMORY:
        raise StoreError("the file system has no shared memory (a network drive?): use a local disk")


def _check_current(db: sqlite3.Connection) -> None:
    if missing(db):
        raise StoreError("is empty or was written by an older moa; open it once for writing")


def _patiently(attempt: Callable[[], _T], timeout: float) -> _T:
    """Repeat while the file is busy: SQLite's own patience does not cover every case."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            return attempt()
        except sqlite3.OperationalError as error:
            if not error.sqlite_errorname.startswith("SQLITE_BUSY") or time.monotonic() > deadline:
                raise
        time.sleep(0.01)
