"""GET /healthz and GET /readyz, for whoever keeps the process alive."""

from __future__ import annotations

from aiohttp import web

from moa.serve.house import HOUSE


async def healthz(request: web.Request) -> web.Response:
    """The process answers."""
    return web.json_response({"status": "ok"})


async def readyz(request: web.Request) -> web.Response:
    """Whether new questions are taken: 503 while shutting down, or when the queue is full."""
    admission = request.app[HOUSE].admission
    full = admission.running >= admission.max_running and admission.queued >= admission.max_queued
    status = "closing" if admission.closing else "full" if full else "ready"
    return web.json_response({"status": status}, status=200 if status == "ready" else 503)
