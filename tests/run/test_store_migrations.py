"""Stores of other versions."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from moa.errors import StoreError
from moa.run.migrations import APPLICATION_ID, MIGRATIONS, Migration, migrate, missing
from moa.run.store import Store
from tests.support.stored import count, key_of, put, record


def m001_words(db: sqlite3.Connection) -> None:
    db.execute("CREATE TABLE words (word TEXT)")


def m002_lengths(db: sqlite3.Connection) -> None:
    db.execute("ALTER TABLE words ADD COLUMN length INTEGER")
    db.execute("UPDATE words SET length = length(word)")


def m003_broken(db: sqlite3.Connection) -> None:
    db.execute("DELETE FROM words")
    db.execute("SELECT nonsense")


Connect = Callable[[], sqlite3.Connection]


@pytest.fixture
def connect(tmp_path: Path) -> Iterator[Connect]:
    opened = []

    def connect() -> sqlite3.Connection:
        db = sqlite3.connect(tmp_path / "db", isolation_level=None, check_same_thread=False, timeout=10)
        opened.append(db)
        return db

    yield connect
    for db in opened:
        db.close()


def applied(db: sqlite3.Connection) -> list[tuple[int, str]]:
    return db.execute("SELECT number, name FROM migrations ORDER BY number").fetchall()


def test_an_older_schema_is_brought_up_to_date(connect: Connect) -> None:
    db = connect()
    migrate(db, [m001_words])
    db.execute("INSERT INTO words VALUES ('moa')")
    assert missing(db, [m001_words, m002_lengths]) == 1
    migrate(db, [m001_words, m002_lengths])
    assert db.execute("SELECT * FROM words").fetchall() == [("moa", 3)]
    assert applied(db) == [(1, "m001_words"), (2, "m002_lengths")]


def test_migrating_twice_changes_nothing(connect: Connect) -> None:
    steps = [m001_words, m002_lengths]
    migrate(connect(), steps)
    migrate(connect(), steps)
    assert applied(connect()) == [(1, "m001_words"), (2, "m002_lengths")]


def test_a_step_that_fails_undoes_all(connect: Connect) -> None:
    db = connect()
    migrate(db, [m001_words])
    db.execute("INSERT INTO words VALUES ('moa')")
    with pytest.raises(sqlite3.OperationalError, match="nonsense"):
        migrate(db, [m001_words, m002_lengths, m003_broken])
    assert db.execute("SELECT * FROM words").fetchall() == [("moa",)]
    assert applied(db) == [(1, "m001_words")]
    assert not db.in_transaction


def test_two_who_migrate_at_once_do_it_once(connect: Connect) -> None:
    migrate(connect(), [m001_words])
    barrier = threading.Barrier(4)
    failures: list[sqlite3.Error] = []

    def work(db: sqlite3.Connection) -> None:
        barrier.wait()
        try:
            migrate(db, [m001_words, m002_lengths])
        except sqlite3.Error as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(connect(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert applied(connect()) == [(1, "m001_words"), (2, "m002_lengths")]


def test_steps_are_numbered_by_their_names() -> None:
    def number(step: Migration) -> int:
        return int(step.__name__[1:4])

    assert [number(step) for step in MIGRATIONS] == list(range(1, len(MIGRATIONS) + 1))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "store.sqlite"
    store = Store.open(path)
    put(store, "why?", record("because"))
    store.close()
    return path


@pytest.mark.parametrize("readonly", [False, True])
def test_a_newer_store_is_refused_and_left_alone(path: Path, readonly: bool) -> None:
    db = sqlite3.connect(path)
    db.execute("INSERT INTO migrations VALUES (99, 'm099_future', 0)")
    db.commit()
    db.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match=rf"^store {path}: .*newer moa \(schema 99.*upgrade moa$"):
        Store.open(path, readonly=readonly)
    assert path.read_bytes() == before


def test_an_older_store_migrates_when_it_is_opened(tmp_path: Path) -> None:
    """A file from before the first step: all there is of older versions so far."""
    path = tmp_path / "store.sqlite"
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute("CREATE TABLE migrations (number INTEGER PRIMARY KEY, name TEXT, applied REAL)")
    db.commit()
    db.close()
    with pytest.raises(StoreError, match="an older moa; open it once for writing"):
        Store.open(path, readonly=True)
    store = Store.open(path)
    [key] = put(store, "why?", record("because"))
    store.close()
    assert count(path, "migrations") == len(MIGRATIONS)
    assert Store.open(path, readonly=True).get([key]) == [record("because")]


def test_a_store_of_the_first_version_still_opens(tmp_path: Path) -> None:
    """Written out by hand as version 1 made it, so that later steps are tried on the real thing."""
    path = tmp_path / "store.sqlite"
    db = sqlite3.connect(path, isolation_level=None)
    migrate(db, MIGRATIONS[:1])
    messages = '[{"content":{"#":"abc"},"role":"system"},{"content":"why?","role":"user"}]'
    base = key_of("why?").partition(".")[0]
    db.execute("INSERT INTO texts VALUES ('abc', 'Be brief.')")
    db.execute("INSERT INTO requests VALUES (1, ?, 'm', ?, '{}')", (base, messages))
    db.execute(
        "INSERT INTO responses VALUES"
        " (1, 0, 'because', NULL, 'stop', NULL, 10, 5, 3, 2, 0, 'alpha-2026', 0.25, 1000000.0)"
    )
    db.close()
    store = Store.open(path)
    assert store.get([key_of("why?")]) == [record("because")]
    store.close()
