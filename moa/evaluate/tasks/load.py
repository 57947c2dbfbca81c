"""From rows to items: what is asked, in order, a row at a time."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from moa.errors import UsageError
from moa.evaluate.deception.targets import SequentialTargets
from moa.evaluate.records import Item
from moa.evaluate.tasks import rows
from moa.evaluate.tasks.baseline import Baseline
from moa.evaluate.tasks.item import build_item, pass_over
from moa.evaluate.tasks.rows import Row
from moa.spec.evaluation import EvalSpec


def load_items(
    spec: EvalSpec, near: Path | None, *, limit: int | None = None, seed: int = 0
) -> Iterator[Item]:
    """The items of an evaluation, in the order of its file, a row at a time.

    `near` is the evaluation's own file or folder, from which its paths are meant. Of more than `limit`
    rows those are taken whose id, hashed with `seed`, comes first: a sample of the whole file, the same
    everywhere, and part of every larger one. Raises `UsageError` that names the file and the row for bad data.
    """
    last = None if limit is None else _last_rank(spec, near, limit, seed)
    baseline = Baseline(spec.baseline, near) if spec.baseline else None
    targets = SequentialTargets() if spec.targets == "sequential" else None
    for row, name in _named(spec, near):
        if last is None or _rank(name, seed) <= last:
            item = build_item(spec, row, name, seed, targets)
            yield baseline.beside(item) if baseline else item
        elif targets is not None:
            pass_over(spec, row, name, seed, targets)


def count_items(spec: EvalSpec, near: Path | None, *, limit: int | None = None) -> int:
    """How many items `load_items` will give, their contents unread."""
    count = sum(1 for _ in rows.read(spec.data, near))
    return count if limit is None else min(count, limit)


def _named(spec: EvalSpec, near: Path | None) -> Iterator[tuple[Row, str]]:
    """The rows with their ids, of which none comes twice; eight bytes of each are kept for that."""
    seen: set[int] = set()
    own: bool | None = None
    for row in rows.read(spec.data, near):
        name, has_own = _id(row), row.get("id") is not None
        if own not in (None, has_own):
            raise row.refuse(
                "has an id, and rows before it have none" if has_own else "has no id, and rows before it do"
            )
        own = has_own
        if own:
            mark = _hash(name)
            if mark in seen:
                raise _twice(spec, near, row, name)
            seen.add(mark)
        yield row, name


def _id(row: Row) -> str:
    """A row's own id, or its number from 0."""
    name: Any = row.get("id")
    if name is None:
        return str(row.number)
    if isinstance(name, bool | list | dict) or not str(name).strip():
        raise row.refuse("its `id` is neither text nor a number")
    return str(name)


def _hash(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest())


def _rank(name: str, seed: int) -> int:
    return _hash(f"{seed}\0{name}")


def _last_rank(spec: EvalSpec, near: Path | None, limit: int, seed: int) -> int:
    """The highest rank of the sample."""
    if limit < 1:
        raise UsageError("--limit must be at least 1")
    ranks = (_rank(_id(row), seed) for row in rows.read(spec.data, near))
    return heapq.nsmallest(limit, ranks)[-1]


def _twice(spec: EvalSpec, near: Path | None, row: Row, name: str) -> UsageError:
    """The error of an id that came before; the file is read again for where."""
    first = next(other for other in rows.read(spec.data, near) if _id(other) == name)
    return row.refuse(f"the id {name!r} is already that of {first.place}")
