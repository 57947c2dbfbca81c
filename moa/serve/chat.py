"""POST /v1/chat/completions."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

from moa.run.reply import NodeResult
from moa.serve.answer import Answered, Arrival, Asked, Fresh, answer, arriving
from moa.serve.body import read_object
from moa.serve.chat_reply import ChatReply
from moa.serve.chat_request import ChatRequest, asked_by, read_chat
from moa.serve.context import CONTEXT
from moa.serve.door import refused
from moa.serve.house import HOUSE
from moa.serve.refusal import Refusal
from moa.serve.stream import DONE, EventStream, events

NODES = "x-moa-nodes"
"""The header that asks for what every node did, as `moa: {"nodes": true}` does."""


async def chat_completions(request: web.Request) -> web.StreamResponse:
    """Answer with an ensemble, as one object or as a stream."""
    house, context = request.app[HOUSE], request[CONTEXT]
    wanted = read_chat(await read_object(request))
    context.model = wanted.model
    asked = asked_by(house, wanted)
    writing = ChatReply(
        asked,
        context.id,
        int(house.settings.clock()),
        nodes=wants_nodes(request, wanted),
        usage=wanted.wants_usage,
        detailed=house.settings.detailed,
    )
    if wanted.stream:
        return await _stream(request, asked, writing)
    answered = await answer(house, context, asked)
    check_format(asked, answered)
    return web.json_response(writing.whole(answered))


def wants_nodes(request: web.Request, wanted: ChatRequest) -> bool:
    """Whether the caller asks for what every node did."""
    return wanted.moa.nodes or request.headers.get(NODES, "").lower() in ("1", "true", "yes")


def check_format(asked: Asked, answered: Answered) -> None:
    """Refuse an answer that was to be JSON, was not cut off, and is none."""
    wanted: Any = asked.sampling.response_format or {}
    if wanted.get("type") in ("json_object", "json_schema"):
        for result in answered.answers:
            if result.state == "ok" and not result.tool_calls and not _is_json(result):
                message = "the model does not keep to `response_format`: its answer is not JSON"
                raise Refusal(502, message, param="response_format", code="format_not_kept", again=False)


def _is_json(result: NodeResult) -> bool:
    try:
        json.loads(result.text)
    except (ValueError, RecursionError):
        return False
    return True


async def _stream(request: web.Request, asked: Asked, writing: ChatReply) -> web.StreamResponse:
    """Send the answers as they are written.

    The status is decided by what comes first: a word, an error, or `keep_alive` seconds of silence.
    """
    house, context = request.app[HOUSE], request[CONTEXT]
    stream = EventStream(request)
    async with arriving(house, context, asked) as feed:
        while True:
            arrivals = await feed.take(house.settings.keep_alive)
            last = arrivals[-1] if arrivals else None
            if isinstance(last, Refusal) and not stream.begun:
                return refused(request, last)
            data = b"" if stream.begun else events(writing.first())
            data += _chunks(writing, arrivals)
            if isinstance(last, Refusal):
                context.status, context.error = last.status, last.detail or last.message
            await (stream.write(data) if data else stream.comment())
            if isinstance(last, Answered | Refusal):
                return await stream.end()


def _chunks(writing: ChatReply, arrivals: list[Arrival]) -> bytes:
    data = b""
    for arrival in arrivals:
        match arrival:
            case Fresh():
                data += events([writing.piece(arrival)]) if arrival.text else b""
            case Answered():
                data += events(writing.last(arrival)) + DONE
            case Refusal():
                data += events([arrival.to_json()])
    return data
