"""Much work at once: begun as there is room for it, given back as it is done, written down in order."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import suppress
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from moa.errors import MoaError
from moa.run.store import Store

T = TypeVar("T")
R = TypeVar("R")

LOOKAHEAD = 2048
"""Questions that may be answered ahead of the slowest one; their answers wait in memory to be in order."""


async def as_done(
    items: Iterable[T] | AsyncIterable[T], work: Callable[[T], Awaitable[R]], in_flight: int
) -> AsyncGenerator[R, None]:
    """Results in the order in which they are done; items are read as they are needed, `in_flight` ahead.

    The first error of `work` ends everything and cancels what is under way. An error of `items`, such as a
    record that cannot be read, is raised once what was begun before it is done.
    """
    source = aiter(items) if isinstance(items, AsyncIterable) else _each(items)
    pending: set[asyncio.Task[R]] = set()
    done: asyncio.Queue[asyncio.Task[Any]] = asyncio.Queue()
    places = asyncio.Semaphore(in_flight)

    async def do(item: T) -> R:
        return await work(item)

    async def feed() -> None:
        while await places.acquire():
            try:
                item = await anext(source)
            except StopAsyncIteration:
                return
            task = asyncio.create_task(do(item))
            pending.add(task)
            task.add_done_callback(done.put_nowait)

    feeder = asyncio.create_task(feed())
    feeder.add_done_callback(done.put_nowait)
    before = calm_collector()
    try:
        while pending or not feeder.done() or not done.empty():
            finished = await done.get()
            if finished is feeder:
                continue
            pending.discard(finished)
            places.release()
            yield finished.result()
        feeder.result()
    finally:
        gc.set_threshold(*before)
        await cancel_all([feeder, *pending])


class InOrder(Generic[T]):
    """Writes in the order of their numbers what is done in any order; use it as `async with`.

    Each is written once the store holds all that it rests on. Where the work ends early, what still waits
    for a slower one is written too if `gaps` are allowed, and dropped if they are not.
    """

    def __init__(
        self,
        write: Callable[[T], None],
        store: Store | None,
        *,
        lookahead: int = LOOKAHEAD,
        gaps: bool = False,
    ) -> None:
        self._write = write
        self._store = store
        self._lookahead = lookahead
        self._gaps = gaps
        self._next = 0
        self._waiting: dict[int, T | None] = {}
        self._moved = asyncio.Event()
        self._lines: list[T] = []
        """What is to be written, in order."""
        self._ready = asyncio.Event()
        self._ended = False
        self._writing: asyncio.Task[None]

    async def __aenter__(self) -> Self:
        self._writing = asyncio.create_task(self._write_lines())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._gaps:
            self._lines += [line for _, line in sorted(self._waiting.items()) if line is not None]
        self._waiting.clear()
        self._ended = True
        self._ready.set()
        await self._writing

    @property
    def broken(self) -> bool:
        """Whether writing has failed; leaving the block raises its error."""
        return self._writing.done()

    async def room(self, number: int) -> None:
        """Wait until `number` is no further ahead of the slowest than memory should hold."""
        while number - self._next >= self._lookahead:
            self._moved.clear()
            await self._moved.wait()

    def done(self, number: int, line: T | None) -> None:
        """Take what is done; None for a number that has nothing to write."""
        self._waiting[number] = line
        while self._next in self._waiting:
            if (found := self._waiting.pop(self._next)) is not None:
                self._lines.append(found)
                self._ready.set()
            self._next += 1
        self._moved.set()

    async def _write_lines(self) -> None:
        while not self._ended or self._lines:
            await self._ready.wait()
            self._ready.clear()
            lines, self._lines = self._lines, []
            if self._store is not None:
                await self._store.flush()
            for line in lines:
                self._write(line)


async def cancel_all(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel what still runs and wait until it is gone; what had failed is seen, so nobody reports it again."""
    for task in tasks:
        task.cancel()
    for task in tasks:
        with suppress(asyncio.CancelledError, MoaError):
            await task


def calm_collector() -> tuple[int, int, int]:
    """Make the cyclic garbage collector run less often; its thresholds before, for `gc.set_threshold`.

    Thousands of short-lived tasks make it walk all that is alive again and again, for a fifth of the CPU
    time, and find nothing: what they leave is freed by counting references.
    """
    before = gc.get_threshold()
    first, second, third = before
    if first > 0:
        gc.set_threshold(max(first, 100_000), max(second, 20), max(third, 20))
    return before


async def _each(items: Iterable[T]) -> AsyncIterator[T]:
    for item in items:
        yield item
