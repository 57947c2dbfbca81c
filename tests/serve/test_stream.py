"""Streams: what is sent when, what a lost connection does, and what a client that leaves stops."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import openai
import pytest

from moa.backends.base import Choice, Completion, Delta, Emit, Request, Usage
from tests.serve.serving import Server, alone, duo, serving, until
from tests.support.backends import Scripted

ASK: list[Any] = [{"role": "user", "content": "Why?"}]
STREAM = {"model": "duo", "messages": ASK, "stream": True}
Play = Sequence[Delta | asyncio.Event | float]


class Playing:
    """A model that streams what it is told, and waits where it is told."""

    def __init__(self, play: Play, text: str | None = None) -> None:
        self.play = play
        self.text = text

    async def complete(self, request: Request, emit: Emit | None = None) -> Completion:
        said = ""
        for step in self.play:
            if isinstance(step, Delta):
                said = step.text if step.restart else said + step.text
                if emit is not None:
                    emit(step)
            else:
                await (step.wait() if isinstance(step, asyncio.Event) else asyncio.sleep(step))
        return Completion((Choice(self.text or said, "stop", usage=Usage(1, 1)),), "playing")

    async def aclose(self) -> None:
        pass


async def text_of(server: Server, model: str = "m") -> str:
    async with server.client() as client:
        stream = await client.chat.completions.create(model=model, messages=ASK, stream=True)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])


async def test_comments_keep_a_silent_stream_alive() -> None:
    backends = {"panel": Scripted(latency=0.3), "sink": Scripted()}
    async with serving(backends=backends, keep_alive=0.05) as server, server.http() as http:
        response = await http.post("/v1/chat/completions", json=STREAM)
        text = await response.text()
    assert response.headers["content-type"].startswith("text/event-stream")
    first, _, rest = text.partition("\n\n")
    assert json.loads(first.removeprefix("data: "))["choices"][0]["delta"] == {
        "role": "assistant",
        "content": "",
    }
    assert rest.count(": keep-alive\n\n") >= 3 and text.endswith("data: [DONE]\n\n")


async def test_words_go_out_while_the_answer_is_still_written() -> None:
    go_on = asyncio.Event()
    backends = {"m": Playing([Delta(0, "first "), go_on, Delta(0, "second")])}
    async with serving(alone("m"), backends=backends) as server, server.client() as client:
        stream = await client.chat.completions.create(model="m", messages=ASK, stream=True)
        seen = []
        async for chunk in stream:
            seen.append(chunk.choices[0].delta.content)
            if seen[-1] == "first":
                go_on.set()
    assert [word for word in seen if word] == ["first", " second"]


async def test_a_text_that_begins_anew_is_sent_once_where_it_is_the_same() -> None:
    lost: Play = [Delta(0, "one two "), 0.05, Delta(0, "", restart=True), Delta(0, "one two three")]
    async with serving(alone("m"), backends={"m": Playing(lost)}) as server:
        assert await text_of(server) == "one two three"


async def test_a_text_that_begins_anew_and_differs_ends_the_stream_with_an_error() -> None:
    lost: Play = [Delta(0, "one two "), 0.05, Delta(0, "", restart=True), Delta(0, "three")]
    async with serving(alone("m"), backends={"m": Playing(lost)}) as server:
        with pytest.raises(openai.APIError, match="differs from what was sent"):
            await text_of(server)
    assert server.lines[-1]["status"] == 502


async def test_an_answer_that_does_not_stream_comes_whole() -> None:
    async with serving(alone("m"), backends={"m": Playing([], "at once")}) as server:
        assert await text_of(server) == "at once"


@pytest.mark.parametrize(
    "text",
    [
        'x\n\ndata: [DONE]\n\ndata: {"error": {}}',
        "a\r\n\r\nevent: x\r\n: y",
        "a\u2028data: [DONE]\u2029b",
        "\ud800!",
    ],
)
async def test_an_answer_that_imitates_a_stream_is_only_text(text: str) -> None:
    async with serving(alone("m"), backends={"m": Playing([Delta(0, text)])}) as server:
        assert await text_of(server) == text


@pytest.mark.parametrize("stream", [True, False])
async def test_what_a_client_that_leaves_has_asked_for_is_stopped(stream: bool) -> None:
    panel = Scripted(latency=30)
    backends = {"panel": panel, "sink": Scripted()}
    async with serving(backends=backends, keep_alive=0.05) as server, server.http() as http:
        asking = asyncio.create_task(http.post("/v1/chat/completions", json=STREAM | {"stream": stream}))
        await until(lambda: panel.in_flight == 1)
        asking.cancel()
        if stream and not asking.cancelled():
            await asyncio.sleep(0.1)
        await http.close()
        await until(lambda: panel.cancelled == 1, 1.0)
        await until(lambda: server.house.admission.running == 0, 1.0)
        await until(lambda: bool(server.lines), 1.0)
    assert server.lines[-1]["status"] == 499


async def test_who_leaves_the_queue_frees_its_place() -> None:
    panel = Scripted(latency=30)
    one_place = serving(backends={"panel": panel, "sink": Scripted()}, max_running=1)
    async with one_place as server, server.http() as first, server.http() as second:
        one = asyncio.create_task(first.post("/v1/chat/completions", json=STREAM))
        await until(lambda: panel.in_flight == 1)
        two = asyncio.create_task(second.post("/v1/chat/completions", json=STREAM))
        await until(lambda: server.house.admission.queued == 1)
        two.cancel()
        await second.close()
        await until(lambda: server.house.admission.queued == 0, 1.0)
        one.cancel()
    assert len(panel.requests) == 1


async def test_a_reader_that_takes_nothing_keeps_no_place_and_is_given_up() -> None:
    long = Playing([], "word " * 3_000_000)
    async with serving(alone("m"), duo(), backends=SLOW | {"m": long}, stall=0.5) as server:
        body = json.dumps({"model": "m", "messages": ASK, "stream": True})
        port = int(server.url.rpartition(":")[2])
        _reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost:{port}\r\ncontent-type: application/json\r\n"
        writer.write(f"{head}content-length: {len(body)}\r\n\r\n{body}".encode())
        await until(lambda: bool(server.events) and server.house.admission.running == 0)
        assert await text_of(server, "duo")
        await until(lambda: any(line.get("model") == "m" for line in server.lines), 4.0)
        writer.close()
    assert [line["status"] for line in server.lines if line.get("model") == "m"] == [499]


SLOW = {"panel": Scripted(), "sink": Scripted()}
