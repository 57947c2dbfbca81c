"""Requests and records to put into a store."""

import sqlite3
from pathlib import Path
from typing import Any

from moa.backends.base import Usage
from moa.run.keys import base_key, sample_key
from moa.run.store import Record, Store

IDENTITY = '{"at":"http://127.0.0.1:8000/v1","model":"alpha"}'
PARAMS = {"temperature": 0.7, "max_tokens": 64}


def conversation(question: str) -> list[dict[str, Any]]:
    return [{"role": "system", "content": "Be brief. " * 30}, {"role": "user", "content": question}]


def record(text: str, *, created: float = 1_000_000.0, **fields: Any) -> Record:
    plain: dict[str, Any] = {
        "finish_reason": "stop",
        "reasoning": None,
        "logprobs": None,
        "tool_calls": None,
        "usage": Usage(10, 5, 3, 2),
        "model": "alpha-2026",
        "latency": 0.25,
    }
    return Record(text=text, created=created, **(plain | fields))


def key_of(question: str, sample: int = 0, identity: str = IDENTITY) -> str:
    return sample_key(base_key(identity, conversation(question), PARAMS), sample)


def put(store: Store, question: str, *records: Record, identity: str = IDENTITY) -> list[str]:
    """Put samples 0, 1, ... of a question; their keys."""
    messages = conversation(question)
    base = base_key(identity, messages, PARAMS)
    samples = list(enumerate(records))
    store.put(base, identity, messages, PARAMS, samples)
    return [sample_key(base, number) for number, _ in samples]


def count(path: Path, table: str) -> int:
    """Rows of a table, seen by a program of its own."""
    db = sqlite3.connect(path)
    try:
        return int(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
    finally:
        db.close()


def check_integrity(path: Path) -> None:
    db = sqlite3.connect(path)
    try:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    finally:
        db.close()
