"""Pictures in a conversation: they reach every member that can see, and are refused where one cannot."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

import moa
from moa.spec.model import ModelSpec
from tests.serve.serving import duo, serving

DATA = "iVBORw0KGgo="
ADDRESS = f"data:image/png;base64,{DATA}"
PICTURE = {"type": "image_url", "image_url": {"url": ADDRESS}}
SHOWN: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": (
        "/v1/chat/completions",
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "What?"}, PICTURE]}]},
    ),
    "stream": (
        "/v1/chat/completions",
        {"messages": [{"role": "user", "content": [PICTURE]}], "stream": True},
    ),
    "responses": (
        "/v1/responses",
        {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": ADDRESS}]}]},
    ),
    "messages": (
        "/v1/messages",
        {
            "max_tokens": 5,
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "image",
                            "source": {"type": "base64", "media_type": "image/png", "data": DATA},
                        }
                    ],
                }
            ],
        },
    ),
    "ollama": ("/api/chat", {"messages": [{"role": "user", "content": "What?", "images": [DATA]}]}),
    "generate": ("/api/generate", {"prompt": "What?", "images": [DATA], "stream": False}),
}


class Seeing:
    """A server with the API, which remembers what it was shown."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []

    async def complete(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.bodies.append(body)
        choices = [
            {"index": n, "message": {"role": "assistant", "content": "a cat"}, "finish_reason": "stop"}
            for n in range(body.get("n") or 1)
        ]
        return web.json_response({"model": "seeing", "choices": choices})


def pair(last: str) -> moa.Graph:
    """A member that sees, and a last one."""
    graph = moa.Graph("pair")
    drafts = graph.agent("proposer", model="front", name="drafts")
    graph.answer = graph.agent("aggregator", model=last, inputs=drafts)
    return graph


@pytest.fixture
async def seeing() -> AsyncIterator[tuple[Seeing, dict[str, ModelSpec]]]:
    scripted, app = Seeing(), web.Application()
    app.router.add_post("/v1/chat/completions", scripted.complete)
    async with TestServer(app) as server:
        address = str(server.make_url("/v1"))
        yield (
            scripted,
            {name: ModelSpec(name=name, base_url=address, model=name) for name in ("front", "back")},
        )


@pytest.mark.parametrize("api", SHOWN)
async def test_a_picture_reaches_every_member_by_every_api(
    api: str, seeing: tuple[Seeing, dict[str, ModelSpec]]
) -> None:
    scripted, models = seeing
    path, body = SHOWN[api]
    async with (
        serving(pair("back"), run={"models": models}) as server,
        server.http() as http,
        http.post(path, json={"model": "pair", **body}) as reply,
    ):
        said = await reply.text()
    assert reply.status == 200 and "cat" in said
    assert {each["model"] for each in scripted.bodies} == {"front", "back"}
    for asked in scripted.bodies:
        parts = [part for m in asked["messages"] if isinstance(m["content"], list) for part in m["content"]]
        assert PICTURE in parts


@pytest.mark.parametrize("api", SHOWN)
@pytest.mark.parametrize("detailed", [True, False])
async def test_a_picture_is_refused_where_a_member_reads_text_alone(
    api: str, detailed: bool, seeing: tuple[Seeing, dict[str, ModelSpec]]
) -> None:
    scripted, models = seeing
    path, body = SHOWN[api]
    async with (
        serving(pair("sim:skill=0.5"), run={"models": models}, detailed=detailed) as server,
        server.http() as http,
        http.post(path, json={"model": "pair", **body}) as reply,
    ):
        refused = (await reply.json())["error"]
    assert reply.status == 400 and scripted.bodies == []
    told = refused if isinstance(refused, str) else refused["message"]
    assert "reads text alone" in told and "image_url" in told and ("sim:" in told) == detailed
    if api in ("chat", "stream", "responses"):
        assert refused["param"] == ("input" if api == "responses" else "messages")


async def test_decisions_refuse_pictures_by_name() -> None:
    questions = [{"type": "predicate", "instructions": "A cat?"}]
    picture = {"role": "user", "content": [{"type": "input_image", "image_url": ADDRESS}]}
    async with serving(duo()) as server, server.http() as http:
        body = {"model": "duo", "input": [picture], "questions": questions}
        async with http.post("/v1/decisions", json=body) as reply:
            assert (reply.status, (await reply.json())["error"]["param"]) == (400, "input[0]")


@pytest.mark.parametrize("picture", [None, "x", {}, {"url": 3}])
async def test_a_picture_without_an_address_is_none(picture: Any) -> None:
    content = [{"type": "image_url", "image_url": picture}]
    async with serving(duo()) as server, server.http() as http:
        body = {"model": "duo", "messages": [{"role": "user", "content": content}]}
        async with http.post("/v1/chat/completions", json=body) as reply:
            error = (await reply.json())["error"]
    assert reply.status == 400 and "part 0 of message 0" in error["message"]
