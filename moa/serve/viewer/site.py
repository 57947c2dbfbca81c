"""The page's own files and its addresses, under a policy that lets nothing else in."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any, NamedTuple

from aiohttp import web

from moa.serve.door import UNGUARDED
from moa.serve.house import HOUSE
from moa.serve.refusal import Refusal, bad
from moa.serve.viewer.ask import ask
from moa.serve.viewer.board import Board
from moa.serve.viewer.live import BOARD, close_board, list_live, watch_live
from moa.serve.viewer.picture import picture
from moa.serve.viewer.source import Source

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
HEADERS: Mapping[str, str] = {
    "content-security-policy": POLICY,
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
PAGE = "index.html"
MOST = 100
"""Runs in one answer, at most."""
LONGEST = 200
"""Characters of a search, at most."""


class File(NamedTuple):
    """One of the page's own files."""

    body: bytes
    type: str


class Viewer(NamedTuple):
    """What the page can show: past runs, and the graphs that may be asked."""

    files: Mapping[str, File]
    sources: Sequence[Source]


VIEWER = web.AppKey("moa.viewer", Viewer)


def mount(app: web.Application, sources: Sequence[Source] = (), *, asks: bool = True) -> None:
    """Put the page at `/` of an application whose door is ours.

    Its files are the same for everybody and need no key; whatever it reads and asks for does. The addresses of
    files are known from the start, so no address can name another file.
    """
    own = {name: file for name, file in _files().items() if name != PAGE}
    app[VIEWER] = Viewer({"/": _files()[PAGE], **{f"/viewer/{name}": own[name] for name in own}}, sources)
    app[UNGUARDED] = frozenset({*app.get(UNGUARDED, ()), *app[VIEWER].files})
    app.add_routes([web.get(path, _file) for path in app[VIEWER].files])
    app.add_routes(
        [
            web.get("/viewer/api/about", about),
            web.get(r"/viewer/api/graphs/{number:\d{1,6}}", graph),
            web.get(r"/viewer/api/sources/{number:\d{1,4}}/runs", runs),
            web.get(r"/viewer/api/sources/{number:\d{1,4}}/runs/{id:[\w.]{1,40}}", run),
        ]
    )
    if asks:
        house, settings = app[HOUSE], app[HOUSE].settings
        app[BOARD] = Board(settings.timer, settings.clock, settings.new_id, detailed=settings.detailed)
        house.follower = app[BOARD]
        app.on_shutdown.append(close_board)
        app.add_routes(
            [
                web.post("/viewer/api/ask", ask),
                web.get("/viewer/api/live", list_live),
                web.get(r"/viewer/api/live/{id:\w{1,40}}", watch_live),
            ]
        )
    app.on_response_prepare.append(_shielded)


async def about(request: web.Request) -> web.Response:
    """What there is to ask and to look at."""
    house = request.app[HOUSE]
    graphs = [
        {"id": each.id, "kind": each.kind, "description": each.description} for each in house.served.values()
    ]
    sources = [{"kind": each.kind, "name": each.name} for each in request.app[VIEWER].sources]
    return as_json({"graphs": graphs, "sources": sources, "keys": house.settings.keys.needed})


async def graph(request: web.Request) -> web.Response:
    """How a graph is drawn."""
    served = list(request.app[HOUSE].served.values())
    number = int(request.match_info["number"])
    if number >= len(served):
        raise Refusal(404, "there is no such graph", code="not_found")
    plan = served[number].plan
    nodes = [
        {"id": node.id, "agent": node.does, "model": node.model, "heard": node.sources} for node in plan.nodes
    ]
    return as_json({"picture": picture(plan), "answer": plan.answer, "nodes": nodes})


async def runs(request: web.Request) -> web.Response:
    """Some of a source's runs."""
    words = request.query.get("words", "")[:LONGEST]
    offset, count = _number(request, "offset", 0, 10**9), _number(request, "count", 25, MOST)
    page = await asyncio.to_thread(_source(request).page, words, offset, count)
    return as_json(page._asdict())


async def run(request: web.Request) -> web.Response:
    """One run with its nodes."""
    found = await asyncio.to_thread(_source(request).run, request.match_info["id"])
    if found is None:
        raise Refusal(404, "there is no such run", code="not_found")
    return as_json(found)


def _source(request: web.Request) -> Source:
    sources, number = request.app[VIEWER].sources, int(request.match_info["number"])
    if number >= len(sources):
        raise Refusal(404, "there is no such source of runs", code="not_found")
    return sources[number]


def _number(request: web.Request, name: str, default: int, most: int) -> int:
    given = request.query.get(name, str(default))
    if not (given.isascii() and given.isdigit() and len(given) < 12):
        raise bad(f"`{name}` must be a whole number", name)
    return min(int(given), most)


async def _file(request: web.Request) -> web.Response:
    found = request.app[VIEWER].files[request.path]
    headers = {"cache-control": "no-cache"}
    return web.Response(body=found.body, content_type=found.type, charset="utf-8", headers=headers)


async def _shielded(request: web.Request, response: web.StreamResponse) -> None:
    """Every response under the page's policy, errors too: none of them is ever a page of its own."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)


def _files() -> dict[str, File]:
    """The files that ship with the package."""
    folder = files("moa.serve.viewer") / "static"
    return {
        entry.name: File(entry.read_bytes(), _TYPES[entry.name.rpartition(".")[2]])
        for entry in folder.iterdir()
        if entry.is_file() and entry.name.rpartition(".")[2] in _TYPES
    }


def as_json(value: Any) -> web.Response:
    """JSON that is not kept: it is somebody's words."""
    return web.json_response(value, headers={"cache-control": "no-store"})
