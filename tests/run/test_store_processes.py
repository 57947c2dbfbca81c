"""Several processes on one file, and processes that die."""

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from moa.run.inventory import collect, export
from moa.run.store import Store
from tests.support.stored import check_integrity, count, key_of, put, record

WRITE = """
import asyncio, random, sys
from moa.run.store import Store
from tests.support.stored import put, record

async def main(path, name, keys):
    numbers = list(range(keys))
    random.Random(name).shuffle(numbers)
    store = Store.open(path, linger=0.002)
    for done, number in enumerate(numbers):
        put(store, f"{'question ' * 20}{number}", record(f"{name}'s answer to {number}"))
        if done % 5 == 0:
            await store.flush()
            print(*numbers[: done + 1][-5:], flush=True)
    await store.aclose()

print("ready", flush=True)
sys.stdin.readline()
asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


def question(number: int) -> str:
    return f"{'question ' * 20}{number}"


def start(path: Path, name: str, keys: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITE, str(path), name, str(keys)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def let_go(*processes: subprocess.Popen[str]) -> None:
    """Wait until all are ready, then let them all write at once."""
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()


def test_processes_that_write_the_same_keys_make_each_row_once(tmp_path: Path) -> None:
    path = tmp_path / "new" / "store.sqlite"
    processes = [start(path, name, 300) for name in ("ann", "bob", "cy")]
    let_go(*processes)
    outcomes = [process.communicate(timeout=100) for process in processes]
    assert [error for _, error in outcomes] == ["", "", ""]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert count(path, "responses") == count(path, "requests") == 300
    assert count(path, "texts") == 1 + 300
    assert count(path, "migrations") == 1
    check_integrity(path)
    store = Store.open(path, readonly=True)
    found = store.get([key_of(question(number)) for number in range(300)])
    store.close()
    assert all(one and one.text.endswith(f"answer to {number}") for number, one in enumerate(found))
    assert len({one.text.partition("'")[0] for one in found if one}) > 1, "the processes did not overlap"


def live_and_die(path: Path, name: str, seconds: float) -> set[int]:
    """Kill a writer after a while; the questions whose commit it had reported."""
    process = start(path, name, 100_000)
    let_go(process)
    assert process.stdout is not None
    lines = [process.stdout.readline()]
    time.sleep(seconds)
    process.kill()
    lines += process.communicate(timeout=30)[0].splitlines(keepends=True)
    return {int(word) for line in lines if line.endswith("\n") for word in line.split()}


def test_a_killed_process_leaves_what_it_had_committed(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    rng = random.Random(7)
    reported: set[int] = set()
    for life in range(5):
        reported |= live_and_die(path, f"life {life}", rng.uniform(0.0, 0.1))
        replay = Store.open(path, readonly=True)
        assert all(replay.get([key_of(question(number)) for number in reported]))
        replay.close()
    check_integrity(path)
    assert count(path, "responses") >= len(reported) > 5
    store = Store.open(path)
    put(store, "after all", record("alive"))
    store.close()
    assert count(path, "responses") > len(reported)


@pytest.mark.parametrize("dry_run", [False, True])
def test_collecting_while_others_write(tmp_path: Path, dry_run: bool) -> None:
    """Whatever is collected, what is stored is whole: no response without its request and its texts."""
    path = tmp_path / "store.sqlite"
    Store.open(path).close()
    process = start(path, "ann", 400)
    let_go(process)
    collected = 0
    while process.poll() is None:
        collected += collect(path, before=2_000_000.0, model=None, dry_run=dry_run).samples
        time.sleep(0.02)
    _, error = process.communicate(timeout=60)
    assert error == ""
    assert process.returncode == 0
    assert dry_run or collected + count(path, "responses") == 400
    assert not dry_run or count(path, "responses") == 400
    check_integrity(path)
    assert len(list(export(path))) == count(path, "responses")
