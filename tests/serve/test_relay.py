"""Completions and embeddings of plain models, from a server of their own."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import AsyncIterator
from typing import Any

import ollama
import openai
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from moa.spec.model import ModelSpec, Price
from tests.serve.serving import Server, serving
from tests.support.backends import Scripted

VECTOR = [0.5, -1.0]


class Upstream:
    """A server with both endpoints; `fail` makes it refuse, `broken` makes its streams break off."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.fail: dict[str, Any] | None = None
        self.broken = False

    async def completions(self, request: web.Request) -> web.StreamResponse:
        body = await self._taken(request)
        if self.fail:
            return web.json_response({"error": self.fail}, status=429, headers={"retry-after": "3"})
        usage = {"prompt_tokens": 4, "completion_tokens": 2, "total_tokens": 6}
        about = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": body["model"]}
        choice = {"index": 0, "text": "a b", "finish_reason": "stop", "logprobs": None}
        if not body.get("stream"):
            return web.json_response({**about, "choices": [choice], "usage": usage})
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        chunks: list[Any] = [{**about, "choices": [{**choice, "text": word}]} for word in ("a", " b")]
        if body["stream_options"]["include_usage"]:
            chunks.append({**about, "choices": [], "usage": usage})
        for chunk in chunks[:1] if self.broken else chunks:
            await response.write(f"data: {json.dumps(chunk)}\n\n".encode())
        if not self.broken:
            await response.write(b"data: [DONE]\n\n")
        return response

    async def embeddings(self, request: web.Request) -> web.StreamResponse:
        body = await self._taken(request)
        packed = base64.b64encode(struct.pack("<2f", *VECTOR)).decode()
        vector = packed if body.get("encoding_format") == "base64" else VECTOR
        count = len(body["input"]) if isinstance(body["input"], list) else 1
        data = [{"object": "embedding", "index": n, "embedding": vector} for n in reversed(range(count))]
        if self.broken:
            data = data[1:]
        usage = {"prompt_tokens": 3, "total_tokens": 3}
        return web.json_response({"object": "list", "data": data, "model": body["model"], "usage": usage})

    async def _taken(self, request: web.Request) -> dict[str, Any]:
        self.bodies.append(await request.json())
        return self.bodies[-1]


@pytest.fixture
async def upstream() -> AsyncIterator[tuple[Upstream, dict[str, ModelSpec]]]:
    scripted, app = Upstream(), web.Application()
    app.router.add_post("/v1/completions", scripted.completions)
    app.router.add_post("/v1/embeddings", scripted.embeddings)
    async with TestServer(app) as server:
        price = Price(input=1, output=1)
        plain = ModelSpec(name="plain", base_url=str(server.make_url("/v1")), model="inner", price=price)
        yield scripted, {"plain": plain}


Given = tuple[Upstream, dict[str, ModelSpec]]


async def ask(server: Server, **fields: Any) -> Any:
    async with server.client() as client:
        return await client.completions.create(model="plain", prompt="p", **fields)


async def test_a_completion_passes_through(upstream: Given) -> None:
    scripted, models = upstream
    async with serving(plain=["plain"], run={"models": models}) as server:
        reply = await ask(server, max_tokens=5, extra_body={"min_p": 0.1})
    assert reply.choices[0].text == "a b" and reply.model == "plain" and reply.usage.total_tokens == 6
    assert scripted.bodies[0] == {"model": "inner", "prompt": "p", "max_tokens": 5, "min_p": 0.1}
    assert server.lines[-1]["prompt_tokens"] == 4 and server.lines[-1]["cost"] == pytest.approx(6e-6)


@pytest.mark.parametrize("wanted", [True, False])
async def test_a_stream_passes_through(upstream: Given, wanted: bool) -> None:
    _, models = upstream
    async with serving(plain=["plain"], run={"models": models}) as server, server.client() as client:
        options = {"stream_options": {"include_usage": True}} if wanted else {}
        stream = await client.completions.create(model="plain", prompt="p", stream=True, **options)  # type: ignore[call-overload]
        chunks = [chunk async for chunk in stream]
    assert "".join(c.choices[0].text for c in chunks if c.choices) == "a b"
    assert {c.model for c in chunks} == {"plain"} and (chunks[-1].usage is not None) == wanted
    assert server.lines[-1]["completion_tokens"] == 2


async def test_embeddings_pass_through_as_the_client_wants_them(upstream: Given) -> None:
    _, models = upstream
    async with serving(plain=["plain"], run={"models": models}) as server, server.client() as client:
        packed = await client.embeddings.create(model="plain", input="x")
        plain = await client.embeddings.create(model="plain", input="x", encoding_format="float")
    assert packed.data[0].embedding == plain.data[0].embedding == VECTOR
    assert packed.usage.total_tokens == 3


@pytest.mark.parametrize("stream", [True, False])
async def test_a_refusal_passes_through(upstream: Given, stream: bool) -> None:
    scripted, models = upstream
    scripted.fail = {"message": "slow down", "type": "rate_limit"}
    async with serving(plain=["plain"], run={"models": models}) as server:
        with pytest.raises(openai.RateLimitError) as refused:
            await ask(server, stream=stream)
    assert refused.value.response.headers["retry-after"] == "3"


async def test_a_stream_that_breaks_off_does_not_end_as_if_it_were_whole(upstream: Given) -> None:
    scripted, models = upstream
    scripted.broken = True
    async with serving(plain=["plain"], run={"models": models}) as server, server.client() as client:
        with pytest.raises(openai.APIError, match="broke off"):
            _ = [c async for c in await client.completions.create(model="plain", prompt="p", stream=True)]


async def test_ollamas_client_gets_vectors(upstream: Given) -> None:
    scripted, models = upstream
    async with (
        serving(plain=["plain"], run={"models": models}) as server,
        ollama.AsyncClient(host=server.url) as client,
    ):
        one = await client.embed("plain:latest", "x", truncate=True, dimensions=2)
        two = await client.embed("plain", ["x", "y"], keep_alive=5)
        old = await client.embeddings("plain", "x")
        scripted.broken = True
        with pytest.raises(ollama.ResponseError, match="a vector for each text") as broken:
            await client.embed("plain", ["x", "y"])
        with pytest.raises(ollama.ResponseError, match="ensemble") as refused:
            await client.embed("duo", "x")
        with pytest.raises(ollama.ResponseError, match="input"):
            await client.embed("plain", [])
    assert (one.embeddings, two.embeddings, old.embedding) == ([VECTOR], [VECTOR, VECTOR], VECTOR)
    assert (one.model, one.prompt_eval_count) == ("plain:latest", 3)
    assert (broken.value.status_code, refused.value.status_code) == (502, 400)
    assert scripted.bodies[0] == {"model": "inner", "input": "x", "dimensions": 2, "encoding_format": "float"}
    assert server.lines[0]["prompt_tokens"] == 3 and server.lines[0]["cost"] == pytest.approx(3e-6)


@pytest.mark.parametrize("model", ["duo", "lent"])
async def test_only_models_with_a_server_of_their_own_complete(model: str) -> None:
    backends = {"panel": Scripted(), "sink": Scripted(), "lent": Scripted()}
    async with serving(plain=["lent"], backends=backends) as server, server.client() as client:
        with pytest.raises(openai.BadRequestError) as completing:
            await client.completions.create(model=model, prompt="p")
        with pytest.raises(openai.BadRequestError) as embedding:
            await client.embeddings.create(model=model, input="p")
    assert completing.value.param == embedding.value.param == "model"
