"""Telling an answer as a stream of events, in whichever API's words."""

from __future__ import annotations

from aiohttp import web

from moa.serve.answer import Answered, Arrival, Asked, Fresh, arriving
from moa.serve.context import CONTEXT
from moa.serve.door import refused
from moa.serve.house import HOUSE
from moa.serve.refusal import Refusal
from moa.serve.stream import EventStream
from moa.serve.voice import Voice


async def tell(request: web.Request, asked: Asked, voice: Voice) -> web.StreamResponse:
    """Send the answers as they are written.

    The status is decided by what comes first: a word, an error, or `keep_alive` seconds of silence.
    """
    house, context = request.app[HOUSE], request[CONTEXT]
    stream = EventStream(request, voice.kind)
    async with arriving(house, context, asked) as feed:
        while True:
            arrivals = await feed.take()
            last = arrivals[-1] if arrivals else None
            if isinstance(last, Refusal) and not stream.begun:
                return refused(request, last)
            data = b"" if stream.begun else voice.first()
            data += b"".join([_said(voice, arrival) for arrival in arrivals])
            if isinstance(last, Refusal):
                context.status, context.error = last.status, last.detail or last.message
            await stream.write(data or voice.idle())
            if isinstance(last, Answered | Refusal):
                return await stream.end()


def _said(voice: Voice, arrival: Arrival) -> bytes:
    match arrival:
        case Fresh():
            return voice.piece(arrival) if arrival.text else b""
        case Answered():
            return voice.last(arrival)
        case Refusal():
            return voice.broken(arrival)
