"""The server below the application: what is no HTTP gets an error of the API's shape, too, and a line in the log."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from moa.serve.house import House
from moa.serve.refusal import Refusal

BROKEN = "the request is not HTTP as it should be: its first line, its headers or its length cannot be read"


class _Handler(web.RequestHandler):
    """A connection; its errors quote nothing of what was sent, which could be a key."""

    __slots__ = ("_house",)

    def __init__(self, manager: web.Server, house: House, **options: Any) -> None:
        super().__init__(manager, **options)
        self._house = house

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The response to a request that no handler could be called for; the connection ends with it."""
        status = super().handle_error(request, status, exc, message).status
        settings = self._house.settings
        id = f"req_{settings.new_id()}"
        refusal = Refusal(status, BROKEN if status < 500 else "the server failed", code=_code(status))
        line = {
            "time": datetime.fromtimestamp(settings.clock(), UTC).isoformat(timespec="milliseconds"),
            "request_id": id,
            "status": status,
            "error": type(exc).__name__ if exc is not None else refusal.message,
        }
        if settings.log is not None:
            self._house.onlookers.tell(settings.log, line)
        headers = {"x-request-id": id, "x-content-type-options": "nosniff", "server": "moa"}
        response = web.json_response(refusal.to_json(), status=status, headers=headers)
        response.force_close()
        return response


class Server(web.Server):
    """Makes such connections for an application's own server."""

    def __init__(self, behind: web.Server, house: House, **options: Any) -> None:
        super().__init__(
            behind.request_handler,
            request_factory=behind.request_factory,
            handler_cancellation=behind.handler_cancellation,
        )
        self._house = house
        self._options = options

    def __call__(self) -> web.RequestHandler:
        """A connection."""
        return _Handler(self, self._house, loop=asyncio.get_running_loop(), **self._options)


class Runner(web.ServerRunner):
    """Runs such a server, and tells the application when it is to end."""

    __slots__ = ("_app",)

    def __init__(self, app: web.Application, server: Server, **options: Any) -> None:
        super().__init__(server, **options)
        self._app = app

    async def shutdown(self) -> None:
        """Those who wait for something that may never come are told before they are waited for."""
        await self._app.shutdown()


def _code(status: int) -> str:
    return "malformed_request" if status < 500 else "internal_error"
