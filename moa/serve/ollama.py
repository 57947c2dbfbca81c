"""POST /api/chat, /api/generate and /api/show, GET /api/tags, /api/ps and /api/version: the part of Ollama's API that clients ask with."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Any

from aiohttp import web
from pydantic import StringConstraints, ValidationError

from moa import __version__
from moa.backends.base import Message
from moa.serve.answer import answer
from moa.serve.body import Fields, read_object, refusal_for
from moa.serve.chat_request import asked_by
from moa.serve.context import CONTEXT
from moa.serve.house import HOUSE, House, Served
from moa.serve.ollama_reply import OllamaReply
from moa.serve.ollama_request import OllamaRequest, as_chat, prompt_of, read_ollama, turns_of
from moa.serve.telling import tell

LATEST = ":latest"
"""Clients add it to names without a version."""


class ShowRequest(Fields):
    """The fields of /api/show."""

    model: Annotated[str, StringConstraints(strict=True, min_length=1)]


async def chat(request: web.Request) -> web.StreamResponse:
    """Answer a conversation."""
    wanted = read_ollama(await read_object(request, untyped=True))
    return await _answer(request, wanted, turns_of(wanted), chat=True)


async def generate(request: web.Request) -> web.StreamResponse:
    """Answer a prompt."""
    wanted = read_ollama(await read_object(request, untyped=True))
    return await _answer(request, wanted, prompt_of(wanted), chat=False)


async def tags(request: web.Request) -> web.Response:
    """All models."""
    house = request.app[HOUSE]
    models = [
        {
            "name": each.id,
            "model": each.id,
            "modified_at": _began(house),
            "size": 0,
            "digest": each.plan.fingerprint,
            "details": _details(each),
        }
        for each in house.served.values()
    ]
    return web.json_response({"models": models})


async def loaded(request: web.Request) -> web.Response:
    """What Ollama holds loaded at the moment: nothing is, as an ensemble is not loaded."""
    return web.json_response({"models": []})


async def show(request: web.Request) -> web.Response:
    """One model: what it can do, and how long a conversation may be where that is known of all members."""
    house, body = request.app[HOUSE], await read_object(request, untyped=True)
    try:
        wanted = ShowRequest.model_validate(body)
    except ValidationError as error:
        raise refusal_for(error, body) from None
    found = house.find(served_name(house, wanted.model))
    plan = found.plan
    info: dict[str, Any] = {"general.architecture": "moa", "moa.nodes": len(plan.nodes)}
    windows = [house.runner.endpoints.get(model).spec.context for model in plan.models]
    if windows and None not in windows:
        info["moa.context_length"] = min(window for window in windows if window is not None)
    return web.json_response(
        {
            "modified_at": _began(house),
            "details": _details(found),
            "model_info": info,
            "capabilities": ["completion", *(["tools"] if plan.by_id[plan.answer].select is None else [])],
        }
    )


def _began(house: House) -> str:
    return datetime.fromtimestamp(house.began, UTC).isoformat().replace("+00:00", "Z")


def _details(served: Served) -> dict[str, Any]:
    return {"format": served.kind, "family": "moa", "families": ["moa"]}


async def version(request: web.Request) -> web.Response:
    """Our version."""
    return web.json_response({"version": __version__})


async def _answer(
    request: web.Request, wanted: OllamaRequest, messages: Iterable[Message], *, chat: bool
) -> web.StreamResponse:
    house, context = request.app[HOUSE], request[CONTEXT]
    name = served_name(house, wanted.model)
    context.model = name
    asked = asked_by(house, as_chat(wanted, list(messages), name))
    writing = OllamaReply(asked, wanted.model, house.settings.clock, chat=chat)
    if wanted.stream is not False:
        return await tell(request, asked, writing)
    return web.json_response(writing.whole(await answer(house, context, asked)))


def served_name(house: House, model: str) -> str:
    """What a client means that adds `:latest` to names."""
    return model if model in house.served else model.removesuffix(LATEST)
