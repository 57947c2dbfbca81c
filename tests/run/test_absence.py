from __future__ import annotations

import hashlib
from pathlib import Path

from moa.backends.base import Usage
from moa.run.absence import Absence
from moa.run.keys import base_key, sample_key
from moa.run.store import Record, Store

RECORD = Record("text", "stop", None, None, None, Usage(1, 1), "m", 0.1, 1.0)


def key(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def test_what_was_added_is_never_called_absent_and_the_rest_almost_always() -> None:
    absence = Absence(key(number) for number in range(20_000))
    assert all(absence.maybe(f"{key(number)}.3") for number in range(20_000))
    assert sum(absence.maybe(key(number)) for number in range(20_000, 40_000)) <= 14


def put(store: Store, question: str) -> str:
    messages = [{"role": "user", "content": question}]
    base = base_key("m", messages, {})
    store.put(base, "m", messages, {}, [(0, RECORD)])
    return sample_key(base, 0)


async def test_a_store_finds_what_was_there_before_what_it_wrote_and_what_others_wrote(
    tmp_path: Path,
) -> None:
    path = tmp_path / "store.sqlite"
    with_old = Store.open(path)
    old = put(with_old, "old")
    await with_old.aclose()
    ours, theirs = Store.open(path), Store.open(path)
    assert ours.get([old, f"{key(1)}.0"]) == [RECORD, None]
    own = put(ours, "own")
    await ours.flush()
    assert ours.get([own]) == [RECORD]
    foreign = put(theirs, "foreign")
    await theirs.flush()
    put(ours, "another")  # the next commit notices that somebody else writes here
    await ours.flush()
    assert ours.get([foreign]) == [RECORD]
    await ours.aclose()
    await theirs.aclose()
