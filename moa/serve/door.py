"""The way in and out of every request: an id, a key, one shape of error, one line in the log."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from moa.errors import MoaError
from moa.serve.context import CONTEXT, Context, request_id
from moa.serve.house import HOUSE, House, Settings
from moa.serve.keys import Tenant
from moa.serve.refusal import Refusal, bad, broken, refusal_of

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

OPEN = frozenset({"/healthz", "/readyz"})
"""Paths that need no key."""
UNGUARDED: web.AppKey[frozenset[str]] = web.AppKey("moa.unguarded", frozenset)
"""More of them: files that are the same for everybody."""
GONE = 499
"""What the log says of a client that left before its answer."""
_KEY_NAMES = re.compile(r"(?:api|access|auth|x)?[-_]?(?:key|token|secret)|authorization", re.IGNORECASE)


@web.middleware
async def logged(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give the request its id, and write one line about it when it is over."""
    house = request.app[HOUSE]
    settings = house.settings
    given = request.headers.get("x-request-id")
    context = Context(request_id(given, settings.new_id), settings.keys.anyone, settings.timer())
    request[CONTEXT] = context
    status = GONE
    try:
        response = await handler(request)
        status = context.status or response.status
        return response
    finally:
        if house.figures is not None:
            seconds = settings.timer() - context.began
            house.onlookers.tell(house.figures.ended, request, context, status, seconds)
        if settings.log is not None:
            house.onlookers.tell(settings.log, _line(request, context, settings, status))


@web.middleware
async def forgiving(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn whatever goes wrong into an error of the API's shape: the HTTP border of broad excepts."""
    context, detailed = request[CONTEXT], request.app[HOUSE].settings.detailed
    try:
        response = await handler(request)
    except MoaError as error:
        response = refused(request, refusal_of(error, detailed=detailed))
    except web.HTTPException as error:
        response = refused(request, _http(error, request))
        if "allow" in error.headers:
            response.headers["allow"] = error.headers["allow"]
    except (asyncio.CancelledError, ConnectionResetError):
        raise
    except Exception as error:  # noqa: BLE001  the HTTP border: a bug of ours ends this request alone
        response = refused(request, broken(error))
    if context.streamed and not response.prepared:
        # A stream has begun: a second response in the middle of it would be read as part of the first.
        context.status = response.status
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError
    if not response.prepared:
        response.headers["x-request-id"] = context.id
        response.headers["x-content-type-options"] = "nosniff"
    return response


@web.middleware
async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let nobody in who has no key, or whose browser was sent here by another site."""
    house = request.app[HOUSE]
    _refuse_foreign_host(request, house)
    for name in request.query:
        if _KEY_NAMES.fullmatch(name):
            message = "a key travels in the header `Authorization: Bearer ...`, never in an address, which others log"
            raise Refusal(400, message, param=name[:40], code="key_in_query")
    if request.path not in OPEN and request.path not in request.app.get(UNGUARDED, ()):
        request[CONTEXT].tenant = _tenant(request, house)
    return await handler(request)


def refused(request: web.Request, refusal: Refusal) -> web.Response:
    """The answer to a request that is refused, in the shape that the caller's API has."""
    context = request[CONTEXT]
    context.error = refusal.detail or refusal.message
    if request.path.startswith("/v1/messages"):
        body = refusal.to_anthropic(context.id)
    else:
        body = refusal.to_ollama() if request.path.startswith("/api/") else refusal.to_json()
    return web.json_response(body, status=refusal.status, headers=dict(refusal.headers))


def _tenant(request: web.Request, house: House) -> Tenant:
    keys = house.settings.keys
    if not keys.needed:
        return keys.anyone
    shown = {_bearer(value) for value in request.headers.getall("authorization", [])}
    shown |= {value.strip() for value in request.headers.getall("x-api-key", [])}
    if not shown:
        raise Refusal(401, "no key: send the header `Authorization: Bearer KEY`", code="invalid_api_key")
    if len(shown) > 1:
        raise bad("two different keys in one request", code="invalid_api_key")
    tenant = keys.tenant(shown.pop())
    if tenant is None:
        raise Refusal(401, "this key is not known here", code="invalid_api_key")
    return tenant


def _bearer(header: str) -> str:
    scheme, _, value = header.partition(" ")
    return value.strip() if scheme.lower() == "bearer" else ""


def _refuse_foreign_host(request: web.Request, house: House) -> None:
    """Refuse what a page of another site sends through the user's own browser (DNS rebinding, cross-site posts)."""
    hosts = house.settings.hosts
    if hosts is not None and _name(request.host) not in hosts:
        raise Refusal(403, "this server is not known by that name; --allow-host adds one", code="host")
    origin = request.headers.get("origin")
    if origin is not None and origin.partition("://")[2] != request.host:
        raise Refusal(403, "requests from pages of other sites are refused", code="origin")


def _name(host: str) -> str:
    """A host without its port, in lower case."""
    return re.sub(r":\d+$", "", host).strip("[]").lower()


def _http(error: web.HTTPException, request: web.Request) -> Refusal:
    """The server's own refusals in our shape."""
    match error.status:
        case 404:
            return Refusal(404, f"there is nothing at {request.path[:100]}", code="not_found")
        case 405:
            return Refusal(
                405, f"{request.method} is not for {request.path[:100]}", code="method_not_allowed"
            )
        case 413:
            limit = request.app[HOUSE].settings.body_limit
            return Refusal(413, f"the request has more than {limit:,} bytes", code="request_too_large")
    return Refusal(error.status, error.reason)


def _line(request: web.Request, context: Context, settings: Settings, status: int) -> dict[str, Any]:
    usage = context.usage
    line = {
        "time": datetime.fromtimestamp(settings.clock(), UTC).isoformat(timespec="milliseconds"),
        "request_id": context.id,
        "method": request.method,
        "path": request.path[:200],
        "status": status,
        "seconds": round(settings.timer() - context.began, 4),
        "key": context.tenant.name or None,
        "model": context.model,
        "stream": context.streamed or None,
        "prompt_tokens": usage.input_tokens if usage else None,
        "completion_tokens": usage.output_tokens if usage else None,
        "cost": context.cost,
        "error": context.error,
        **context.notes,
    }
    return {name: value for name, value in line.items() if value is not None}
