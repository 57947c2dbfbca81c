"""Readers that take nothing: whatever they leave unread, the others get every answer, counted and not timed."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from moa.backends.base import Choice, Completion, Delta, Emit, Request, Usage
from tests.serve.serving import Server, until
from tests.serve.viewing import watched
from tests.support.backends import Scripted

CLIENTS, EACH, SLOW, PLACES = 36, 2, 12, 4
FLOOD = "flood"
PIECE = "word " * 10_000
SHORT = "a short answer of six words"


class Flooding(Scripted):
    """Answers those who ask for a flood with megabytes, in large pieces: more than any buffer between holds."""

    async def complete(self, request: Request, emit: Emit | None = None) -> Completion:
        if FLOOD not in str(request.messages):
            return await super().complete(request, emit)
        self.requests.append(request)
        for _ in range(80 if emit else 0):
            assert emit is not None
            emit(Delta(0, PIECE))
            await asyncio.sleep(0)
        return Completion((Choice(PIECE * 80, "stop", usage=Usage(1, 1)),), "flooding")


@asynccontextmanager
async def unread(server: Server, path: str, body: bytes | None) -> AsyncIterator[socket.socket]:
    """A connection that has asked, and reads nothing of what comes."""
    host, port = server.url.removeprefix("http://").split(":")
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(connection, (host, int(port)))
        head = f"{'GET' if body is None else 'POST'} {path} HTTP/1.1\r\nhost: x\r\n"
        more = f"content-type: application/json\r\ncontent-length: {len(body or b'')}\r\n\r\n"
        await loop.sock_sendall(connection, (head + more).encode() + (body or b""))
        yield connection


def asking(question: str, *, stream: bool) -> bytes:
    """A request."""
    turns = [{"role": "user", "content": question}]
    return json.dumps({"model": "duo", "messages": turns, "stream": stream}).encode()


async def counted(server: Server) -> int:
    """How many whole answers many clients get, half of them as streams."""
    async with server.client() as client, asyncio.TaskGroup() as group:

        async def ask(number: int) -> int:
            whole = 0
            for turn in range(EACH):
                turns: Any = [{"role": "user", "content": f"Question {number}.{turn}?"}]
                if number % 2:
                    stream = await client.chat.completions.create(model="duo", messages=turns, stream=True)
                    chunks = [chunk async for chunk in stream]
                    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
                    ended = chunks[-1].choices[0].finish_reason
                else:
                    reply = await client.chat.completions.create(model="duo", messages=turns)
                    said, ended = reply.choices[0].message.content or "", reply.choices[0].finish_reason
                whole += said == SHORT and ended == "stop"
            return whole

        tasks = [group.create_task(ask(number)) for number in range(CLIENTS)]
    return sum(task.result() for task in tasks)


@pytest.mark.parametrize("slow", [0, SLOW])
async def test_everybody_else_gets_every_answer(slow: int) -> None:
    """There are more who read nothing than places: whoever does not read holds none."""
    sink = Flooding(lambda request: SHORT)
    backends = {"panel": Scripted(lambda request: "a draft"), "sink": sink}
    async with (
        watched(backends=backends, max_running=PLACES, max_queued=500) as server,
        AsyncExitStack() as stack,
    ):
        for number in range(slow):
            body = asking(f"A {FLOOD}, please, number {number}.", stream=number % 3 > 0)
            await stack.enter_async_context(unread(server, "/v1/chat/completions", body))
        await until(lambda: len(sink.requests) == slow and not server.house.admission.running, 30)
        ended = await (await stack.enter_async_context(server.http())).get("/viewer/api/live")
        for row in (await ended.json())["runs"]:
            await stack.enter_async_context(unread(server, f"/viewer/api/live/{row['id']}", None))
        assert await counted(server) == CLIENTS * EACH
        streams = sum(number % 3 > 0 for number in range(slow))
        done = [line for line in server.lines if line["path"] == "/v1/chat/completions"]
        # A whole answer is logged as it is handed over, a stream as it ends.
        assert len(done) == CLIENTS * EACH + slow - streams, "the unread streams are under way still"
        assert server.house.admission.running == server.house.admission.queued == 0
