"""POST /v1/completions and /v1/embeddings: handed on to the server of a plain model, and its answer handed back."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from typing import Any

from aiohttp import web
from yarl import URL

from moa.backends.base import Usage
from moa.backends.failures import Refused, failure, read_error, read_error_object
from moa.backends.openai import OpenAICompatible, joined
from moa.backends.replies import Malformed, parse
from moa.backends.sse import EventSplitter
from moa.backends.wire import Answer
from moa.errors import InvalidReplyError, MoaError, ServerFailedError
from moa.run.endpoint import Endpoint
from moa.run.flow import cancel_all
from moa.serve.body import read_object
from moa.serve.context import CONTEXT, Context
from moa.serve.door import refused
from moa.serve.house import HOUSE, House, Served
from moa.serve.refusal import Refusal, bad, refusal_of
from moa.serve.stream import DONE, EventStream, Feed, events

Json = dict[str, Any]


async def completions(request: web.Request) -> web.StreamResponse:
    """The old completions API of a plain model, as its server has it."""
    body = await read_object(request)
    if not isinstance(body.get("prompt"), str | list):
        raise bad("`prompt` is missing", "prompt", "missing_required_parameter")
    relay = await open_relay(request, body, "completions")
    return await _stream(request, relay) if body.get("stream") else await _whole(request, relay)


async def embeddings(request: web.Request) -> web.StreamResponse:
    """Vectors of a plain model, as its server makes them."""
    body = await read_object(request)
    if not isinstance(body.get("input"), str | list):
        raise bad("`input` is missing", "input", "missing_required_parameter")
    return await _whole(request, await open_relay(request, body, "embeddings"))


class Relay:
    """One request on its way to a model's own server, in one attempt: clients try again by themselves."""

    def __init__(
        self, served: Served, endpoint: Endpoint, origin: OpenAICompatible, path: str, body: Json
    ) -> None:
        self._served = served
        self._endpoint = endpoint
        self._origin = origin
        self._url = joined(URL(origin.wire.subject.url), path)
        self._path = path
        self._body = body
        self._told_usage = True
        """Whether the client wants to see the usage at the end of a stream."""
        self._over = False
        self.usage: Usage | None = None

    async def whole(self, house: House, context: Context) -> Json:
        """The server's answer; raises `MoaError`."""
        async with house.admission.place(context.tenant):
            ticket = await self._admit(context)
            try:
                payload = self._read(await self._origin.wire.post(self._url, await self._bytes()))
                self._note(payload)
            finally:
                self._settle(context, ticket)
        return {**payload, "model": self._served.id}

    async def stream(self, house: House, context: Context, feed: Feed[Any]) -> None:
        """Put the server's events into `feed`, and at the end None, or a `Refusal`."""
        splitter = EventSplitter()
        options = self._body.get("stream_options")
        options = options if isinstance(options, dict) else {}
        self._told_usage = bool(options.get("include_usage"))
        self._body = {**self._body, "stream_options": {**options, "include_usage": True}}

        def take(chunk: bytes) -> bool:
            return any(self._pass_on(event, feed) for event in splitter.feed(chunk))

        try:
            async with house.admission.place(context.tenant):
                ticket = await self._admit(context)
                try:
                    answer = await self._origin.wire.stream(self._url, await self._bytes(), take)
                    if answer.body is not None:
                        feed.put(self._read(answer) | {"model": self._served.id})
                    elif not self._over:
                        raise InvalidReplyError(f"{self._endpoint.name}: the stream broke off")
                finally:
                    self._settle(context, ticket)
            feed.put(None)
        except MoaError as error:
            feed.put(refusal_of(error, detailed=house.settings.detailed))

    def _pass_on(self, event: bytes, feed: Feed[Any]) -> bool:
        """Take in one event; whether it is the last."""
        if event.strip() == b"[DONE]":
            self._over = True
            return True
        payload = self._parsed(event)
        if "error" in payload:
            raise ServerFailedError(f"{self._endpoint.name}: {read_error_object(payload).message}")
        self._note(payload)
        if payload.get("choices") or self._told_usage:
            feed.put({**payload, "model": self._served.id})
        return False

    async def _bytes(self) -> bytes:
        return json.dumps({**self._body, "model": await self._origin.model_id()}).encode()

    def _read(self, answer: Answer) -> Json:
        if answer.status >= 300:
            told = read_error(answer.body or b"")
            raise failure(
                self._origin.wire.subject, Refused(answer.status, told, answer.headers), time.time()
            )
        return self._parsed(answer.body or b"")

    def _parsed(self, body: bytes) -> Json:
        try:
            payload = parse(body)
        except Malformed as malformed:
            raise InvalidReplyError(f"{self._endpoint.name}: {malformed}") from None
        if not isinstance(payload, dict):
            raise InvalidReplyError(f"{self._endpoint.name}: the answer is no object")
        return payload

    def _note(self, payload: Mapping[str, Any]) -> None:
        counted = payload.get("usage")
        if isinstance(counted, Mapping):
            sent, received = counted.get("prompt_tokens"), counted.get("completion_tokens")
            self.usage = Usage(_count(sent), _count(received))

    async def _admit(self, context: Context) -> int:
        tokens = len(json.dumps(self._body.get("prompt") or self._body.get("input"))) // 4 + 1
        longest = self._body.get("max_tokens") if self._path == "completions" else 1
        at_most = longest if isinstance(longest, int) and longest > 0 else None
        return await context.tenant.ledger.admit(
            self._endpoint.name, self._endpoint.price, tokens, 1, at_most
        )

    def _settle(self, context: Context, ticket: int) -> None:
        price = self._endpoint.price
        context.tenant.ledger.settle(ticket, self.usage, price)
        context.usage = self.usage
        if self.usage is not None and price is not None:
            context.cost = price.of(self.usage.input_tokens, self.usage.output_tokens)


