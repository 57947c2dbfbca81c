"""POST /v1/messages and /v1/messages/count_tokens: Anthropic's API."""

from __future__ import annotations

from aiohttp import web

from moa.run.tokens import estimate_tokens
from moa.serve.answer import answer, plan_for
from moa.serve.body import read_object
from moa.serve.chat import wants_nodes
from moa.serve.chat_request import asked_by
from moa.serve.context import CONTEXT
from moa.serve.house import HOUSE
from moa.serve.messages_reply import MessagesReply
from moa.serve.messages_request import CountTokensRequest, as_chat, read_messages
from moa.serve.telling import tell


async def messages(request: web.Request) -> web.StreamResponse:
    """Answer with an ensemble, as one object or as a stream of events."""
    house, context = request.app[HOUSE], request[CONTEXT]
    wanted = read_messages(await read_object(request))
    context.model = wanted.model
    asked = asked_by(house, as_chat(wanted))
    nodes = wants_nodes(request, wanted.moa)
    writing = MessagesReply(asked, context.id, nodes=nodes, detailed=house.settings.detailed)
    if wanted.stream:
        return await tell(request, asked, writing)
    return web.json_response(writing.whole(await answer(house, context, asked)))


async def count_tokens(request: web.Request) -> web.Response:
    """About how many tokens the conversation has; what an ensemble makes of it is not known before."""
    wanted = read_messages(await read_object(request), CountTokensRequest)
    asked = asked_by(request.app[HOUSE], as_chat(wanted))
    plan_for(asked)
    return web.json_response({"input_tokens": estimate_tokens(tuple(asked.messages))})
