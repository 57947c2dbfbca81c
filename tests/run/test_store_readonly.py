"""Replay: a store that is read and never written."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from moa.errors import StoreError
from moa.run.store import Store
from tests.support.stored import key_of, put, record


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "store.sqlite"
    store = Store.open(path)
    put(store, "why?", record("because"))
    store.close()
    return path


def test_reading_leaves_no_trace(path: Path) -> None:
    before = path.read_bytes()
    store = Store.open(path, readonly=True)
    assert store.readonly
    assert store.get([key_of("why?"), key_of("how?")]) == [record("because"), None]
    assert list(path.parent.iterdir()) == [path]
    store.close()
    assert list(path.parent.iterdir()) == [path]
    assert path.read_bytes() == before


def test_a_missing_file_is_not_created(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="No such file"):
        Store.open(tmp_path / "a" / "store.sqlite", readonly=True)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_file_is_no_store(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    path.touch()
    with pytest.raises(StoreError, match="is empty"):
        Store.open(path, readonly=True)
    assert path.read_bytes() == b""


async def test_nothing_can_be_added(path: Path) -> None:
    store = Store.open(path, readonly=True)
    with pytest.raises(StoreError, match="read-only"):
        put(store, "how?", record("so"))
    await store.flush()
    await store.aclose()


async def test_what_others_write_meanwhile_is_seen(path: Path) -> None:
    replay = Store.open(path, readonly=True)
    writer = Store.open(path)
    assert replay.get([key_of("how?")]) == [None]
    put(writer, "how?", record("so"))
    await writer.flush()
    assert replay.get([key_of("how?")]) == [record("so")]
    put(writer, "when?", record("now"))
    await writer.aclose()
    assert replay.get([key_of("when?"), key_of("why?")]) == [record("now"), record("because")]
    await replay.aclose()


async def test_a_file_that_was_written_and_closed_is_read_anew(path: Path) -> None:
    replay = Store.open(path, readonly=True)
    writer = Store.open(path)
    put(writer, "how?", record("so " * 5000))
    await writer.aclose()
    assert replay.get([key_of("how?")]) == [record("so " * 5000)]
    await replay.aclose()


def test_a_file_that_is_gone_is_named(path: Path) -> None:
    replay = Store.open(path, readonly=True)
    path.rename(path.with_name("elsewhere"))
    with pytest.raises(StoreError, match=f"^store {path}: No such file"):
        replay.get([key_of("why?")])
    replay.close()


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that other users can reach: the test's own may be private."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


READ_AS_NOBODY = """
import os, sys
from moa.errors import StoreError
from moa.run.store import Store
from tests.support.stored import key_of, put, record
if os.geteuid() == 0:
    os.seteuid(65534)
[found] = Store.open(sys.argv[1], readonly=True).get([key_of("why?")])
print(found.text)
try:
    store = Store.open(sys.argv[1])
except StoreError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="permissions are another thing there")
def test_a_folder_that_may_not_be_written(path: Path, public_folder: Path) -> None:
    kept = public_folder / "store.sqlite"
    shutil.copy(path, kept)
    kept.chmod(0o444)
    public_folder.chmod(0o555)
    reader = subprocess.run(
        [sys.executable, "-c", READ_AS_NOBODY, str(kept)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert reader.stdout.splitlines() == ["because", f"store {kept}: Permission denied"]
    assert os.listdir(public_folder) == ["store.sqlite"]  # noqa: PTH208 - names are what matters
