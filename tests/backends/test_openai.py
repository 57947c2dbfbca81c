"""Good answers of a real server, streamed and whole."""

from __future__ import annotations

import json
from typing import Any

import pytest

from moa.backends.base import Request, Usage
from moa.errors import (
    ContentFilteredError,
)
from tests.support.asking import BOTH, QUESTION, Listener, answer, ask, asking, failure
from tests.support.faults import (
    Exchange,
    FaultServer,
    deterministic,
    empty_content,
    error,
    huge_line,
    no_usage,
    ok,
    raw,
    sse,
    text,
)

# Good answers


async def test_the_body_holds_what_was_asked() -> None:
    async with FaultServer() as server:
        async with asking(server, {"K": "secret-key-1"}, key_env="K", body={"top_k": 5, "x": 1}) as backend:
            await backend.complete(ask(n=2, temperature=0.5, x=2))
        (seen,) = server.requests
    assert seen.path == "/v1/chat/completions"
    assert seen.headers["authorization"] == "Bearer secret-key-1"
    assert seen.headers["user-agent"].startswith("moa/")
    assert seen.body == {
        "top_k": 5,
        "x": 2,
        "temperature": 0.5,
        "model": "m",
        "messages": list(QUESTION),
        "n": 2,
        "seed": 7,
    }


async def test_fields_that_are_the_engines_cannot_be_smuggled_in() -> None:
    async with FaultServer() as server, asking(server, body={"n": 4, "stream": True}) as backend:
        completion = await backend.complete(ask(seed=None, model="other"))
        assert len(completion.choices) == 1
        assert server.bodies == [{"model": "m", "messages": list(QUESTION)}]


async def test_longest_replies_are_capped() -> None:
    async with FaultServer() as server, asking(server, max_output=100) as backend:
        await backend.complete(ask(max_tokens=500))
        await backend.complete(ask(max_tokens=50))
        assert [body["max_tokens"] for body in server.bodies] == [100, 50]


async def test_priority_is_sent_where_the_server_wants_it() -> None:
    async with FaultServer() as server, asking(server, options={"priority": True}) as backend:
        await backend.complete(Request(QUESTION, priority=3))
        assert server.bodies[0]["priority"] == 3


@BOTH
async def test_samples_come_in_the_order_of_their_seeds(streamed: bool) -> None:
    completion = await answer(ok(), ask(n=3), streamed=streamed)
    assert [choice.text for choice in completion.choices] == deterministic(QUESTION, 7, "m", 3)
    assert completion.model == "m" and completion.id == "chatcmpl-1"
    # The server counts words: five in the question, four in each answer.
    assert [choice.usage.input_tokens for choice in completion.choices] == [5, 0, 0]
    assert completion.usage == Usage(5, 12)


@BOTH
async def test_choices_out_of_order_are_put_in_order(streamed: bool) -> None:
    texts = ((1, "b"), (0, "a"))

    async def step(exchange: Exchange) -> None:
        chunks = [
            {"choices": [{"index": at, "delta": {"content": content}, "finish_reason": "stop"}]}
            for at, content in texts
        ]
        await exchange.stream([*map(sse, chunks), sse("[DONE]")])

    choices = [{"index": at, "message": {"content": content}} for at, content in texts]
    whole = raw(json.dumps({"choices": choices}).encode())
    completion = await answer(step if streamed else whole, ask(n=2), streamed=streamed)
    assert [choice.text for choice in completion.choices] == ["a", "b"]


@BOTH
async def test_more_choices_than_asked_are_cut(streamed: bool) -> None:
    completion = await answer(text("one", "two", "three"), ask(n=2), streamed=streamed)
    assert [choice.text for choice in completion.choices] == ["one", "two"]


async def test_a_stream_tells_each_piece_and_equals_the_whole() -> None:
    calls = [{"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}]
    whole_calls = [{key: value for key, value in calls[0].items() if key != "index"}]
    logprobs = {"content": [{"token": "a", "logprob": -0.5}]}
    listener = Listener()
    fields: dict[str, Any] = {
        "texts": ("the sky is", "blue é"),
        "finish": "tool_calls",
        "choice": {"logprobs": logprobs},
    }
    async with (
        FaultServer(
            ok(**fields, message={"reasoning_content": "hm", "tool_calls": whole_calls}),
            ok(**fields, message={"reasoning_content": "hm", "tool_calls": calls}),
        ) as server,
        asking(server) as backend,
    ):
        whole = await backend.complete(ask(n=2, logprobs=True))
        streamed = await backend.complete(ask(n=2, logprobs=True), listener)
        assert server.bodies[1]["stream_options"] == {"include_usage": True}
    assert streamed == whole
    assert whole.choices[0].reasoning == "hm"
    assert whole.choices[0].tool_calls == whole_calls
    assert whole.choices[0].logprobs == logprobs
    assert [listener.text(0), listener.text(1)] == ["the sky is", "blue é"]
    assert sum(bool(delta.text) for delta in listener.deltas) == 5
    assert sum(delta.reasoning == "hm" for delta in listener.deltas) == 2


async def test_pieces_of_tool_calls_are_joined() -> None:
    pieces = [
        {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}},
        {"index": 0, "function": {"arguments": '{"x"'}},
        {"index": 1, "id": "b", "function": {"name": "g", "arguments": "{}"}},
        {"index": 0, "function": {"arguments": ": 1}"}},
    ]
    chunks = [{"choices": [{"index": 0, "delta": {"tool_calls": [piece]}}]} for piece in pieces]
    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}

    async def step(exchange: Exchange) -> None:
        await exchange.stream([*map(sse, [*chunks, end]), sse("[DONE]")])

    completion = await answer(step, ask(), streamed=True)
    assert completion.choices[0].tool_calls == [
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}},
        {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
    ]


