"""The page without an API: finished runs, read-only, for this machine alone."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from moa.run.runner import Runner
from moa.serve.door import forgiving, guarded, logged
from moa.serve.house import HOUSE, House, Settings
from moa.serve.viewer.site import mount
from moa.serve.viewer.source import Source

LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
BODY = 1 << 16
"""Bytes of a request: nothing is sent here."""


def make_viewer(sources: Sequence[Source]) -> web.Application:
    """An application that shows `sources` and asks nothing of anybody."""
    app = web.Application(middlewares=[logged, forgiving, guarded], client_max_size=BODY)
    app[HOUSE] = House((), Runner(), Settings(hosts=LOCAL))
    mount(app, sources, asks=False)
    return app
