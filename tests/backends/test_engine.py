"""The server inside the process: how its cache is shared and measured out."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from moa.backends.engine import Engine, Room, Settings, cells_for
from moa.backends.gguf import Header


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_room_is_lent_while_there_is_some() -> None:
    room = Room(10)
    assert await room.take(6) == 6
    waiting = asyncio.create_task(room.take(6))
    await settle()
    assert not waiting.done()
    room.give(6)
    assert await waiting == 6


async def test_who_waits_is_served_in_turn() -> None:
    """A small request does not slip past a large one, which would wait for ever."""
    room = Room(10)
    await room.take(8)
    large, small = asyncio.create_task(room.take(9)), asyncio.create_task(room.take(1))
    await settle()
    assert not large.done() and not small.done()
    room.give(8)
    await settle()
    assert large.done() and small.done()


async def test_a_request_beyond_all_room_takes_all_of_it() -> None:
    room = Room(10)
    assert await room.take(1000) == 10
    room.give(10)
    assert await room.take(10) == 10


async def test_giving_up_gives_way_to_the_next() -> None:
    room = Room(10)
    await room.take(5)
    large, small = asyncio.create_task(room.take(9)), asyncio.create_task(room.take(5))
    await settle()
    large.cancel()
    await settle()
    assert large.cancelled() and small.done()


async def test_room_granted_to_one_who_has_just_given_up_comes_back() -> None:
    room = Room(10)
    await room.take(10)
    waiting = asyncio.create_task(room.take(10))
    await settle()
    room.give(10)  # granted, but the task has not woken up yet
    waiting.cancel()
    await settle()
    assert waiting.cancelled()
    async with asyncio.timeout(1):
        assert await room.take(10) == 10


async def test_room_is_shared_between_event_loops() -> None:
    room = Room(1)
    await room.take(1)
    taken = threading.Event()

    def elsewhere() -> None:
        asyncio.run(room.take(1))
        taken.set()

    thread = threading.Thread(target=elsewhere)
    thread.start()
    assert not await asyncio.to_thread(taken.wait, 0.05)
    room.give(1)
    assert await asyncio.to_thread(taken.wait, 5)
    thread.join()


@pytest.mark.parametrize(
    ("context", "token_bytes", "slots", "cells"),
    [
        (8192, 23_040, 8, 23_296),  # half a gigabyte's worth
        (2048, 23_040, 8, 8 * 2048),  # more than all windows is of no use
        (131_072, 524_288, 8, 4096),  # at least one question of a fair size
        (1024, 1 << 30, 2, 1024),
        (None, 131_072, 8, 4096),
    ],
)
def test_the_cache_is_as_large_as_memory_and_use_allow(
    context: int | None, token_bytes: int, slots: int, cells: int
) -> None:
    assert cells_for(Header("llama", "", context, token_bytes), slots) == cells


async def test_equal_settings_share_an_engine() -> None:
    settings = Settings(Path("a.gguf"), "a", slots=1, cells=256, threads=1)
    one, same = Engine.share(settings), Engine.share(settings)
    other = Engine.share(settings._replace(slots=2))
    assert one is same and one is not other and one.key != other.key
    await one.release()
    assert Engine.share(settings) is one
    await one.release()
    await one.release()
    again = Engine.share(settings)
    assert again is not one
    await again.release()
    await other.release()
