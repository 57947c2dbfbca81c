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
_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


class Feed(Generic[T]):
    """Carries items from the engine to a connection; what comes while one is written goes out together."""

    def __init__(self) -> None:
        self._items: list[T] = []
        self._came = asyncio.Event()

    def put(self, item: T) -> None:
        """Add an item; never waits."""
        self._items.append(item)
        self._came.set()

    async def take(self, patience: float) -> list[T]:
        """All that is there; nothing at all where nothing came for `patience` seconds."""
        if not self._items:
            try:
                async with asyncio.timeout(patience):
                    await self._came.wait()
            except TimeoutError:
                return []
        self._came.clear()
        items, self._items = self._items, []
        return items


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
        try:
            async with asyncio.timeout(self._stall):
                if not self.begun:
                    self._request[CONTEXT].streamed = True
                    await self.response.prepare(self._request)
                await self.response.write(data)
        except TimeoutError:
            raise ConnectionResetError("the reader takes nothing") from None

    async def end(self) -> web.StreamResponse:
        """Close the stream."""
        await self.response.write_eof()
        return self.response


def encoded(value: Any) -> str:
    """One line of JSON in plain ASCII: no text of a model can end an event or begin another."""
    return _ENCODER.encode(value)


def events(values: Iterable[Any]) -> bytes:
    """Values as events without names, as OpenAI's chat API sends them."""
    return "".join(f"data: {encoded(value)}\n\n" for value in values).encode()


def named(values: Iterable[dict[str, Any]]) -> bytes:
    """Values as events named by their `type`, as the Responses and Messages APIs send them."""
    return "".join(f"event: {value['type']}\ndata: {encoded(value)}\n\n" for value in values).encode()


DONE = b"data: [DONE]\n\n"