async def test_a_server_that_does_not_stream_is_heard_at_once() -> None:
    reply = {"choices": [{"index": 0, "message": {"content": "all of it"}, "finish_reason": "stop"}]}
    listener = Listener()
    async with FaultServer(raw(json.dumps(reply).encode())) as server, asking(server) as backend:
        completion = await backend.complete(ask(), listener)
    assert completion.choices[0].text == listener.text() == "all of it"


async def test_content_in_parts_is_joined() -> None:
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
        {"type": "text", "text": "the "},
        {"type": "text", "text": "sky"},
    ]
    reply = {"choices": [{"message": {"content": parts}, "finish_reason": "eos"}]}
    (choice,) = (await answer(raw(json.dumps(reply).encode()), ask())).choices
    assert (choice.text, choice.reasoning, choice.finish_reason) == ("the sky", "hm", "stop")


async def test_a_refusal_in_the_models_own_words_is_an_answer() -> None:
    completion = await answer(empty_content(refusal="I would rather not."), ask())
    assert completion.choices[0].text == "I would rather not."


@BOTH
async def test_halves_of_a_character_are_put_together(streamed: bool) -> None:
    high, low = "\ud83d", "\ude00"

    async def step(exchange: Exchange) -> None:
        chunks = [{"choices": [{"index": 0, "delta": {"content": half}}]} for half in (high, low)]
        await exchange.stream([*map(sse, chunks), sse("[DONE]")])

    completion = await answer(step if streamed else text(f"{high}{low}{high}"), ask(), streamed=streamed)
    assert completion.choices[0].text.startswith("😀")
    assert completion.choices[0].text.encode()


@BOTH
async def test_a_line_of_two_megabytes(streamed: bool) -> None:
    completion = await answer(huge_line(), ask(), streamed=streamed)
    assert completion.choices[0].text == "x" * 2_000_000


async def test_a_prompt_of_two_megabytes() -> None:
    message = {"role": "user", "content": "x" * 2_000_000}
    async with FaultServer(text("ok")) as server, asking(server) as backend:
        assert (await backend.complete(Request((message,)))).choices[0].text == "ok"
        assert server.bodies[0]["messages"] == [message]


# Usage


async def test_details_of_usage() -> None:
    reply = {
        "choices": [{"index": i, "message": {"content": c}} for i, c in enumerate(("a" * 30, "b" * 10))],
        "usage": {
            "prompt_tokens": 100,
            "completion_tokens": 41,
            "prompt_tokens_details": {"cached_tokens": 64},
            "completion_tokens_details": {"reasoning_tokens": 8},
        },
    }
    first, second = (await answer(raw(json.dumps(reply).encode()), ask(n=2))).choices
    assert first.usage == Usage(100, 30, 64, 6)
    assert second.usage == Usage(0, 11, 0, 2)


@BOTH
async def test_missing_usage_is_estimated(streamed: bool) -> None:
    completion = await answer(ok(usage=False, texts=("a" * 9, "")), ask(n=2), streamed=streamed)
    assert completion.usage == Usage(5, 3, estimated=True)
    assert [choice.usage.output_tokens for choice in completion.choices] == [3, 0]


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {},
        {"prompt_tokens": None, "completion_tokens": 3},
        "many",
        {"prompt_tokens": 0, "completion_tokens": 0},
    ],
)
async def test_useless_usage_is_estimated(usage: Any) -> None:
    reply = {"choices": [{"message": {"content": "four"}}], "usage": usage}
    assert (await answer(raw(json.dumps(reply).encode()), ask())).usage.estimated


# Empty and filtered replies


@BOTH
async def test_a_reasoning_model_cut_short_keeps_its_state(streamed: bool) -> None:
    completion = await answer(empty_content("length", reasoning="let me think"), ask(), streamed=streamed)
    (choice,) = completion.choices
    assert (choice.text, choice.finish_reason, choice.reasoning) == ("", "length", "let me think")


@BOTH
async def test_a_filtered_reply_is_an_error_of_its_own(streamed: bool) -> None:
    found = await failure(empty_content("content_filter"), ask(n=2), streamed=streamed)
    assert isinstance(found, ContentFilteredError) and not found.retryable


async def test_one_filtered_sample_does_not_take_the_others_away() -> None:
    choices = [
        {"index": 0, "message": {"content": None}, "finish_reason": "content_filter"},
        {"index": 1, "message": {"content": "b"}},
    ]
    completion = await answer(raw(json.dumps({"choices": choices}).encode()), ask(n=2))
    assert [(choice.text, choice.finish_reason) for choice in completion.choices] == [
        ("", "content_filter"),
        ("b", None),
    ]


# The real SDK sees the same server


async def test_the_fault_server_speaks_the_real_protocol() -> None:
    from openai import AsyncOpenAI

    async with (
        FaultServer(no_usage()) as server,
        AsyncOpenAI(base_url=server.url, api_key="x", max_retries=0) as client,
    ):
        reply = await client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "hi"}], n=2
        )
        assert [choice.message.content for choice in reply.choices] == deterministic(
            server.bodies[0]["messages"], None, "m", 2
        )
        stream = await client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "hi"}], stream=True
        )
        pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]
        assert "".join(pieces) == reply.choices[0].message.content
        assert error("x")["error"]["message"] == "x"
