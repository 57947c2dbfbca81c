"""Counting, exporting and cleaning up."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from moa.backends.base import Usage
from moa.errors import StoreError, UsageError
from moa.run.inventory import ModelCount, collect, export, size, take_stock
from moa.run.keys import base_key, sample_key
from moa.run.store import Store
from tests.support.stored import IDENTITY, PARAMS, check_integrity, conversation, count, key_of, put, record

LONG = "a long question " * 20


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Two samples of alpha from different days, and one of beta, of the same long question."""
    path = tmp_path / "store.sqlite"
    store = Store.open(path)
    put(store, LONG, record("one", created=1000.0), record("two", created=2000.0))
    put(store, LONG, record("three", created=3000.0, usage=Usage(7, 8)), identity="beta")
    put(store, "only beta was asked this " * 20, record("four", created=4000.0), identity="beta")
    store.close()
    return path


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    path = tmp_path / "empty.sqlite"
    Store.open(path).close()
    return path


def test_stock(path: Path) -> None:
    stock = take_stock(path)
    assert (stock.samples, stock.requests, stock.texts) == (4, 3, 3)
    assert (stock.oldest, stock.newest) == (1000.0, 4000.0)
    assert stock.bytes == path.stat().st_size
    assert stock.models == (
        ModelCount("alpha", IDENTITY, 1, 2, 20, 10),
        ModelCount("beta", "beta", 2, 2, 17, 13),
    )


def test_stock_of_nothing(empty: Path) -> None:
    stock = take_stock(empty)
    assert (stock.samples, stock.requests, stock.texts, stock.models) == (0, 0, 0, ())
    assert stock.oldest is stock.newest is None


def test_export_is_the_whole_request_and_its_answer(path: Path) -> None:
    first, second, *others = export(path)
    assert first == {
        "key": key_of(LONG),
        "model": "alpha",
        "identity": IDENTITY,
        "messages": conversation(LONG),
        "params": PARAMS,
        "sample": 0,
        "response": {
            "text": "one",
            "finish_reason": "stop",
            "reasoning": None,
            "logprobs": None,
            "tool_calls": None,
            "usage": {
                "input_tokens": 10,
                "output_tokens": 5,
                "cached_tokens": 3,
                "reasoning_tokens": 2,
                "estimated": False,
            },
            "model": "alpha-2026",
            "latency": 0.25,
        },
        "created": 1000.0,
    }
    assert second == first | {
        "key": key_of(LONG, 1),
        "sample": 1,
        "created": 2000.0,
        "response": first["response"] | {"text": "two"},
    }
    assert [other["response"]["text"] for other in others] == ["three", "four"]


def test_the_key_can_be_made_from_the_export(path: Path) -> None:
    for sample in export(path):
        base = base_key(sample["identity"], sample["messages"], sample["params"])
        assert sample["key"] == sample_key(base, sample["sample"])


@pytest.mark.parametrize(
    ("model", "texts"),
    [("alpha", ["one", "two"]), (IDENTITY, ["one", "two"]), ("beta", ["three", "four"]), ("x", [])],
)
def test_export_of_one_model(path: Path, model: str, texts: list[str]) -> None:
    assert [sample["response"]["text"] for sample in export(path, model)] == texts


def test_parts_tools_and_odd_objects_are_exported_as_they_were(empty: Path) -> None:
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": [{"type": "text", "text": LONG}, {"#": LONG, "b": {"#": {"#": "c"}}}]},
        {"role": "tool", "content": None, "tool_call_id": "\ud800"},
    ]
    params: dict[str, Any] = {"tools": [{"description": LONG}], "temperature": 0.5}
    base = base_key("m", messages, params)
    store = Store.open(empty)
    store.put(base, "m", messages, params, [(0, record("a"))])
    store.close()
    [sample] = export(empty)
    assert (sample["messages"], sample["params"]) == (messages, params)
    assert json.loads(json.dumps(sample)) == sample


def test_exporting_a_damaged_store_names_what_is_missing(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("DELETE FROM texts")
    db.commit()
    db.close()
    with pytest.raises(StoreError, match=f"^store {path}: is damaged: the text [0-9a-f]{{64}} is missing"):
        list(export(path))


@pytest.mark.parametrize(
    ("before", "model", "kept", "texts"),
    [
        (1500.0, None, ["two", "three", "four"], 3),
        (3500.0, "beta", ["one", "two", "four"], 3),
        (3500.0, None, ["four"], 2),
        (None, "beta", ["one", "two"], 2),
        (None, IDENTITY, ["three", "four"], 3),
        (None, None, ["one", "two", "three", "four"], 3),
        (9999.0, None, [], 0),
    ],
)
def test_collecting(path: Path, before: float | None, model: str | None, kept: list[str], texts: int) -> None:
    expected = collect(path, before=before, model=model, dry_run=True)
    assert count(path, "responses") == 4
    collected = collect(path, before=before, model=model)
    assert collected[:3] == expected[:3]
    assert collected.samples == 4 - len(kept)
    assert [sample["response"]["text"] for sample in export(path)] == kept
    assert count(path, "texts") == texts == 3 - collected.texts
    check_integrity(path)


def test_space_is_given_back(empty: Path) -> None:
    store = Store.open(empty)
    for number in range(200):
        put(store, f"question {number} " * 200, record("answer " * 500))
    store.close()
    full = size(empty)
    collected = collect(empty, before=2_000_000.0, model=None)
    assert collected.bytes == full - size(empty) > 0.9 * full


async def test_a_writer_writes_again_what_was_collected_meanwhile(empty: Path) -> None:
    """It remembers which texts and requests it has written: that must not outlive them."""
    store = Store.open(empty)
    put(store, LONG, record("one"))
    await store.flush()
    assert collect(empty, before=2_000_000.0, model=None).texts == 2
    keys = put(store, LONG, record("one"))
    await store.flush()
    assert store.get(keys) == [record("one")]
    [sample] = export(empty)
    assert sample["messages"] == conversation(LONG)
    await store.aclose()


@pytest.fixture
def absent(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "none" / "store.sqlite"
    yield path
    assert not path.parent.exists()


def test_a_missing_store_is_not_created(absent: Path) -> None:
    for use in (take_stock, lambda path: list(export(path))):
        with pytest.raises(UsageError, match="there is no store at"):
            use(absent)


def test_collecting_in_a_missing_store(absent: Path) -> None:
    with pytest.raises(UsageError, match="there is no store at"):
        collect(absent, before=None, model=None)