async def open_relay(request: web.Request, body: Json, path: str) -> Relay:
    """Find the server that a request is for; raises `Refusal` where there is none."""
    house, context = request.app[HOUSE], request[CONTEXT]
    name = body.get("model")
    if not isinstance(name, str):
        raise bad("`model` is missing", "model", "missing_required_parameter")
    context.model = name
    served = house.find(name)
    if served.kind != "model":
        message = f"{name!r} is an ensemble: ask POST /v1/chat/completions; plain models are served with --models-too"
        raise bad(message, "model", "unsupported_model")
    endpoint = house.runner.endpoints.get(served.plan.models[0])
    origin = endpoint.origin
    if not isinstance(origin, OpenAICompatible):
        raise bad(f"{name!r} has no server of its own with /v1/{path}", "model", "unsupported_model")
    if not endpoint.ready:
        await endpoint.prepare()
    return Relay(served, endpoint, origin, path, body)


async def _whole(request: web.Request, relay: Relay) -> web.StreamResponse:
    return web.json_response(await relay.whole(request.app[HOUSE], request[CONTEXT]))


async def _stream(request: web.Request, relay: Relay) -> web.StreamResponse:
    house, context = request.app[HOUSE], request[CONTEXT]
    feed: Feed[Any] = Feed(house.settings.keep_alive)
    stream = EventStream(request)
    task = asyncio.create_task(relay.stream(house, context, feed))
    try:
        while True:
            arrivals = await feed.take()
            if not arrivals:
                await stream.comment()
                continue
            last = arrivals[-1]
            if isinstance(last, Refusal):
                if not stream.begun:
                    return refused(request, last)
                context.status, context.error = last.status, last.detail or last.message
                arrivals[-1] = last.to_json()
            data = events(arrival for arrival in arrivals if arrival is not None)
            await stream.write(data + DONE if last is None else data)
            if last is None or isinstance(last, Refusal):
                return await stream.end()
    finally:
        await cancel_all([task])


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value >= 0 else 0
