"""Writes that fail: named at the flush, and never lost in silence."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from moa.errors import StoreError
from moa.run.database import explain
from moa.run.store import Store
from tests.support.stored import check_integrity, count, key_of, put, record


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    """A store with little patience; the test closes it."""
    store = Store.open(path, timeout=0.1, linger=0)
    yield store
    store.close()


@pytest.fixture
def rival(path: Path, store: Store) -> Iterator[sqlite3.Connection]:
    """Another program that holds the file for itself."""
    rival = sqlite3.connect(path, isolation_level=None)
    rival.execute("BEGIN IMMEDIATE")
    yield rival
    rival.close()


async def test_a_locked_file_is_named(path: Path, store: Store, rival: sqlite3.Connection) -> None:
    [key] = put(store, "why?", record("because"))
    with pytest.raises(StoreError, match=f"^store {path}: is locked by another program"):
        await store.flush()
    with pytest.raises(StoreError, match="is locked"):
        put(store, "how?", record("so"))
    assert store.get([key]) == [record("because")]
    rival.execute("ROLLBACK")


async def test_a_later_flush_saves_what_failed(path: Path, store: Store, rival: sqlite3.Connection) -> None:
    for number in range(3):
        put(store, f"question {number}", record("because"))
    with pytest.raises(StoreError, match="is locked"):
        await store.flush()
    rival.execute("ROLLBACK")
    await store.flush()
    put(store, "how?", record("so"))
    await store.flush()
    assert count(path, "responses") == 4


async def test_closing_says_what_was_not_saved(path: Path) -> None:
    store = Store.open(path, timeout=0.1, linger=0)
    rival = sqlite3.connect(path, isolation_level=None)
    rival.execute("BEGIN IMMEDIATE")
    put(store, "why?", record("because"))
    with pytest.raises(StoreError, match="is locked"):
        await store.aclose()
    rival.close()
    assert count(path, "responses") == 0


def test_opening_a_locked_file(path: Path) -> None:
    rival = sqlite3.connect(path, isolation_level=None)
    rival.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreError, match=f"^store {path}: is locked by another program"):
        Store.open(path, timeout=0.1)
    rival.close()


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be deleted there")
@pytest.mark.parametrize("what", ["store.sqlite", "store.sqlite-wal"])
async def test_a_deleted_file_is_noticed(path: Path, what: str) -> None:
    store = Store.open(path)
    put(store, "why?", record("because"))
    await store.flush()
    path.with_name(what).unlink()
    put(store, "how?", record("so"))
    with pytest.raises(StoreError, match="deleted or moved while in use"):
        await store.flush()
    with pytest.raises(StoreError, match="deleted or moved while in use"):
        await store.aclose()


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be replaced there")
async def test_a_replaced_file_is_noticed(path: Path) -> None:
    store = Store.open(path)
    put(store, "why?", record("because"))
    await store.flush()
    for name in ("store.sqlite", "store.sqlite-wal", "store.sqlite-shm"):
        path.with_name(name).rename(path.with_name(f"old-{name}"))
    other = Store.open(path)
    put(other, "why?", record("because"))
    await other.flush()
    put(store, "how?", record("so"))
    with pytest.raises(StoreError, match="replaced while in use"):
        await store.flush()
    with pytest.raises(StoreError, match="replaced while in use"):
        await store.aclose()
    await other.aclose()


FILL_THE_DISK = """
import asyncio, resource, sys
from moa.errors import StoreError
from moa.run.store import Store
from tests.support.stored import put, record

async def main():
    store = Store.open(sys.argv[1], linger=0)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, hard))
    kept = 0
    try:
        for kept in range(10_000):
            put(store, f"question {kept}", record("because " * 500))
            await store.flush()
    except StoreError as error:
        print(kept, error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    await store.aclose()

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no limit on the size of files")
def test_a_full_disk_is_named_and_nothing_is_lost(path: Path) -> None:
    command = [sys.executable, "-c", FILL_THE_DISK, str(path)]
    child = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    kept, _, message = child.stdout.strip().partition(" ")
    assert message.startswith(f"store {path}: the disk")
    assert 0 < int(kept) < 10_000
    check_integrity(path)
    store = Store.open(path, readonly=True)
    assert all(store.get([key_of(f"question {number}") for number in range(int(kept) + 1)]))
    store.close()


def test_a_full_database_is_a_full_disk(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("PRAGMA max_page_count = 2")
    with pytest.raises(sqlite3.OperationalError) as caught:
        for number in range(100):
            db.execute(f"CREATE TABLE t{number} (a)")
    db.close()
    assert str(explain("x.sqlite", caught.value)).startswith("store x.sqlite: the disk is full")


FORK = """
import os, sys
from moa.errors import StoreError
from moa.run.store import Store
from tests.support.stored import key_of, put, record
store = Store.open(sys.argv[1])
put(store, "why?", record("because"))
if os.fork() == 0:
    try:
        store.get([key_of("why?")])
    except StoreError as error:
        print(error, flush=True)
    own = Store.open(sys.argv[1])
    put(own, "how?", record("so"))
    own.close()
    os._exit(0)
os.wait()
store.close()
"""


@pytest.mark.skipif(not hasattr(sys, "getdlopenflags"), reason="has no fork")
def test_a_forked_child_must_open_its_own(path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", FORK, str(path)]
    child = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert child.stdout.strip() == f"store {path}: was opened before a fork; each process must open its own"
    assert count(path, "responses") == 2
    check_integrity(path)
