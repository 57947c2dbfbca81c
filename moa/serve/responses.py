"""POST /v1/responses, without memory: each request brings its whole conversation."""

from __future__ import annotations

from aiohttp import web

from moa.serve.answer import answer
from moa.serve.body import read_object
from moa.serve.chat import wants_nodes
from moa.serve.chat_request import asked_by
from moa.serve.context import CONTEXT
from moa.serve.house import HOUSE
from moa.serve.refusal import Refusal
from moa.serve.responses_reply import ResponsesReply
from moa.serve.responses_request import as_chat, read_responses
from moa.serve.telling import tell

_NAMES = {
    "messages": "input",
    "max_completion_tokens": "max_output_tokens",
    "reasoning_effort": "reasoning.effort",
    "response_format": "text.format",
    "verbosity": "text.verbosity",
}
"""What the chat API's fields are called here."""


async def responses(request: web.Request) -> web.StreamResponse:
    """Answer with an ensemble, as one object or as a stream of events."""
    house, context = request.app[HOUSE], request[CONTEXT]
    wanted = read_responses(await read_object(request))
    context.model = wanted.model
    try:
        asked = asked_by(house, as_chat(wanted))
        writing = ResponsesReply(
            wanted,
            asked,
            context.id,
            int(house.settings.clock()),
            nodes=wants_nodes(request, wanted.moa),
            detailed=house.settings.detailed,
        )
        if wanted.stream:
            return await tell(request, asked, writing)
        return web.json_response(writing.whole(await answer(house, context, asked)))
    except Refusal as refusal:
        refusal.param = _NAMES.get(refusal.param or "", refusal.param)
        raise
