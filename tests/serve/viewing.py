"""The viewer on a free port: over a server with scripted models, or alone over finished runs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, web

import moa
from moa.run.runner import Runner
from moa.serve.listen import Stop, listen
from moa.serve.viewer.alone import make_viewer
from moa.serve.viewer.site import mount
from moa.serve.viewer.source import Source
from moa.serve.viewer.stored import StoreSource
from tests.serve.serving import Server, serving


@asynccontextmanager
async def watched(*graphs: moa.Graph, **options: Any) -> AsyncIterator[Server]:
    """A server with the page, as `moa serve` has it."""

    def fit(app: web.Application, runner: Runner) -> None:
        mount(app, [] if runner.store is None else [StoreSource(Path(runner.store.path))])

    async with serving(*graphs, fit=fit, **options) as server:
        yield server


@asynccontextmanager
async def viewing(sources: Sequence[Source]) -> AsyncIterator[str]:
    """The address of the page that `moa view` serves."""
    stop, ready = Stop(), asyncio.get_running_loop().create_future()
    async with asyncio.TaskGroup() as group:
        app = make_viewer(sources)
        group.create_task(listen(app, "127.0.0.1", 0, grace=0, ready=ready.set_result, stop=stop))
        try:
            yield await ready
        finally:
            stop.ask()


async def asked(server: Server, graph: str, question: str, **headers: str) -> list[dict[str, Any]]:
    """The events of one question, as the page reads them."""
    body = {"graph": graph, "messages": [{"role": "user", "content": question}]}
    async with (
        ClientSession() as session,
        session.post(f"{server.url}/viewer/api/ask", json=body, headers=headers) as reply,
    ):
        assert reply.status == 200, await reply.text()
        return read_events(await reply.text())


def read_events(text: str) -> list[dict[str, Any]]:
    """Server-sent events, read as the standard says: a frame ends with an empty line."""
    frames = [frame for frame in text.split("\n\n") if frame and not frame.startswith(":")]
    return [json.loads(frame.partition("data: ")[2]) for frame in frames]
