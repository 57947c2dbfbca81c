"""POST /v1/messages through Anthropic's own client."""

from __future__ import annotations

from typing import Any

import anthropic
import pytest

from moa.errors import ConnectionFailedError
from moa.run.retry import RetryPolicy
from moa.serve.keys import Keys
from tests.serve.serving import Server, serving
from tests.serve.test_tools import TOOL, Calling
from tests.support.backends import Scripted

ASK: list[Any] = [{"role": "user", "content": "Why?"}]
USE: Any = {
    "name": "weather",
    "description": "The weather.",
    "input_schema": TOOL["function"]["parameters"],
}
KEY = "sk-moa-0123456789abcdef"


def client_of(server: Server, key: str = "none-is-needed") -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(base_url=server.url, api_key=key, max_retries=0)


async def test_an_ensemble_answers_a_message() -> None:
    panel, sink = Scripted(), Scripted()
    async with serving(backends={"panel": panel, "sink": sink}) as server, client_of(server) as client:
        reply = await client.messages.create(
            model="duo", messages=ASK, max_tokens=9, system="Be brief.", stop_sequences=["\n"]
        )
    [block] = reply.content
    assert block.type == "text" and block.text.startswith("Why? #")
    assert (reply.role, reply.stop_reason, reply.model) == ("assistant", "end_turn", "duo")
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (20, 15)
    assert panel.requests[0].messages[0] == {"role": "system", "content": "Be brief."}
    assert sink.requests[0].params["max_tokens"] == 9 and sink.requests[0].params["stop"] == ["\n"]


async def test_a_stream_adds_up() -> None:
    async with (
        serving() as server,
        client_of(server) as client,
        client.messages.stream(model="duo", messages=ASK, max_tokens=9) as stream,
    ):
        text = "".join([piece async for piece in stream.text_stream])
        final = await stream.get_final_message()
    [block] = final.content
    assert block.type == "text" and block.text == text and text.startswith("Why? #")
    assert final.stop_reason == "end_turn" and final.usage.output_tokens == 15


@pytest.mark.parametrize("streamed", [True, False])
async def test_tools_are_used_and_answered(streamed: bool) -> None:
    sink = Calling()
    fields: Any = {"model": "duo", "max_tokens": 9, "tools": [USE], "tool_choice": {"type": "any"}}
    async with serving(backends={"panel": Scripted(), "sink": sink}) as server, client_of(server) as client:
        if streamed:
            async with client.messages.stream(messages=ASK, **fields) as stream:
                reply: Any = await stream.get_final_message()
        else:
            reply = await client.messages.create(messages=ASK, **fields)
        [use] = reply.content
        result = {
            "type": "tool_result",
            "tool_use_id": use.id,
            "content": [{"type": "text", "text": "Sunny"}],
        }
        turns: Any = [
            *ASK,
            {"role": "assistant", "content": reply.content},
            {"role": "user", "content": [result]},
        ]
        after = await client.messages.create(messages=turns, **fields)
    assert (use.type, use.name, use.input) == ("tool_use", "weather", {"city": "Rome"})
    assert reply.stop_reason == "tool_use" and after.content[0].text == "Sunny"
    assert sink.requests[0].params["tool_choice"] == "required"
    assert sink.requests[1].messages[-2]["tool_calls"][0]["id"] == use.id


async def test_pictures_and_thoughts_are_carried_as_they_should() -> None:
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
    turns: Any = [
        {"role": "user", "content": "Hello"},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "?", "signature": "s"},
                {"type": "text", "text": "Hi"},
            ],
        },
        {"role": "user", "content": [picture, {"type": "text", "text": "What is it?"}]},
    ]
    panel, sink = Scripted(lambda request: "a"), Scripted(lambda request: "b")
    async with serving(backends={"panel": panel, "sink": sink}) as server, client_of(server) as client:
        await client.messages.create(model="duo", messages=turns, max_tokens=5)
    said, shown = panel.requests[0].messages[1:]
    assert said == {"role": "assistant", "content": "Hi"}
    assert shown["content"][0] == {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


async def test_tokens_are_counted() -> None:
    async with serving() as server, client_of(server) as client:
        short = await client.messages.count_tokens(model="duo", messages=ASK)
        long = await client.messages.count_tokens(
            model="duo", messages=[{"role": "user", "content": "why " * 100}]
        )
    assert 0 < short.input_tokens < 50 < long.input_tokens


async def test_errors_have_anthropic_s_shape() -> None:
    failing = Scripted(lambda request: ConnectionFailedError("gone"))
    run, keys = {"retry": RetryPolicy(attempts=1)}, Keys([("ann", KEY)])
    backends = {"panel": Scripted(), "sink": failing}
    async with serving(backends=backends, run=run, keys=keys) as server:
        async with client_of(server) as nobody:
            with pytest.raises(anthropic.AuthenticationError) as unknown:
                await nobody.messages.create(model="duo", messages=ASK, max_tokens=5)
        async with client_of(server, KEY) as ann:
            with pytest.raises(anthropic.InternalServerError) as failed:
                await ann.messages.create(model="duo", messages=ASK, max_tokens=5)
            with pytest.raises(anthropic.NotFoundError):
                await ann.messages.create(model="dou", messages=ASK, max_tokens=5)
    body: Any = unknown.value.body
    assert body["type"] == "error" and body["error"]["type"] == "authentication_error"
    assert body["request_id"] == unknown.value.response.headers["x-request-id"]
    assert failed.value.status_code == 502


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"max_tokens": None}, "max_tokens"),
        ({"messages": [{"role": "system", "content": "x"}]}, "role"),
        ({"messages": [{"role": "user", "content": [{"type": "document"}]}]}, "document"),
        ({"messages": [*ASK, {"role": "assistant", "content": "So"}]}, "user's turn"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "web_search"),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, "thinking"),
        ({"tool_choice": {"type": "some"}}, "tool_choice"),
        ({"temperature": 1.5}, "temperature"),
    ],
)
async def test_what_cannot_be_honoured_is_refused(fields: dict[str, Any], said: str) -> None:
    async with serving() as server, server.http() as http:
        body = {"model": "duo", "messages": ASK, "max_tokens": 5} | fields
        response = await http.post("/v1/messages", json=body)
        error = (await response.json())["error"]
    assert response.status == 400 and error["type"] == "invalid_request_error" and said in error["message"]
