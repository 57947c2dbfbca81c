import asyncio
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moa.backends.base import Usage
from moa.errors import StoreError
from moa.run.keys import base_key
from moa.run.store import Record, Store
from moa.run.writer import Put, Writer
from tests.support.stored import count, key_of, put, record


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    store = Store.open(path)
    yield store
    store.close()


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=300)
RECORDS = st.builds(
    Record,
    text=ANY_TEXT,
    finish_reason=st.none() | st.text(st.characters(codec="utf-8")),
    reasoning=st.none() | ANY_TEXT,
    logprobs=JSON_VALUES,
    tool_calls=JSON_VALUES,
    usage=st.builds(Usage, *[st.integers(0, 2**62)] * 4, estimated=st.booleans()),
    model=st.text(st.characters(codec="utf-8")),
    latency=st.floats(0, 1e6),
    created=st.floats(0, 1e11),
)


@pytest.fixture(scope="module")
def memory() -> Iterator[Store]:
    store = Store.open(":memory:", linger=0)
    yield store
    store.close()


@settings(max_examples=50, deadline=None)
@given(st.lists(RECORDS, min_size=1, max_size=4))
async def test_a_record_comes_back_as_it_was(memory: Store, records: list[Record]) -> None:
    question = repr(records)
    keys = put(memory, question, *records)
    await memory.flush()
    assert memory.get(keys) == records


async def test_what_is_put_can_be_read_at_once_and_after_the_commit(store: Store) -> None:
    keys = put(store, "why?", record("because"), record("just so"))
    before = store.get(keys)
    await store.flush()
    assert before == store.get(keys) == [record("because"), record("just so")]


async def test_absent_keys_are_none_in_their_places(store: Store) -> None:
    first, second = put(store, "why?", record("a"), record("b"))
    await store.flush()
    absent = key_of("unheard of")
    assert store.get([absent, second, first, absent]) == [None, record("b"), record("a"), None]
    assert store.get([]) == []


async def test_hundreds_of_samples_are_looked_up_in_one_call(store: Store) -> None:
    keys = put(store, "why?", *(record(str(n)) for n in range(200)))
    await store.flush()
    texts = [found and found.text for found in store.get([*keys[::-1], key_of("why?", 200)])]
    assert texts == [*map(str, reversed(range(200))), None]


async def test_the_first_record_of_a_key_stays(path: Path, store: Store) -> None:
    [key] = put(store, "why?", record("first"))
    put(store, "why?", record("second"))
    await store.flush()
    put(store, "why?", record("third"))
    await store.flush()
    other = Store.open(path, readonly=True)
    assert store.get([key]) == other.get([key]) == [record("first")]
    other.close()
    assert count(path, "responses") == 1


async def test_equal_texts_are_stored_once(path: Path, store: Store) -> None:
    for model in ("a", "b", "c"):
        for number in range(4):
            put(store, f"{'a long question ' * 20}{number}", record("answer"), identity=model)
    await store.flush()
    assert count(path, "texts") == 1 + 4  # the system prompt and the questions
    assert count(path, "requests") == 12


async def test_parts_images_and_tools_are_kept(store: Store, path: Path) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}}
    messages = [{"role": "user", "content": [{"type": "text", "text": "what?"}, image]}]
    params = {"tools": [{"type": "function", "function": {"name": "f", "description": "long " * 50}}]}
    for sample in range(2):
        base = base_key("m", messages, params)
        store.put(base, "m", messages, params, [(sample, record("it"))])
    await store.flush()
    assert count(path, "texts") == 2
    assert path.with_name("store.sqlite-wal").stat().st_size < 1_000_000


async def test_put_waits_neither_for_the_disk_nor_for_other_programs(path: Path, store: Store) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    started = time.monotonic()
    keys = [key for n in range(50) for key in put(store, f"question {n}", record(str(n)))]
    assert all(store.get(keys))
    assert time.monotonic() - started < 5
    assert count(path, "responses") == 0
    other.execute("ROLLBACK")
    other.close()
    await store.flush()
    assert count(path, "responses") == 50


async def test_a_cancelled_flush_harms_nobody(path: Path, store: Store) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    put(store, "why?", record("because"))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await store.flush()
    other.execute("ROLLBACK")
    other.close()
    await store.flush()
    assert count(path, "responses") == 1


async def test_many_flushes_at_once(path: Path, store: Store) -> None:
    async def ask(number: int) -> None:
        put(store, f"question {number}", record(str(number)))
        await store.flush()

    async with asyncio.TaskGroup() as group:
        for number in range(100):
            group.create_task(ask(number))
    assert count(path, "responses") == 100


