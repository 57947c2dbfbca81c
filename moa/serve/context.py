"""What one HTTP request knows about itself, from the door to the access log."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp import web

from moa.backends.base import Usage
from moa.run.events import Event
from moa.serve.keys import Tenant

_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


@dataclass(slots=True)
class Context:
    """One request: its id, who sent it, and, as they become known, its model, its usage and what went wrong."""

    id: str
    tenant: Tenant
    began: float
    """Seconds of the server's monotonic clock."""
    model: str | None = None
    usage: Usage | None = None
    cost: float | None = None
    streamed: bool = False
    status: int | None = None
    """What was decided after the response had begun: an error in a stream that had said 200."""
    error: str | None = None
    """For the access log alone: it may name addresses."""
    notes: dict[str, object] = field(default_factory=dict)
    """More fields for the access log."""


CONTEXT = web.RequestKey("moa.context", Context)
Observer = Callable[[Context, Event], None]
"""Receives the engine's events of each request, as they happen: metrics and the viewer. It must not block."""


def request_id(given: str | None, new: Callable[[], str]) -> str:
    """The caller's `x-request-id` where it is a plain word, else a new one."""
    return given if given is not None and _ID.fullmatch(given) else f"req_{new()}"
