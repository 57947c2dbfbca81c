"""Garbage in cycles that outlived its first seconds is found once it has become much."""

from __future__ import annotations

import asyncio
import gc
import sys
import weakref
from collections.abc import Iterator

import pytest

from moa.serve import listen


class Ring:
    """Refers to itself, as what a client that left its stream leaves behind does."""

    def __init__(self) -> None:
        self.self = self


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No collection but ours."""
    monkeypatch.setattr(listen, "LOOK", 0.01)
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def leave(count: int) -> weakref.ref[Ring]:
    """So many rings that nobody holds any more; the last of them."""
    rings = [Ring() for _ in range(count)]
    return weakref.ref(rings[-1])


@pytest.mark.parametrize(("bound", "found"), [(1_000, True), (1_000_000, False)])
async def test_it_is_looked_for_once_there_are_many_more_objects(
    bound: int, found: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listen, "OLD", bound)
    listen._tidy(sys.getallocatedblocks())
    ring = leave(2_000)
    await asyncio.sleep(0.1)
    assert (ring() is None) == found


async def test_what_is_in_use_is_not_looked_through_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listen, "OLD", 1_000)
    searches: list[str] = []
    gc.callbacks.append(lambda phase, _: searches.append(phase) if phase == "start" else None)
    try:
        listen._tidy(sys.getallocatedblocks())
        held = [Ring() for _ in range(2_000)]
        await asyncio.sleep(0.2)
    finally:
        gc.callbacks.pop()
    assert len(held) == 2_000 and len(searches) == 1