async def test_flushes_share_transactions_where_the_disk_is_slow(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty flushes in a row take a few transactions, not twenty."""
    write = Writer._write

    def slowly(writer: Writer, puts: list[Put]) -> None:
        time.sleep(0.03)
        write(writer, puts)

    monkeypatch.setattr(Writer, "_write", slowly)
    store = Store.open(path, linger=0.2)
    watcher = sqlite3.connect(path)
    versions = set()

    async def ask(number: int) -> None:
        await asyncio.sleep(number / 100)
        put(store, f"question {number}", record(str(number)))
        await store.flush()
        versions.add(watcher.execute("PRAGMA data_version").fetchone())

    async with asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(ask(number))
    watcher.close()
    await store.aclose()
    assert count(path, "responses") == 20
    assert len(versions) < 10


async def test_a_flush_waits_for_nobody_else(path: Path) -> None:
    """Flushes one after another do not wait for company, however long a write without a flush does."""
    store = Store.open(path, linger=60)
    async with asyncio.timeout(30):
        for number in range(5):
            put(store, f"question {number}", record(str(number)))
            await store.flush()
    assert count(path, "responses") == 5
    await store.aclose()


async def test_closing_commits_and_cleans_up(path: Path) -> None:
    store = Store.open(path)
    put(store, "why?", record("because"))
    await store.aclose()
    await store.aclose()
    assert list(path.parent.iterdir()) == [path]
    assert count(path, "responses") == 1
    with pytest.raises(StoreError, match="is closed"):
        store.get([key_of("why?")])
    with pytest.raises(StoreError, match="is closed"):
        put(store, "why?", record("because"))


async def test_flushing_after_closing_is_nothing(path: Path) -> None:
    store = Store.open(path)
    await store.aclose()
    await store.flush()


def test_a_store_that_is_forgotten_still_commits(path: Path) -> None:
    store = Store.open(path)
    put(store, "why?", record("because"))
    del store
    assert count(path, "responses") == 1


def test_a_store_that_is_open_at_the_end_of_the_program_commits(path: Path) -> None:
    program = (
        "import sys; from moa.run.store import Store; from tests.support.stored import put, record;"
        "store = Store.open(sys.argv[1], linger=60); put(store, 'why?', record('because'))"
    )
    subprocess.run([sys.executable, "-c", program, str(path)], check=True, timeout=60)
    assert count(path, "responses") == 1


async def test_memory_is_shared_between_threads() -> None:
    store = Store.open(":memory:")
    errors: list[Exception] = []

    def work(name: int) -> None:
        try:
            for number in range(50):
                keys = put(store, f"{name} {number}", record("a"))
                assert store.get(keys) == [record("a")]
        except Exception as error:  # noqa: BLE001 - handed to the main thread
            errors.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    await store.flush()
    assert not errors
    assert all(store.get([key_of(f"{n} {i}") for n in range(4) for i in range(50)]))
    await store.aclose()


def test_folders_are_created_and_the_file_is_private(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "store.sqlite"
    Store.open(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_home_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    Store.open("~/kept.sqlite").close()
    assert (tmp_path / "kept.sqlite").exists()


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"MOA_STORE": "/x/y.sqlite"}, "/x/y.sqlite"),
        ({"MOA_STORE": "~/y.sqlite"}, "/home/me/y.sqlite"),
        ({"XDG_STATE_HOME": "/state"}, "/state/moa/store.sqlite"),
        ({}, "/home/me/.local/state/moa/store.sqlite"),
    ],
)
def test_default_path(environment: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MOA_STORE", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ({"HOME": "/home/me"} | environment).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", "linux")
    assert Store.default_path() == Path(expected)


async def test_the_view_reads_like_a_log(path: Path, store: Store) -> None:
    put(store, "why? " * 50, record("because", reasoning="hm", created=0.0))
    put(store, "short", record("yes", created=1.0), identity="plain name")
    await store.flush()
    db = sqlite3.connect(path)
    columns = "time, model, sample, prompt, response, reasoning, params, input_tokens, key"
    rows = db.execute(f"SELECT {columns} FROM samples ORDER BY time").fetchall()
    db.close()
    system = "system: " + "Be brief. " * 30
    params = '{"max_tokens":64,"temperature":0.7}'
    assert rows == [
        ("1970-01-01 00:00:00", "alpha", 0, f"{system}\nuser: {'why? ' * 50}", "because", "hm", params, 10,
         key_of("why? " * 50)),
        ("1970-01-01 00:00:01", "plain name", 0, f"{system}\nuser: short", "yes", None, params, 10,
         key_of("short", identity="plain name")),
    ]  # fmt: skip


def _spoil(path: Path, kind: str) -> None:
    if kind == "text":
        path.write_text("these are my notes\n" * 100)
    elif kind == "folder":
        path.mkdir()
    elif kind == "foreign":
        db = sqlite3.connect(path)
        db.execute("CREATE TABLE recipes (name)")
        db.close()


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("text", "is not a SQLite database"), ("folder", "Is a directory"), ("foreign", "of another program")],
)
@pytest.mark.parametrize("readonly", [False, True])
def test_what_is_no_store_is_refused_and_left_alone(
    path: Path, kind: str, reason: str, readonly: bool
) -> None:
    _spoil(path, kind)
    before = path.read_bytes() if path.is_file() else b""
    if readonly and kind == "folder":
        reason = "cannot be opened|disk failed"
    with pytest.raises(StoreError, match=f"^store {path}: .*({reason})") as caught:
        Store.open(path, readonly=readonly)
    assert "\n" not in str(caught.value)
    assert (path.read_bytes() if path.is_file() else b"") == before


def test_a_file_where_a_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(StoreError, match=r"Not a directory|File exists"):
        Store.open(tmp_path / "a" / "store.sqlite")


def test_a_damaged_file_is_named(path: Path) -> None:
    store = Store.open(path)
    for number in range(50):
        [key] = put(store, f"question {number}", record("because " * 100))
    store.close()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2].ljust(len(whole), b"\xff"))
    with pytest.raises(StoreError, match=f"^store {path}: is damaged"):
        Store.open(path, readonly=True).get([key])
