"""The store's writer: one thread that commits everything that waits for it in one transaction."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from functools import lru_cache
from itertools import chain, islice
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

from moa.errors import StoreError
from moa.run.database import MEMORY, begin, explain, file_identity
from moa.run.keys import Texts, Written, sample_key
from moa.run.record import COLUMNS, Record, storable, storable_json
from moa.values import value

_CHUNKS = tuple(1 << power for power in range(9 if sqlite3.sqlite_version_info >= (3, 32) else 6, -1, -1))
"""Rows per statement. One statement for many rows, because each one gives up and regains the GIL; older
versions of SQLite take 999 values."""
_GROUP = 1024
"""Puts per transaction, at most."""
_REST = 8
"""Times the duration of a transaction that pass before the next: what flushes cost has this bound, whatever the disk."""
_REMEMBERED = 8192
"""Digests of texts and requests that need not be written again, at most."""

Values = Sequence[Any]


@value(frozen=True, slots=True)
class Put:
    """What one call of `Store.put` adds: samples of a request, which stand in `Writer.pending` until then."""

    base: str
    identity: str
    messages: Written[tuple[Any, ...]]
    params: Written[Mapping[str, Any]]
    samples: Sequence[tuple[int, Record]]

    def request(self) -> Values:
        """The row of the request."""
        return (self.base, self.identity, storable_json(self.messages.json), storable_json(self.params.json))


class _Stop(NamedTuple):
    done: Future[None]


class _Insertion(NamedTuple):
    table: str
    row: str
    unique: str


_TEXTS = _Insertion("texts (hash, text)", "(?,?)", "hash")
_REQUESTS = _Insertion("requests (base, identity, messages, params)", "(?,?,?,?)", "base")
_RESPONSES = _Insertion(
    f"responses (request, sample, {COLUMNS})",
    f"((SELECT id FROM requests WHERE base = ?),?{',?' * (COLUMNS.count(',') + 1)})",
    "request, sample",
)

_Item = Put | Future[None] | _Stop


class Writer:
    """Commits what is put, in groups.

    After the first put the thread waits `linger` seconds for others to join its transaction, or until
    somebody waits for it. Between two transactions it rests for several times as long as the last one
    took, at most `linger`: where there are many flushes they share transactions, and a lone one is done
    at once. A write that failed is kept: the next flush tries it again, and until one succeeds further
    puts are refused.
    """

    def __init__(self, path: str, db: sqlite3.Connection, *, linger: float, timeout: float) -> None:
        self.pending: dict[str, Record] = {}
        """Records by key that are put and not yet committed."""
        self.error: StoreError | None = None
        self.shared = False
        """Whether another process has written since the store was opened."""
        self._path = path
        self._db = db
        self._linger = linger
        self._timeout = timeout
        self._queue: SimpleQueue[_Item] = SimpleQueue()
        self._hurry = threading.Event()
        self._closing = threading.Event()
        self._rested = float("-inf")
        self._backlog: list[Put] = []
        self._written: dict[str, None] = {}
        self._version = _data_version(db)
        self._identity: tuple[int, ...] | None = None
        self._thread: threading.Thread | None = None

    def put(self, item: Put) -> None:
        """Queue rows; raises the `StoreError` of an earlier write that failed."""
        if self.error is not None:
            raise StoreError(str(self.error))
        for number, record in item.samples:
            self.pending.setdefault(sample_key(item.base, number), record)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="moa-store", daemon=True)
            self._thread.start()
        self._queue.put(item)

    def flush(self) -> Future[None]:
        """A future that is done once everything put so far is committed, or has failed."""
        done: Future[None] = Future()
        if self._thread is None:
            done.set_result(None)
        else:
            self._send(done)
        return done

    def close(self) -> None:
        """Commit what is left, end the thread and close the connection; raises `StoreError` where that failed."""
        try:
            if self._thread is not None:
                done: Future[None] = Future()
                self._closing.set()
                self._send(_Stop(done))
                self._thread.join()
                done.result()
        finally:
            self._thread = None
            self._db.close()

    def _send(self, item: _Item) -> None:
        self._queue.put(item)
        self._hurry.set()

    def _run(self) -> None:
        while True:
            items = self._gather()
            began = time.monotonic()
            self._commit([item for item in items if isinstance(item, Put)], wanted=len(items))
            ended = time.monotonic()
            self._rested = ended + min(self._linger, _REST * (ended - began))
            stop = [item.done for item in items if isinstance(item, _Stop)]
            for waiting in (*(item for item in items if isinstance(item, Future)), *stop):
                self._settle(waiting)
            if stop:
                return

    def _gather(self) -> list[_Item]:
        items = [self._queue.get()]
        if isinstance(items[0], Put):
            self._hurry.wait(self._linger)
        self._closing.wait(max(0.0, self._rested - time.monotonic()))
        self._hurry.clear()
        try:
            while len(items) < _GROUP:
                items.append(self._queue.get_nowait())
        except Empty:
            pass
        return items

    def _settle(self, waiting: Future[None]) -> None:
        if not waiting.set_running_or_notify_cancel():
            return
        if self.error is None:
            waiting.set_result(None)
        else:
            waiting.set_exception(StoreError(str(self.error)))

    def _commit(self, puts: list[Put], wanted: int) -> None:
        if len(puts) == wanted and self.error is not None:
            self._backlog += puts
            return
        puts = self._backlog + puts
        if not puts:
            return
        try:
            self._write(puts)
        except (sqlite3.Error, OSError, OverflowError) as error:
            self._backlog, self.error = puts, explain(self._path, error)
            return
        except StoreError as error:
            self._backlog, self.error = puts, error
            return
        self._backlog, self.error = [], None
        for item in puts:
            for number, _ in item.samples:
                self.pending.pop(sample_key(item.base, number), None)

    def _write(self, puts: list[Put]) -> None:
        requests = {item.base: item for item in puts}
        begin(self._db, self._timeout)
        with self._db:
            self._forget_if_changed()
            known = self._written
            new = [item for base, item in requests.items() if base not in known]
            texts: Texts = {}
            for item in new:
                texts |= item.messages.texts
                texts |= item.params.texts
            written: list[Any] = []
            for address, text in texts.items():
                if address not in known:
                    written += (address, storable(text))
            _insert(self._db, _TEXTS, written)
            _insert(self._db, _REQUESTS, list(chain.from_iterable([item.request() for item in new])))
            answers: list[Any] = []
            for item in puts:
                for number, record in item.samples:
                    answers += (item.base, number, *record.to_row())
            _insert(self._db, _RESPONSES, answers)
        self._check_file()
        self._remember(chain(texts, requests))

    def _forget_if_changed(self) -> None:
        """Another process may have deleted what this one wrote (`moa store gc`): then write it again."""
        version = _data_version(self._db)
        if version != self._version:
            self._written.clear()
            self._version = version
            self.shared = True

    def _remember(self, addresses: Iterable[str]) -> None:
        self._written.update(dict.fromkeys(addresses))
        for address in list(islice(self._written, max(0, len(self._written) - _REMEMBERED))):
            del self._written[address]

    def _check_file(self) -> None:
        """A deleted file can be written without an error: notice that it is no longer there."""
        if self._path == MEMORY:
            return
        try:
            identity = file_identity(self._path)
        except FileNotFoundError:
            raise StoreError(f"store {self._path}: the file was deleted or moved while in use") from None
        if self._identity not in (None, identity):
            raise StoreError(f"store {self._path}: the file was replaced while in use")
        self._identity = identity


def _data_version(db: sqlite3.Connection) -> int:
    """A number that changes when another connection commits, and not when this one does."""
    return int(db.execute("PRAGMA data_version").fetchone()[0])


def _insert(db: sqlite3.Connection, into: _Insertion, values: Values) -> None:
    """Insert the rows, one after another in `values`, that are not there yet: the first writer wins."""
    start, width = 0, into.row.count("?")
    for rows in _CHUNKS:
        while len(values) - start >= rows * width:
            db.execute(_statement(into, rows), values[start : start + rows * width])
            start += rows * width


@lru_cache
def _statement(into: _Insertion, rows: int) -> str:
    return f"INSERT INTO {into.table} VALUES {','.join([into.row] * rows)} ON CONFLICT ({into.unique}) DO NOTHING"
