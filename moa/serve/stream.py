"""Server-sent events to one client: comments while there is nothing to say, and a limit to its patience with us."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from typing import Any, Generic, TypeVar

from aiohttp import web

from moa.serve.context import CONTEXT
from moa.serve.house import HOUSE

T = TypeVar("T")
SSE = "text/event-stream; charset=utf-8"
COMMENT = b": keep-alive\n\n"
UNREAD = 1 << 15
"""Bytes that may wait for a reader before we wait for him; the event loop's own limit is twice as many."""
HOLE = "\0"
"""Stands in a template for a text that is known later; no name has it."""
_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


class Feed(Generic[T]):
    """Carries items from the engine to a connection; what comes while one is written goes out together.

    Args:
        patience: seconds after which `take` comes back with nothing.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._items: list[T] = []
        self._loop = asyncio.get_running_loop()
        self._waiting: asyncio.Future[None] | None = None
        self._until = 0.0
        self._alarm: asyncio.TimerHandle | None = None
        """One for many waits, as it is set anew only where it rings too early: a timer for each word costs more than the word."""

    def put(self, item: T) -> None:
        """Add an item; never waits."""
        self._items.append(item)
        self._wake()

    async def take(self) -> list[T]:
        """All that is there; nothing at all where nothing came for as long as we are patient. For one reader."""
        if not self._items:
            self._waiting = self._loop.create_future()
            self._until = self._loop.time() + self._patience
            if self._alarm is None:
                self._alarm = self._loop.call_at(self._until, self._ring)
            try:
                await self._waiting
            finally:
                self._waiting = None
        items, self._items = self._items, []
        return items

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def _ring(self) -> None:
        early = self._waiting is not None and self._alarm is not None and self._alarm.when() < self._until
        self._alarm = self._loop.call_at(self._until, self._ring) if early else None
        if not early:
            self._wake()


class EventStream:
    """The response to a streaming request; nothing is sent before there is something to say."""

    def __init__(self, request: web.Request, kind: str = SSE) -> None:
        self._request = request
        self._stall = request.app[HOUSE].settings.stall
        headers = {
            "content-type": kind,
            "cache-control": "no-cache",
            "x-accel-buffering": "no",
            "x-content-type-options": "nosniff",
            "x-request-id": request[CONTEXT].id,
        }
        self.response = web.StreamResponse(headers=headers)

    @property
    def begun(self) -> bool:
        """Whether the status has been sent."""
        return self.response.prepared

    async def comment(self) -> None:
        """Say that we are still there."""
        await self.write(COMMENT)

    async def write(self, data: bytes) -> None:
        """Send bytes; a reader that takes none of them for too long is given up."""
        if self.begun and self._fits(data):
            await self.response.write(data)  # goes out, or waits in the transport: not here
            return
        try:
            async with asyncio.timeout(self._stall):
                if not self.begun:
                    self._request[CONTEXT].streamed = True
                    await self.response.prepare(self._request)
                await self.response.write(data)
        except TimeoutError:
            raise ConnectionResetError("the reader takes nothing") from None

    def _fits(self, data: bytes) -> bool:
        """Whether it can be handed over without waiting for the reader."""
        transport = self._request.transport
        return transport is not None and transport.get_write_buffer_size() + len(data) < UNREAD

    async def end(self) -> web.StreamResponse:
        """Close the stream."""
        await self.response.write_eof()
        return self.response


def encoded(value: Any) -> str:
    """One line of JSON in plain ASCII: no text of a model can end an event or begin another."""
    return _ENCODER.encode(value)


class Template:
    """A value of which one text, `HOLE`, changes: the rest is encoded once."""

    __slots__ = ("_after", "_before")

    def __init__(self, value: Any) -> None:
        self._before, self._after = encoded(value).split(encoded(HOLE))

    def __call__(self, text: str) -> str:
        """The value with this text in it."""
        return f"{self._before}{encoded(text)}{self._after}"


def event(data: str) -> bytes:
    """One event without a name; `data` is a line."""
    return f"data: {data}\n\n".encode()


def events(values: Iterable[Any]) -> bytes:
    """Values as events without names, as OpenAI's chat API sends them."""
    return b"".join([event(encoded(value)) for value in values])


def named(values: Iterable[dict[str, Any]]) -> bytes:
    """Values as events named by their `type`, as the Responses and Messages APIs send them."""
    return "".join(f"event: {value['type']}\ndata: {encoded(value)}\n\n" for value in values).encode()


DONE = b"data: [DONE]\n\n"
