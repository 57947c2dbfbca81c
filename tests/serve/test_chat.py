"""POST /v1/chat/completions through OpenAI's own client."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import openai
import pytest

from moa.backends.base import Completion, Emit, Request
from moa.errors import ConnectionFailedError, RateLimitedError
from moa.run.retry import RetryPolicy
from moa.serve.answer import LARGE
from moa.serve.house import PLANS
from tests.serve.serving import duo, serving, vote
from tests.support.backends import Scripted

ONCE = RetryPolicy(attempts=1)
ASK: list[Any] = [{"role": "user", "content": "Why?"}]


async def test_an_ensemble_answers_as_a_model() -> None:
    async with serving() as server, server.client() as client:
        reply = await client.chat.completions.create(model="duo", messages=ASK)
    [choice] = reply.choices
    assert choice.message.role == "assistant" and choice.finish_reason == "stop"
    assert (choice.message.content or "").startswith("Why? #")
    assert reply.id.startswith("chatcmpl-") and reply.model == "duo" and reply.object == "chat.completion"
    assert (reply.system_fingerprint or "").startswith("moa-")
    # Two drafts in one request (10 + 5 + 5) and the aggregation (10 + 5).
    assert reply.usage is not None
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (20, 15)


async def test_a_stream_says_the_same_and_ends_with_usage() -> None:
    async with serving() as server, server.client() as client:
        whole = await client.chat.completions.create(model="duo", messages=ASK, seed=7)
        stream = await client.chat.completions.create(
            model="duo", messages=ASK, seed=7, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
    assert chunks[0].choices[0].delta.role == "assistant"
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].choices == [] and chunks[-1].usage == whole.usage
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert len({chunk.id for chunk in chunks}) == 1


async def test_without_being_asked_a_stream_has_no_usage() -> None:
    async with serving() as server, server.client() as client:
        stream = await client.chat.completions.create(model="duo", messages=ASK, stream=True)
        chunks = [chunk async for chunk in stream]
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)


async def test_sampling_goes_to_whoever_writes_the_answer() -> None:
    panel, sink = Scripted(), Scripted()
    async with serving(backends={"panel": panel, "sink": sink}) as server, server.client() as client:
        await client.chat.completions.create(
            model="duo", messages=ASK, temperature=0, max_completion_tokens=9, stop=["\n"], top_p=0.5
        )
    assert panel.requests[0].params == {"temperature": 0.7, "max_tokens": 2048}
    expected = {"temperature": 0, "max_tokens": 9, "stop": ["\n"], "top_p": 0.5}
    assert sink.requests[0].params == expected


async def test_a_choosing_ensemble_samples_where_its_words_are_written() -> None:
    panel = Scripted()
    async with serving(vote(), backends={"panel": panel}) as server, server.client() as client:
        reply = await client.chat.completions.create(model="vote", messages=ASK, max_tokens=3)
    assert panel.requests[0].params["max_tokens"] == 3
    assert reply.choices[0].finish_reason == "stop" and reply.choices[0].message.content


async def test_n_asks_the_panel_once() -> None:
    panel, sink = Scripted(), Scripted()
    async with serving(backends={"panel": panel, "sink": sink}) as server, server.client() as client:
        reply = await client.chat.completions.create(model="duo", messages=ASK, n=3)
        stream = await client.chat.completions.create(model="duo", messages=ASK, n=3, stream=True)
        texts = ["", "", ""]
        async for chunk in stream:
            for choice in chunk.choices:
                texts[choice.index] += choice.delta.content or ""
    assert [choice.index for choice in reply.choices] == [0, 1, 2]
    assert len({choice.message.content for choice in reply.choices}) == 3
    assert len(set(texts)) == 3 and all(texts)
    assert len(panel.requests) == 2 and [request.n for request in sink.requests] == [3, 3]


async def test_seeds_name_samples() -> None:
    async with serving() as server, server.client() as client:

        async def ask(seed: int | None) -> str | None:
            reply = await client.chat.completions.create(model="duo", messages=ASK, seed=seed)
            return reply.choices[0].message.content

        assert await ask(5) == await ask(5) != await ask(6)
        assert await ask(None) != await ask(None)
        assert await ask(-(2**63))


async def test_nodes_are_told_of_on_request() -> None:
    async with serving() as server, server.client() as client:
        plain = await client.chat.completions.create(model="duo", messages=ASK)
        asked = await client.chat.completions.create(
            model="duo", messages=ASK, extra_body={"moa": {"nodes": True}}
        )
        stream = await client.chat.completions.create(
            model="duo", messages=ASK, stream=True, extra_headers={"x-moa-nodes": "1"}
        )
        last = [chunk async for chunk in stream][-1]
    assert "moa" not in (plain.model_extra or {})
    assert [node["id"] for node in (asked.model_extra or {})["moa"]["nodes"]] == [
        "drafts[0]",
        "drafts[1]",
        "answer",
    ]
    assert (last.model_extra or {})["moa"]["nodes"][0]["usage"]["completion_tokens"] == 5


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        pytest.param({"n": 0}, "n", id="n of 0"),
        pytest.param({"n": True}, "n", id="n of true"),
        pytest.param({"temperature": 3}, "temperature", id="too hot"),
        pytest.param({"temperature": "1"}, "temperature", id="a text for a number"),
        pytest.param({"max_tokens": 0}, "max_tokens", id="nothing wanted"),
        pytest.param({"messages": []}, "messages", id="no messages"),
        pytest.param({"messages": [{"role": "user", "content": ""}]}, "messages", id="empty turn"),
        pytest.param({"messages": [{"role": "king", "content": "x"}]}, "messages", id="unknown role"),
        pytest.param({"messages": [*ASK, {"role": "assistant", "content": "x"}]}, "messages", id="prefill"),
        pytest.param(
            {"messages": [{"role": "user", "content": [{"type": "smell"}]}]}, "messages", id="unknown part"
        ),
        pytest.param({"functions": [{"name": "f"}]}, "functions", id="old functions"),
        pytest.param({"guided_json": {}}, "guided_json", id="another server's field"),
        pytest.param({"web_search_options": {}}, "web_search_options", id="search"),
        pytest.param({"modalities": ["audio"]}, "modalities", id="spoken"),
        pytest.param({"response_format": {"type": "json_schema"}}, "response_format", id="no schema"),
        pytest.param({"tool_choice": "required"}, "tool_choice", id="a choice of no tools"),
        pytest.param({"stream_options": {"include_usage": True}}, "stream_options", id="no stream"),
        pytest.param({"model": "due"}, "model", id="unknown model"),
    ],
)
async def test_what_cannot_be_honoured_is_refused_by_name(fields: dict[str, Any], param: str) -> None:
    async with serving() as server, server.http() as http:
        body = {"model": "duo", "messages": ASK} | fields
        async with http.post("/v1/chat/completions", json=body) as response:
            error = (await response.json())["error"]
    assert response.status == (404 if param == "model" else 400)
    assert error["param"] == param and error["type"] in ("invalid_request_error", "not_found_error")
    assert not server.events


@pytest.mark.parametrize("fields", [{"tools": [{"type": "function", "function": {"name": "f"}}]}, {"n": 2}])
async def test_a_choosing_ensemble_refuses_what_only_a_writer_can(fields: dict[str, Any]) -> None:
    async with serving(vote()) as server, server.client() as client:
        with pytest.raises(openai.BadRequestError) as refused:
            await client.chat.completions.create(model="vote", messages=ASK, **fields)
    assert refused.value.param == next(iter(fields))


async def test_harmless_fields_are_accepted() -> None:
    harmless = {"user": "me", "metadata": {"a": "b"}, "store": False, "service_tier": "auto", "whatever": [1]}
    async with serving() as server, server.client() as client:
        reply = await client.chat.completions.create(model="duo", messages=ASK, extra_body=harmless)
    assert reply.choices[0].message.content


async def test_turns_and_parts_reach_the_models() -> None:
    panel = Scripted()
    turns: list[Any] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi"},
        {"role": "user", "content": [{"type": "text", "text": "Why?"}]},
    ]
    backends = {"panel": panel, "sink": Scripted(lambda request: "so")}
    async with serving(backends=backends) as server, server.client() as client:
        await client.chat.completions.create(model="duo", messages=turns)
    assert list(panel.requests[0].messages) == turns


def failing(error: Exception) -> Scripted:
    return Scripted(lambda request: error)


async def test_errors_of_models_have_the_status_that_clients_expect() -> None:
    backends = {"panel": Scripted(), "sink": failing(RateLimitedError("slow down", retry_after=7))}
    async with serving(backends=backends, run={"retry": ONCE}) as server, server.client() as client:
        for stream in (False, True):
            with pytest.raises(openai.RateLimitError) as refused:
                await client.chat.completions.create(model="duo", messages=ASK, stream=stream)
            assert refused.value.response.headers["retry-after"] == "7"
            assert refused.value.request_id and refused.value.request_id == server.lines[-1]["request_id"]


async def test_errors_do_not_name_inner_addresses_where_strangers_ask() -> None:
    backends = {"panel": Scripted(), "sink": failing(ConnectionFailedError("no server at http://10.0.0.7"))}
    run = {"retry": ONCE}
    async with serving(backends=backends, run=run, detailed=False) as server, server.client() as client:
        with pytest.raises(openai.InternalServerError) as refused:
            await client.chat.completions.create(
                model="duo", messages=ASK, extra_body={"moa": {"nodes": True}}
            )
    assert refused.value.status_code == 502 and "10.0.0.7" not in refused.value.response.text
    assert "10.0.0.7" in server.lines[-1]["error"]


async def test_a_failure_after_the_first_words_ends_the_stream_with_an_error() -> None:
    class Breaking(Scripted):
        async def complete(self, request: Request, emit: Any = None) -> Any:
            if emit is not None:
                await super().complete(request, emit)
                await asyncio.sleep(0.05)
            raise ConnectionFailedError("gone")

    backends = {"panel": Scripted(), "sink": Breaking()}
    async with serving(backends=backends, run={"retry": ONCE}) as server, server.client() as client:
        stream = await client.chat.completions.create(model="duo", messages=ASK, stream=True)
        with pytest.raises(openai.APIError, match="gone"):
            async for chunk in stream:
                assert chunk.choices
    assert server.lines[-1]["status"] == 502


async def test_several_ensembles_are_several_models() -> None:
    async with serving(duo("one"), duo("two/three")) as server, server.client() as client:
        listed = [model.id async for model in client.models.list()]
        shown = await client.models.retrieve("two/three")
        with pytest.raises(openai.NotFoundError) as missing:
            await client.models.retrieve("thee")
    assert listed == ["one", "two/three"] and shown.owned_by == "moa"
    assert missing.value.code == "model_not_found"


async def test_what_callers_bring_does_not_pile_up() -> None:
    async with serving() as server, server.client() as client:
        for number in range(PLANS + 5):
            await client.chat.completions.create(model="duo", messages=ASK, max_tokens=number + 1)
        huge: Any = [{"type": "function", "function": {"name": "f", "description": "x" * LARGE}}]
        await client.chat.completions.create(model="duo", messages=ASK, tools=huge)
        house = server.house
    assert len(house.plans) == PLANS and len(vars(house.runner)["_guests_wirings"]) <= PLANS
    assert not any("xxx" in key[2] for key in house.plans)


class Probable(Scripted):
    """Gives a log-probability for each word, and one that JSON cannot write."""

    async def complete(self, request: Request, emit: Emit | None = None) -> Completion:
        completion = await super().complete(request, emit)
        if not request.params.get("logprobs"):
            return completion
        told: Any = {
            "content": [
                {"token": word, "bytes": None, "logprob": value, "top_logprobs": []}
                for word, value in (("Why?", -0.5), (" not", float("-inf")))
            ],
            "refusal": None,
        }
        choices = tuple(dataclasses.replace(choice, logprobs=told) for choice in completion.choices)
        return dataclasses.replace(completion, choices=choices)


@pytest.mark.parametrize("count", [1, 2])
async def test_log_probabilities_come_with_a_stream_as_with_a_whole_answer(count: int) -> None:
    backends = {"panel": Scripted(), "sink": Probable()}
    async with serving(backends=backends) as server, server.client() as client:
        whole = await client.chat.completions.create(model="duo", messages=ASK, logprobs=True, n=count)
        async with client.chat.completions.stream(
            model="duo", messages=ASK, logprobs=True, top_logprobs=2, n=count
        ) as stream:
            streamed = await stream.get_final_completion()
        plain = await client.chat.completions.create(model="duo", messages=ASK, stream=True)
        unasked = [chunk.choices[0].logprobs async for chunk in plain if chunk.choices]
    for choice, other in zip(whole.choices, streamed.choices, strict=True):
        assert choice.logprobs is not None and choice.logprobs.content is not None and other.logprobs
        assert [each.logprob for each in choice.logprobs.content] == [-0.5, -9999.0]
        assert other.logprobs.content == choice.logprobs.content
    assert set(unasked) == {None}
    assert backends["sink"].requests[1].params["top_logprobs"] == 2
