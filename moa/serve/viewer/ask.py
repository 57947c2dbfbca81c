"""POST /viewer/api/ask: a question put to a graph, and everything that happens to it as server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import Field, StringConstraints, ValidationError

from moa.errors import MoaError
from moa.run.events import Event
from moa.run.flow import cancel_all
from moa.run.reply import Reply
from moa.serve.answer import Asked, plan_for
from moa.serve.body import Fields, read_object, refusal_for
from moa.serve.context import CONTEXT, Context
from moa.serve.door import refused
from moa.serve.house import HOUSE, House
from moa.serve.refusal import Refusal, refusal_of
from moa.serve.stream import EventStream, Feed, named
from moa.serve.viewer.run import finished
from moa.serve.viewer.written import written

Json = dict[str, Any]
Arrival = Event | Reply | Refusal


class Turn(Fields):
    """One message of the conversation."""

    role: Literal["user", "assistant"]
    content: Annotated[str, StringConstraints(strict=True, min_length=1)]


class Question(Fields):
    """What the page sends."""

    graph: Annotated[str, StringConstraints(strict=True, min_length=1)]
    messages: Annotated[list[Turn], Field(min_length=1)]


async def ask(request: web.Request) -> web.StreamResponse:
    """Answer as the API does, by the same keys, budgets and queues; leaving cancels the work."""
    house, context = request.app[HOUSE], request[CONTEXT]
    body = await read_object(request)
    try:
        wanted = Question.model_validate(body)
    except ValidationError as error:
        raise refusal_for(error, body) from None
    context.model = wanted.graph
    asked = Asked(house.find(wanted.graph), [turn.model_dump() for turn in wanted.messages])
    feed: Feed[Arrival] = Feed(house.settings.keep_alive)
    task = asyncio.create_task(_work(house, context, asked, feed))
    try:
        return await _tell(request, house, context, feed)
    finally:
        await cancel_all([task])


async def _work(house: House, context: Context, asked: Asked, feed: Feed[Arrival]) -> None:
    """Run the plan; the feed gets every event, then the reply or a refusal."""
    try:
        plan = plan_for(asked)
        async with house.admission.place(context.tenant):
            reply = await house.answer(context, plan, asked.messages, seed=asked.seed, watch=feed.put)
        context.usage, context.cost = reply.usage, reply.cost
        if house.runner.store is not None:
            await house.runner.store.flush()
        feed.put(reply)
    except MoaError as error:
        feed.put(refusal_of(error, detailed=house.settings.detailed))
    except Exception as error:  # noqa: BLE001  the HTTP border: whoever waits for the feed must hear of it
        told = f"{type(error).__name__}: {error}"
        feed.put(Refusal(500, "the server failed", code="internal_error", detail=told))


async def _tell(
    request: web.Request, house: House, context: Context, feed: Feed[Arrival]
) -> web.StreamResponse:
    stream = EventStream(request)
    writing = _Writing(house.settings.timer, detailed=house.settings.detailed)
    while True:
        arrivals = await feed.take()
        last = arrivals[-1] if arrivals else None
        if isinstance(last, Reply) and last.error is not None:
            context.error = f"{type(last.error).__name__}: {last.error}"
        if isinstance(last, Refusal):
            context.error = last.detail or last.message
            if not stream.begun:
                return refused(request, last)
            context.status = last.status
        data = named(written for each in arrivals if (written := writing.of(each)) is not None)
        if data or not arrivals:
            await (stream.write(data) if data else stream.comment())
        if isinstance(last, Reply | Refusal):
            return await stream.end()


class _Writing:
    """Turns what happens into what the page reads; times are seconds since the question."""

    def __init__(self, timer: Callable[[], float], *, detailed: bool) -> None:
        self._detailed = detailed
        self._since = partial(lambda began: round(timer() - began, 4), timer())

    def of(self, arrival: Arrival) -> Json | None:
        """The event, with its `type`; None for what the page does not show."""
        match arrival:
            case Reply():
                return {"type": "reply", "run": finished(arrival, detailed=self._detailed)}
            case Refusal():
                return {"type": "refusal", **arrival.to_json()["error"], "at": self._since()}
            case event:
                return written(event, self._since(), detailed=self._detailed)
