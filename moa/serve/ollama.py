"""POST /api/chat and /api/generate, GET /api/tags and /api/version: the part of Ollama's API that clients ask with."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from aiohttp import web

from moa import __version__
from moa.backends.base import Message
from moa.serve.answer import answer
from moa.serve.body import read_object
from moa.serve.chat_request import asked_by
from moa.serve.context import CONTEXT
from moa.serve.house import HOUSE, House
from moa.serve.ollama_reply import OllamaReply
from moa.serve.ollama_request import OllamaRequest, as_chat, prompt_of, read_ollama, turns_of
from moa.serve.telling import tell

LATEST = ":latest"
"""Clients add it to names without a version."""


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
    began = datetime.fromtimestamp(house.began, UTC).isoformat().replace("+00:00", "Z")
    models = [
        {
            "name": each.id,
            "model": each.id,
            "modified_at": began,
            "size": 0,
            "digest": each.plan.fingerprint,
            "details": {"format": each.kind, "family": "moa", "families": ["moa"]},
        }
        for each in house.served.values()
    ]
    return web.json_response({"models": models})


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
