"""Putting a request to an ensemble: whole, or as it is written."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from moa.backends.base import Message
from moa.errors import MoaError, UsageError
from moa.graph.answering import answer_ids, answering
from moa.graph.plan import Plan
from moa.run.conversation import read_conversation
from moa.run.events import Event, TextArrived
from moa.run.flow import cancel_all
from moa.run.recent import Recent
from moa.run.reply import NodeResult, Reply
from moa.serve.context import Context
from moa.serve.house import House, Served
from moa.serve.refusal import Refusal, bad, broken, refusal_of
from moa.serve.sight import refuse_unseen
from moa.serve.stream import Feed
from moa.serve.unsent import Diverged, Unsent
from moa.spec.agent import Sampling

LARGE = 1 << 14
"""Characters of a request's sampling, tools and all, up to which its plan is kept."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request in the engine's terms, whichever API it came by."""

    served: Served
    messages: Sequence[Message]
    sampling: Sampling = field(default_factory=Sampling)
    """Over that of the nodes that write the answer."""
    count: int = 1
    seed: int | None = None

    @property
    def large(self) -> bool:
        """Whether it holds so much (tools, schemas) that its plan is not worth keeping."""
        return len(self.sampling.model_dump_json()) > LARGE


class Fresh(NamedTuple):
    """A piece of one of the answers, in the order in which it is to be sent."""

    choice: int
    text: str
    reasoning: str = ""


class Answered(NamedTuple):
    """All answers, whole: `rests` is what of each has not been sent."""

    reply: Reply
    answers: tuple[NodeResult, ...]
    rests: tuple[str, ...]


Arrival = Fresh | Answered | Refusal


def plan_for(asked: Asked, known: Recent[tuple[str, ...], Plan] | None = None) -> Plan:
    """The plan that honours a request, `known` from one before it or new.

    Raises `Refusal` for what this ensemble cannot do.
    """
    plan, sampling = asked.served.plan, asked.sampling
    if plan.by_id[plan.answer].select is not None:
        for name in ("tools", "logprobs"):
            if getattr(sampling, name):
                message = f"{asked.served.id} chooses its answer among others and has no {name}"
                raise bad(message, name, "unsupported_parameter")
    try:
        read_conversation(asked.messages)
    except UsageError as error:
        raise bad(str(error), "messages") from None
    told = sampling.model_dump_json()
    key = (asked.served.id, str(asked.count), told)
    if known is not None and key in known:
        return known[key]
    try:
        plan = answering(plan, sampling, asked.count)
    except UsageError as error:
        raise bad(str(error), "n", "unsupported_parameter") from None
    if known is not None and len(told) <= LARGE:
        known[key] = plan
    return plan


async def answer(house: House, context: Context, asked: Asked) -> Answered:
    """The whole answer; raises `Refusal`."""
    plan = plan_for(asked, house.plans)
    refuse_unseen(house, asked.served, asked.messages)
    async with house.admission.place(context.tenant):
        reply = await house.answer(context, plan, asked.messages, seed=asked.seed, once=asked.large)
    return await _booked(house, context, asked, reply)


@asynccontextmanager
async def arriving(house: House, context: Context, asked: Asked) -> AsyncIterator[Feed[Arrival]]:
    """The answers as they are written; the feed ends with `Answered` or a `Refusal`.

    Raises `Refusal` for what cannot be asked at all. Leaving the block cancels what is still under way.
    """
    plan = plan_for(asked, house.plans)
    refuse_unseen(house, asked.served, asked.messages)
    feed: Feed[Arrival] = Feed(house.settings.keep_alive)
    task = asyncio.create_task(_write(house, context, asked, plan, feed))
    try:
        yield feed
    finally:
        await cancel_all([task])


async def _write(house: House, context: Context, asked: Asked, plan: Plan, feed: Feed[Arrival]) -> None:
    """Run the plan, and put what comes of it into the feed."""
    telling = _Telling(answer_ids(plan, asked.count), feed)
    try:
        async with house.admission.place(context.tenant):
            reply = await house.answer(
                context, plan, asked.messages, seed=asked.seed, watch=telling.hear, once=asked.large
            )
        answered = await _booked(house, context, asked, reply)
        feed.put(answered._replace(rests=telling.rests(answered.answers)))
    except MoaError as error:
        feed.put(refusal_of(error, detailed=house.settings.detailed))
    except Exception as error:  # noqa: BLE001  the HTTP border: whoever waits for the feed must hear of it
        feed.put(broken(error))


class _Telling:
    """Turns the engine's events into pieces that may be sent."""

    def __init__(self, ids: Sequence[str], feed: Feed[Arrival]) -> None:
        self._index = {id: index for index, id in enumerate(ids)}
        self._unsent = [Unsent() for _ in ids]
        self._diverged = False
        self._feed = feed

    def hear(self, event: Event) -> None:
        """Pass a piece on; once one has diverged, nothing more goes out."""
        if not isinstance(event, TextArrived) or self._diverged:
            return
        index = self._index.get(event.node)
        if index is None:
            return
        try:
            text = self._unsent[index].add(event.text, event.restart)
        except Diverged:
            self._diverged = True
            return
        if text or event.reasoning:
            self._feed.put(Fresh(index, text, event.reasoning))

    def rests(self, answers: Sequence[NodeResult]) -> tuple[str, ...]:
        """What is still to be sent of each answer."""
        try:
            if self._diverged:
                raise Diverged
            return tuple(
                unsent.finish(answer.text) for unsent, answer in zip(self._unsent, answers, strict=True)
            )
        except Diverged:
            message = "the connection to a model was lost and its second answer differs from what was sent: ask again"
            raise Refusal(502, message, code="answer_restarted", again=True) from None


