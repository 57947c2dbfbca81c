"""The JSON object of a request, read strictly."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict, ValidationError

from moa.serve.house import HOUSE
from moa.serve.refusal import Refusal, bad


class Fields(BaseModel):
    """Base of the requests that we read: unknown fields are harmless, those that are known are checked."""

    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)


async def read_object(request: web.Request, *, untyped: bool = False) -> dict[str, Any]:
    """The body as an object; raises `Refusal` for anything else.

    `untyped` bodies need not say that they are JSON; a form of another site, which always says what it is, is still refused.
    """
    unsaid = untyped and "content-type" not in request.headers
    if request.content_type != "application/json" and not unsaid:
        raise Refusal(415, "send the header `Content-Type: application/json`", code="content_type")
    try:
        async with asyncio.timeout(request.app[HOUSE].settings.stall):
            body = await request.read()
    except TimeoutError:
        raise Refusal(408, "the body does not come", code="timeout") from None
    try:
        value = json.loads(body.decode(), parse_constant=_refuse_constant)
    except UnicodeDecodeError:
        raise bad("the body is not UTF-8") from None
    except (ValueError, RecursionError):
        raise bad("the body is not JSON") from None
    if not isinstance(value, dict):
        raise bad("the body must be a JSON object")
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def refusal_for(error: ValidationError, body: Mapping[str, Any]) -> Refusal:
    """The first mistake of a request, with the field that is to blame."""
    found = error.errors(include_url=False, include_context=False, include_input=False)[0]
    missing = found["type"] == "missing"
    path = ""
    value: Any = body
    for part in found["loc"]:
        if isinstance(part, int) and isinstance(value, list) and part < len(value):
            path, value = f"{path}[{part}]", value[part]
        elif isinstance(value, dict) and (part in value or missing):
            path, value = f"{path}.{part}" if path else str(part), value.get(part)
        # What is no part of the body names one of the forms that a field may have.
    if missing:
        return bad(f"`{path}` is missing", path, "missing_required_parameter")
    return bad(f"`{path}`: {found['msg'].removeprefix('Value error, ')}", path)
