"""/api/chat and /api/generate through Ollama's own client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import ollama
import pytest

import moa
from moa.errors import ConnectionFailedError
from moa.run.retry import RetryPolicy
from moa.spec.model import ModelSpec
from tests.serve.serving import serving, vote
from tests.serve.test_tools import TOOL, Calling, typed
from tests.support.backends import Scripted

ASK: list[Any] = [{"role": "user", "content": "Why?"}]


@asynccontextmanager
async def asking(*graphs: moa.Graph, **settings: Any) -> AsyncIterator[ollama.AsyncClient]:
    """A server and a client of it."""
    async with serving(*graphs, **settings) as server, ollama.AsyncClient(host=server.url) as client:
        yield client


async def test_an_ensemble_chats() -> None:
    sink = Scripted()
    async with asking(backends={"panel": Scripted(), "sink": sink}) as client:
        reply = await client.chat("duo:latest", ASK, options={"temperature": 0, "num_predict": 7, "seed": 3})
        stream = await client.chat("duo", ASK, stream=True, options={"seed": 3})
        parts = [part async for part in stream]
    assert (reply.message.content or "").startswith("Why? #") and reply.done_reason == "stop"
    assert (reply.prompt_eval_count, reply.eval_count) == (20, 15) and reply.model == "duo:latest"
    assert "".join(part.message.content or "" for part in parts) == reply.message.content
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
    assert sink.requests[0].params["max_tokens"] == 7 and sink.requests[0].params["temperature"] == 0


async def test_an_ensemble_generates() -> None:
    panel = Scripted()
    async with asking(backends={"panel": panel, "sink": Scripted()}, keep_alive=0.02) as client:
        reply = await client.generate("duo", "Why?", system="Be brief.")
        stream = await client.generate("duo", "Why?", stream=True)
        text = "".join([part.response or "" async for part in stream])
    assert (reply.response or "").startswith("Why? #") and text.startswith("Why? #")
    assert panel.requests[0].messages[0] == {"role": "system", "content": "Be brief."}


async def test_a_silent_stream_is_kept_alive_without_comments() -> None:
    backends = {"panel": Scripted(latency=0.2), "sink": Scripted()}
    async with asking(backends=backends, keep_alive=0.02) as client:
        parts = [part async for part in await client.chat("duo", ASK, stream=True)]
    assert sum(not part.message.content for part in parts) > 3


async def test_a_client_sees_what_a_model_can_do() -> None:
    backends = {"panel": Scripted(), "sink": Scripted()}
    windows = {
        name: ModelSpec(name=name, provider="lent", model=name, context=size)
        for name, size in (("panel", 4096), ("sink", 8192))
    }
    async with asking(backends=backends, run={"models": windows}) as client:
        shown = await client.show("duo:latest")
        running = await client.ps()
        with pytest.raises(ollama.ResponseError, match="did you mean 'duo'") as refused:
            await client.show("dou")
    assert shown.capabilities == ["completion", "tools"] and shown.modified_at is not None
    assert shown.modelinfo == {"general.architecture": "moa", "moa.nodes": 3, "moa.context_length": 4096}
    assert refused.value.status_code == 404 and not running.models


async def test_a_selector_takes_no_tools_and_an_unknown_window_is_not_told() -> None:
    async with asking(vote(), backends={"panel": Scripted()}) as client:
        shown = await client.show("vote")
    assert shown.capabilities == ["completion"] and "moa.context_length" not in (shown.modelinfo or {})


async def test_tools_are_called_and_answered() -> None:
    sink = Calling()
    async with asking(backends={"panel": Scripted(), "sink": sink}) as client:
        reply = await client.chat("duo", ASK, tools=[TOOL])
        [call] = reply.message.tool_calls or []
        turns: Any = [*ASK, reply.message, {"role": "tool", "tool_name": "weather", "content": "Sunny"}]
        after = await client.chat("duo", turns, tools=[TOOL])
    assert (call.function.name, call.function.arguments) == ("weather", {"city": "Rome"})
    assert after.message.content == "Sunny"
    said, result = sink.requests[1].messages[-2:]
    assert said["tool_calls"][0]["id"] == result["tool_call_id"]


async def test_an_answer_has_the_shape_that_was_asked_for() -> None:
    sink = Scripted(typed('{"a":1}'))
    async with asking(backends={"panel": Scripted(), "sink": sink}) as client:
        await client.chat("duo", ASK, format={"type": "object"})
        await client.chat("duo", ASK, format="json")
    assert sink.requests[0].params["response_format"]["json_schema"]["schema"] == {"type": "object"}
    assert sink.requests[1].params["response_format"] == {"type": "json_object"}


async def test_a_body_that_does_not_say_what_it_is_is_read_as_json() -> None:
    """As Ollama itself does; some of its clients send no content type."""
    body = b'{"model": "duo", "messages": [{"role": "user", "content": "Why?"}], "stream": false}'
    async with serving() as server, server.http(skip_auto_headers=["content-type"]) as http:
        async with http.post("/api/chat", data=body) as untyped:
            said = await untyped.json()
        async with http.post("/api/chat", data=body, headers={"content-type": "text/plain"}) as form:
            pass
        async with http.post("/v1/chat/completions", data=body) as elsewhere:
            pass
    assert said["message"]["content"] and (form.status, elsewhere.status) == (415, 415)


async def test_models_are_listed() -> None:
    async with asking() as client:
        listed = await client.list()
    assert [model.model for model in listed.models] == ["duo"]


async def test_errors_have_ollama_s_shape() -> None:
    backends = {
        "panel": Scripted(latency=0.1),
        "sink": Scripted(lambda request: ConnectionFailedError("gone")),
    }
    run = {"retry": RetryPolicy(attempts=1)}
    async with asking(backends=backends, run=run, keep_alive=0.02) as client:
        with pytest.raises(ollama.ResponseError, match="gone") as failed:
            await client.chat("duo", ASK)
        with pytest.raises(ollama.ResponseError, match="gone"):
            _ = [part async for part in await client.chat("duo", ASK, stream=True)]
        with pytest.raises(ollama.ResponseError, match="does not exist") as missing:
            await client.chat("nobody", ASK)
        with pytest.raises(ollama.ResponseError, match="suffix"):
            await client.generate("duo", "a", suffix="b")
    assert (failed.value.status_code, missing.value.status_code) == (502, 404)
