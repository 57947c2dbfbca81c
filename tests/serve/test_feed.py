"""What carries words from the engine to a connection."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import pytest

from moa.serve.stream import HOLE, Feed, Template, encoded


async def test_a_feed_gives_all_that_came_in_its_order_and_each_thing_once() -> None:
    feed: Feed[int] = Feed(60)
    feed.put(1)
    feed.put(2)
    assert await feed.take() == [1, 2]
    taking = asyncio.create_task(feed.take())
    await asyncio.sleep(0)
    feed.put(3)
    feed.put(4)
    assert await taking == [3, 4]


async def test_a_feed_comes_back_with_nothing_once_patience_is_over_counted_from_the_last_wait() -> None:
    loop, feed = asyncio.get_running_loop(), Feed[int](0.2)
    for number in range(3):
        loop.call_later(0.1, feed.put, number)
        assert await feed.take() == [number]  # together longer than its patience
    waits = loop.time()
    assert await feed.take() == []
    assert loop.time() - waits >= 0.19
    waits = loop.time()
    assert await feed.take() == []
    assert loop.time() - waits >= 0.19
    feed.put(7)
    assert await feed.take() == [7]


async def test_words_share_one_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, feed = asyncio.get_running_loop(), Feed[int](60)
    timers: list[float] = []
    set_timer = loop.call_at

    def counting(when: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        timers.append(when)
        return set_timer(when, callback)

    monkeypatch.setattr(loop, "call_at", counting)
    for number in range(50):
        loop.call_soon(feed.put, number)
        assert await feed.take() == [number]
    assert len(timers) == 1


async def test_a_reader_that_leaves_a_feed_loses_nothing_for_the_next() -> None:
    feed: Feed[int] = Feed(60)
    taking = asyncio.create_task(feed.take())
    await asyncio.sleep(0)
    taking.cancel()
    await asyncio.wait([taking])
    feed.put(1)
    assert await feed.take() == [1]


@pytest.mark.parametrize("text", ["", "plain", 'a "quoted"\n\nline', "\u2028 \x00 🙂", "data: [DONE]"])
def test_a_template_gives_what_encoding_the_whole_gives(text: str) -> None:
    template = Template({"id": "x", "choices": [{"delta": {"content": HOLE}, "finish_reason": None}]})
    whole = {"id": "x", "choices": [{"delta": {"content": text}, "finish_reason": None}]}
    assert template(text) == encoded(whole)
    assert json.loads(template(text)) == whole
