"""GET /viewer/api/live and /viewer/api/live/ID: the questions under way, whichever API they came by, and one of them watched."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

from moa.serve.context import CONTEXT
from moa.serve.house import HOUSE
from moa.serve.refusal import Refusal
from moa.serve.stream import EventStream, named
from moa.serve.viewer.board import Board, Json, Live, Reader, Visitors
from moa.serve.viewer.picture import picture

BOARD = web.AppKey("moa.viewer.board", Board)
HOLD = 15.0
"""Seconds after which a list that has not changed is sent all the same."""
PACE = 0.05
"""Seconds between two messages to one watcher: what comes meanwhile goes out together."""
LONGEST = 50
"""Questions in a list."""
VISITORS = 32
"""Lists and watchers that wait at once, for each key."""


async def list_live(request: web.Request) -> web.Response:
    """The questions under way and the last that ended, once they are others than at `since`."""
    board, tenant = request.app[BOARD], request[CONTEXT].tenant
    visitors = board.visitors(tenant)
    since = request.query.get("since", "")
    with _visit(visitors):
        if since == str(visitors.bell.version) and not board.closed:
            await visitors.bell.after(visitors.bell.version, HOLD)
    found = board.rows(tenant)
    body = {
        "version": visitors.bell.version,
        "running": sum(live.state == "running" for live in found),
        "runs": [live.row() for live in found[:LONGEST]],
    }
    return web.json_response(body, headers={"cache-control": "no-store"})


async def watch_live(request: web.Request) -> web.StreamResponse:
    """One question from its beginning to its end, as server-sent events."""
    house, context, board = request.app[HOUSE], request[CONTEXT], request.app[BOARD]
    live = board.find(context.tenant, request.match_info["id"])
    if live is None:
        raise Refusal(404, "this question is not under way any more", code="not_found")
    context.model = live.graph
    stream, reader = EventStream(request), Reader()
    with _visit(board.visitors(context.tenant)):
        await stream.write(named([await _introduced(live)]))
        while True:
            version, over = live.bell.version, live.state != "running" or board.closed
            if news := live.news(reader):
                await stream.write(named(news))
            if over:
                return await stream.end()
            if not await live.bell.after(version, house.settings.keep_alive):
                await stream.comment()
            await asyncio.sleep(PACE)


async def close_board(app: web.Application) -> None:
    """Let nobody who looks hold up the end of the server."""
    app[BOARD].close()


@contextmanager
def _visit(visitors: Visitors) -> Iterator[None]:
    if visitors.count >= VISITORS:
        raise Refusal(503, "too many are looking already", code="overloaded", retry_after=5)
    visitors.count += 1
    try:
        yield
    finally:
        visitors.count -= 1


async def _introduced(live: Live) -> Json:
    """What is asked of whom; large graphs take a while to draw, and nobody's answer waits for that."""
    plan = live.plan
    return {
        "type": "run",
        "graph": live.graph,
        "title": live.title,
        "when": live.when,
        "seconds": live.seconds,
        "question": live.question,
        "picture": await asyncio.to_thread(picture, plan),
        "answer": plan.answer,
        "nodes": [
            {"id": node.id, "agent": node.does, "model": node.model, "heard": node.sources}
            for node in plan.nodes
        ],
    }
