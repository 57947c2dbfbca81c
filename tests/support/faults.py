"""A scripted OpenAI-compatible server on loopback: answers well by default, and badly on demand.

    async with FaultServer() as server:
        server.script(status(429, headers={"retry-after": "0.1"}), cut_mid_body())
        ...  # the first request gets the 429, the second is cut, all others are answered
        assert server.peak <= 4 and len(server.requests) == 3

Answers depend on the messages, the model, and `seed + i` alone, so any two ways of asking for the same
sample agree.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Self

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Seen:
    """A request that arrived: header names are in lower case, `body` is the parsed JSON."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Json

    @property
    def n(self) -> int:
        return int(self.body.get("n") or 1)


@dataclass(frozen=True, slots=True)
class Reply:
    """What a good answer holds, before it is written as one object or as a stream."""

    texts: tuple[str | None, ...]
    finish: str | None = "stop"
    usage: bool = True
    message: Json = field(default_factory=dict)
    """More fields of each message: `reasoning`, `tool_calls`, `refusal`."""
    choice: Json = field(default_factory=dict)
    """More fields of each choice: `logprobs`."""


class Exchange:
    """One request and the means to answer it, well or badly."""

    def __init__(self, server: FaultServer, seen: Seen, writer: asyncio.StreamWriter) -> None:
        self.server = server
        self.seen = seen
        self.writer = writer
        self.alive = True
        """Whether the connection serves another request afterwards."""

    def reply(self) -> Reply:
        body = self.seen.body
        return Reply(
            tuple(self.server.answer(body["messages"], body.get("seed"), body.get("model", ""), self.seen.n))
        )

    def head(self, status: int, headers: Mapping[str, str]) -> None:
        lines = [f"HTTP/1.1 {status} Scripted", *(f"{name}: {value}" for name, value in headers.items())]
        self.writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))

    async def send(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.head(
            status,
            {"content-type": "application/json", "content-length": str(len(body))} | dict(headers or {}),
        )
        self.writer.write(body)
        await self.writer.drain()

    async def stream(self, chunks: Iterable[bytes], *, finished: bool = True) -> None:
        """Chunked transfer; not `finished` leaves it open."""
        self.head(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked"})
        for chunk in chunks:
            self.writer.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            await self.writer.drain()
        if finished:
            self.writer.write(b"0\r\n\r\n")
            await self.writer.drain()

    async def answer(self, reply: Reply) -> None:
        """A good answer, streamed where the request asks for that."""
        if self.seen.body.get("stream"):
            await self.stream([*map(sse, events(reply, self.seen.body)), sse("[DONE]")])
        else:
            await self.send(200, json.dumps(whole(reply, self.seen.body)).encode())

    def cut(self) -> None:
        """Close the connection now, with what was written so far."""
        self.alive = False
        self.writer.close()


Step = Callable[[Exchange], Awaitable[None]]
Answer = Callable[[Sequence[Json], int | None, str, int], Sequence[str]]


def deterministic(messages: Sequence[Json], seed: int | None, model: str, n: int) -> list[str]:
    """Sample `i` is a function of the messages, the model and `seed + i`."""
    question = json.dumps(messages, sort_keys=True)
    keys = [f"{model}|{question}|{index if seed is None else f'seed {seed + index}'}" for index in range(n)]
    return [f"{model} says {hashlib.sha256(key.encode()).hexdigest()[:12]} é" for key in keys]


def tokens(text: str | None) -> int:
    """Tokens as this server counts them: words."""
    return len((text or "").split())


def usage(reply: Reply, body: Json) -> Json:
    """The usage object of a reply."""
    prompt = sum(tokens(str(message.get("content"))) for message in body["messages"])
    output = sum(tokens(text) for text in reply.texts)
    return {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output}


def whole(reply: Reply, body: Json) -> Json:
    """A reply as one object."""
    choices = [
        {
            "index": index,
            "message": {"role": "assistant", "content": text, **reply.message},
            "finish_reason": reply.finish,
            **reply.choice,
        }
        for index, text in enumerate(reply.texts)
    ]
    counted = {"usage": usage(reply, body)} if reply.usage else {}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": body.get("model"),
        "choices": choices,
    } | counted


def events(reply: Reply, body: Json) -> list[Json]:
    """A reply as the objects of a stream: word by word, the choices interleaved."""
    base = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": body.get("model")}
    words = [[part for part in (text or "").split(" ") if part] for text in reply.texts]
    deltas: list[Json] = [
        {"index": index, "delta": {"role": "assistant", "content": "", **reply.message}, **reply.choice}
        for index in range(len(words))
    ]
    for at in range(max((len(parts) for parts in words), default=0)):
        deltas += [
            {"index": index, "delta": {"content": (" " if at else "") + parts[at]}}
            for index, parts in enumerate(words)
            if at < len(parts)
        ]
    deltas += [{"index": index, "delta": {}, "finish_reason": reply.finish} for index in range(len(words))]
    chunks = [{**base, "choices": [delta]} for delta in deltas]
    if reply.usage and (body.get("stream_options") or {}).get("include_usage"):
        chunks.append({**base, "choices": [], "usage": usage(reply, body)})
    return chunks


def sse(event: Json | str) -> bytes:
    """One event of a stream."""
    return f"data: {event if isinstance(event, str) else json.dumps(event)}\n\n".encode()


# Good answers


def ok(**changes: Any) -> Step:
    """A good answer; `changes` replace fields of the `Reply`."""

    async def step(exchange: Exchange) -> None:
        await exchange.answer(replace(exchange.reply(), **changes))

    return step


def text(*texts: str | None, **changes: Any) -> Step:
    """These texts, one a choice."""
    return ok(texts=texts, **changes)


def no_usage() -> Step:
    """A good answer without token counts."""
    return ok(usage=False)


def empty_content(finish: str = "stop", **message: Any) -> Step:
    """Choices without text, such as a reasoning model's that was cut short."""

    async def step(exchange: Exchange) -> None:
        await exchange.answer(Reply((None,) * exchange.seen.n, finish=finish, message=message))

    return step


def ignore_n(most: int = 1) -> Step:
    """At most `most` choices, whatever was asked."""

    async def step(exchange: Exchange) -> None:
        reply = exchange.reply()
        await exchange.answer(replace(reply, texts=reply.texts[:most]))

    return step


def delay(seconds: float, then: Step | None = None) -> Step:
    """`then` (a good answer by default) after some seconds."""

    async def step(exchange: Exchange) -> None:
        await asyncio.sleep(seconds)
        await (then or ok())(exchange)

    return step


def huge_line(size: int = 2_000_000) -> Step:
    """A text of `size` characters in one event, or one object."""

    async def step(exchange: Exchange) -> None:
        reply = Reply(("x" * size,))
        if not exchange.seen.body.get("stream"):
            return await exchange.answer(reply)
        chunk = {"choices": [{"index": 0, "delta": {"content": "x" * size}, "finish_reason": "stop"}]}
        return await exchange.stream([sse(chunk), sse("[DONE]")])

    return step


# Refusals


def error(message: str, **fields: Any) -> Json:
    """The API's error object."""
    return {"error": {"message": message, "type": None, "param": None, "code": None, **fields}}


def status(
    http: int,
    message: str = "scripted",
    /,
    *,
    headers: Mapping[str, str] | None = None,
    body: Any = None,
    **fields: Any,
) -> Step:
    """An error status; `fields` are those of the error object (`type`, `code`, `param`), `body` replaces it."""

    async def step(exchange: Exchange) -> None:
        content = error(message, **fields) if body is None else body
        await exchange.send(
            http, content if isinstance(content, bytes) else json.dumps(content).encode(), headers
        )

    return step


def error_in_200(message: str = "scripted", **fields: Any) -> Step:
    """An error object where an answer should be."""
    return status(200, body=error(message, **fields))


def refuse(name: str, message: str = "", http: int = 400, /, **fields: Any) -> Step:
    """Refuse requests that hold the field `name`; answer others."""
    words = message or f"Unsupported parameter: '{name}' is not supported with this model."

    async def step(exchange: Exchange) -> None:
        refused = exchange.seen.n > 1 if name == "n" else name in exchange.seen.body
        await (status(http, words, **{"param": name, **fields}) if refused else ok())(exchange)

    return step


def refuse_n(message: str = "'n' : number must be at most 1", http: int = 400) -> Step:
    """Refuse more than one choice; answer other requests."""
    return refuse("n", message, http, param=None)


# Broken answers


def raw(body: bytes, content_type: str = "application/json") -> Step:
    """These bytes with status 200."""
    return status(200, body=body, headers={"content-type": content_type})


def invalid_utf8() -> Step:
    """An answer whose text is not UTF-8."""

    async def step(exchange: Exchange) -> None:
        broken = b'{"choices": [{"index": 0, "%b": {"content": "\xff\xfe"}, "finish_reason": "stop"}]}'
        if exchange.seen.body.get("stream"):
            await exchange.stream([b"data: " + broken % b"delta" + b"\n\n", sse("[DONE]")])
        else:
            await exchange.send(200, broken % b"message")

    return step


def cut_before_body() -> Step:
    """Close the connection before any byte of the answer."""

    async def step(exchange: Exchange) -> None:
        exchange.cut()

    return step


def cut_mid_body() -> Step:
    """Close the connection after half of the answer, in the middle of its transfer."""

    async def step(exchange: Exchange) -> None:
        await _half(exchange)
        exchange.cut()

    return step


def truncated() -> Step:
    """Half an answer, sent as if it were whole."""

    async def step(exchange: Exchange) -> None:
        content = json.dumps(whole(exchange.reply(), exchange.seen.body)).encode()
        await exchange.send(200, content[: len(content) // 2])

    return step


def half_sse() -> Step:
    """A stream that ends properly, but in the middle of an event."""

    async def step(exchange: Exchange) -> None:
        first, second, *_ = (sse(event) for event in events(exchange.reply(), exchange.seen.body))
        await exchange.stream([first, second[: len(second) // 2]])

    return step


def error_mid_stream(message: str = "scripted", **fields: Any) -> Step:
    """A stream that breaks off with an error object."""

    async def step(exchange: Exchange) -> None:
        first, second, *_ = events(exchange.reply(), exchange.seen.body)
        await exchange.stream([sse(first), sse(second), sse(error(message, **fields))])

    return step


def stall(seconds: float = 3600) -> Step:
    """Half an answer, then silence."""

    async def step(exchange: Exchange) -> None:
        await _half(exchange)
        await asyncio.sleep(seconds)
        exchange.cut()

    return step


async def _half(exchange: Exchange) -> None:
    reply, body = exchange.reply(), exchange.seen.body
    if body.get("stream"):
        parts = [sse(event) for event in events(reply, body)]
        await exchange.stream(parts[: len(parts) // 2], finished=False)
    else:
        content = json.dumps(whole(reply, body)).encode()
        exchange.head(200, {"content-type": "application/json", "content-length": str(len(content))})
        exchange.writer.write(content[: len(content) // 2])
        await exchange.writer.drain()


class FaultServer:
    """The server; enter it to start, then ask at `url`.

    Args:
        *steps: What the first chat requests get, in order of arrival; `script` adds more.
        always: What all further ones get.
        answer: The texts of a good answer.
        models: What GET /v1/models lists: ids, or whole objects.
        routes: Answers of other paths, such as `/tokenize`.
    """

    def __init__(
        self,
        *steps: Step,
        always: Step | None = None,
        answer: Answer = deterministic,
        models: Sequence[str | Json] = ("test-model",),
        routes: Mapping[str, Callable[[Seen], Json]] | None = None,
    ) -> None:
        self.steps = deque(steps)
        self.always = always or ok()
        self.answer = answer
        self.models = models
        self.routes = dict(routes or {})
        self.requests: list[Seen] = []
        """Chat requests, in order of arrival."""
        self.others: list[Seen] = []
        """All other requests."""
        self.in_flight = 0
        self.peak = 0
        self.connections = 0
        """Connections accepted so far."""
        self.abandoned = 0
        """Chat requests whose client went away before the answer was whole."""
        self.arrived = asyncio.Event()
        """A chat request has arrived."""
        self.left = asyncio.Event()
        """A client has gone away before its answer was whole."""
        self._server: asyncio.Server | None = None
        self._port = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def script(self, *steps: Step) -> None:
        """Add steps for the next chat requests."""
        self.steps.extend(steps)

    @property
    def root(self) -> str:
        assert self._port, "enter the server first"
        return f"http://127.0.0.1:{self._port}"

    @property
    def url(self) -> str:
        """The API's root, `http://127.0.0.1:PORT/v1`."""
        return f"{self.root}/v1"

    @property
    def bodies(self) -> list[Json]:
        """Bodies of the chat requests."""
        return [seen.body for seen in self.requests]

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0, limit=2**26)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        for task in tuple(self._tasks):
            with suppress(asyncio.CancelledError):
                await task
        await self._server.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            await self._serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ahead: bytes | None = b""
        while ahead is not None:
            exchange = Exchange(self, await _read(reader, ahead), writer)
            ahead = await self._watched(exchange, reader)

    async def _watched(self, exchange: Exchange, reader: asyncio.StreamReader) -> bytes | None:
        """Answer, unless the client leaves first; the next request's first byte, None when there is none."""
        watch = asyncio.create_task(reader.read(1))
        work = asyncio.create_task(self._exchange(exchange))
        try:
            await asyncio.wait({watch, work}, return_when=asyncio.FIRST_COMPLETED)
            gone = not work.done() and watch.result() == b""
            if not gone:
                await work
        finally:
            work.cancel()
            watch.cancel()
            await asyncio.wait({watch, work})
        if gone and exchange.seen.path.endswith("/chat/completions"):
            self.abandoned += 1
            self.left.set()
        if gone:
            return None
        if not exchange.alive:
            return None
        return b"" if watch.cancelled() else watch.result() or None

    async def _exchange(self, exchange: Exchange) -> None:
        seen = exchange.seen
        if not seen.path.endswith("/chat/completions"):
            self.others.append(seen)
            return await self._other(exchange)
        self.requests.append(seen)
        self.arrived.set()
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        try:
            await (self.steps.popleft() if self.steps else self.always)(exchange)
        finally:
            self.in_flight -= 1

    async def _other(self, exchange: Exchange) -> None:
        path = exchange.seen.path
        if path in self.routes:
            return await exchange.send(200, json.dumps(self.routes[path](exchange.seen)).encode())
        if path == "/v1/models":
            data = [
                {"id": model, "object": "model"} if isinstance(model, str) else model for model in self.models
            ]
            return await exchange.send(200, json.dumps({"object": "list", "data": data}).encode())
        return await status(404, f"no route {path}")(exchange)


async def _read(reader: asyncio.StreamReader, ahead: bytes) -> Seen:
    """The next request of a connection; `ahead` was read before its time."""
    head = (ahead + await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.split("\r\n")
    method, path, _ = first.split(" ", 2)
    headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)
    }
    content = await reader.readexactly(int(headers.get("content-length", 0)))
    return Seen(method, path, headers, json.loads(content) if content else {})
