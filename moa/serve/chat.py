"""POST /v1/chat/completions."""

from __future__ import annotations

from aiohttp import web

from moa.serve.answer import answer
from moa.serve.body import read_object
from moa.serve.chat_reply import ChatReply
from moa.serve.chat_request import Extras, asked_by, read_chat
from moa.serve.context import CONTEXT
from moa.serve.house import HOUSE
from moa.serve.telling import tell

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
        nodes=wants_nodes(request, wanted.moa),
        usage=wanted.wants_usage,
        detailed=house.settings.detailed,
    )
    if wanted.stream:
        return await tell(request, asked, writing)
    return web.json_response(writing.whole(await answer(house, context, asked)))


def wants_nodes(request: web.Request, wanted: Extras) -> bool:
    """Whether the caller asks for what every node did."""
    return wanted.nodes or request.headers.get(NODES, "").lower() in ("1", "true", "yes")