async def _booked(house: House, context: Context, asked: Asked, reply: Reply) -> Answered:
    """Note what it cost, keep what was answered, and see that every answer is there."""
    context.usage, context.cost = reply.usage, reply.cost
    if house.runner.store is not None:
        # What is answered must be there after a kill, so it is there before it is answered.
        await house.runner.store.flush()
    if reply.error is not None:
        raise refusal_of(reply.error, detailed=house.settings.detailed)
    answers = tuple(reply.node(id) for id in answer_ids(asked.served.plan, asked.count))
    for result in answers:
        if not result.usable and result.error is not None:
            raise refusal_of(result.error, detailed=house.settings.detailed)
    _check_format(asked, answers)
    return Answered(reply, answers, tuple(result.text for result in answers))


def _check_format(asked: Asked, answers: Sequence[NodeResult]) -> None:
    """Refuse an answer that was to be JSON, was not cut off, and is none."""
    wanted: Any = asked.sampling.response_format or {}
    if wanted.get("type") in ("json_object", "json_schema"):
        for result in answers:
            if result.state == "ok" and not result.tool_calls and not _is_json(result):
                message = "the model does not keep to `response_format`: its answer is not JSON"
                raise Refusal(502, message, param="response_format", code="format_not_kept", again=False)


def _is_json(result: NodeResult) -> bool:
    try:
        json.loads(result.text)
    except (ValueError, RecursionError):
        return False
    return True


def finish_reason(asked: Asked, reply: Reply, result: NodeResult) -> str:
    """Why an answer ends where it does, in the OpenAI API's words."""
    if result.tool_calls:
        return "tool_calls"
    source = result
    while source.chosen and source.finish_reason is None:
        source = reply.node(source.chosen[0])
    return source.finish_reason or "stop"


def breakdown(reply: Reply, *, detailed: bool) -> dict[str, Any]:
    """What every node did, for those who ask for it."""
    whole = reply.to_json()
    nodes = [
        {name: value for name, value in node.items() if detailed or name != "error"}
        for node in whole["nodes"]
    ]
    return {name: whole[name] for name in ("graph", "cost", "latency", "warnings")} | {"nodes": nodes}
