"""GET /metrics: figures that add up, labels that callers cannot multiply, and nothing in flight when all is over."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from openai import OpenAIError
from prometheus_client.parser import text_string_to_metric_families

from moa.errors import ServerFailedError
from moa.run.retry import RetryPolicy
from moa.serve.keys import Keys
from tests.serve.serving import Server, serving, until
from tests.support.backends import Scripted

ASK: list[Any] = [{"role": "user", "content": "Why?"}]
Sample = dict[tuple[str, ...], float]


async def figures(server: Server, name: str) -> Sample:
    """The samples of one metric, by the values of their labels in the order of the labels' names."""
    async with server.http() as http, http.get("/metrics") as response:
        assert response.status == 200
        text = await response.text()
    return {
        tuple(value for _, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name
    }


async def test_a_question_is_counted_by_graph_and_node() -> None:
    async with serving() as server, server.client() as client:
        for _ in range(3):
            await client.chat.completions.create(model="duo", messages=ASK)
        assert await figures(server, "moa_answer_seconds_count") == {("duo",): 3}
        # Two drafts share a request: two nodes, one call.
        assert await figures(server, "moa_node_seconds_count") == {("duo", "answer"): 3, ("duo", "drafts"): 6}
        assert await figures(server, "moa_calls_total") == {("duo", "ok"): 6}
        assert await figures(server, "moa_tokens_total") == {("input", "duo"): 60, ("output", "duo"): 45}
        requests = await figures(server, "moa_http_requests_total")
        assert requests["POST", "/v1/chat/completions", "200"] == 3


async def test_a_stream_has_a_first_text() -> None:
    async with serving() as server, server.client() as client:
        async for _ in await client.chat.completions.create(model="duo", messages=ASK, stream=True):
            pass
        assert await figures(server, "moa_first_text_seconds_count") == {("duo",): 1}


async def test_failures_are_counted_by_their_kind() -> None:
    failing = Scripted(lambda request: ServerFailedError("broken", status=500))
    run = {"retry": RetryPolicy(attempts=1)}
    async with (
        serving(backends={"panel": failing, "sink": failing}, run=run) as server,
        server.client() as client,
    ):
        with pytest.raises(OpenAIError):
            await client.chat.completions.create(model="duo", messages=ASK)
        assert await figures(server, "moa_errors_total") == {("ServerFailedError",): 1}
        assert await figures(server, "moa_answers_failed_total") == {("duo",): 1}
        assert await figures(server, "moa_calls_in_flight") == {(): 0}


async def test_what_a_caller_makes_up_is_no_label() -> None:
    async with serving() as server, server.client() as client, server.http() as http:
        for number in range(5):
            with pytest.raises(OpenAIError):
                await client.chat.completions.create(model=f"made-up-{number}", messages=ASK)
            await http.get(f"/nowhere/{number}")
            await http.get(f"/v1/models/made-up-{number}")
        requests = await figures(server, "moa_http_requests_total")
        async with http.get("/metrics") as response:
            assert "made-up" not in await response.text()
    assert {path for _, path, _ in requests} <= {
        "/v1/chat/completions",
        "/v1/models/{model}",
        "/metrics",
        "unknown",
    }


async def test_nothing_stays_in_flight_when_the_client_leaves() -> None:
    slow = Scripted(lambda request: 30.0)
    async with serving(backends={"panel": slow, "sink": slow}) as server, server.client() as client:
        task = asyncio.create_task(client.chat.completions.create(model="duo", messages=ASK))
        await until(lambda: server.house.admission.running == 1)
        await until(lambda: slow.requests != [])
        assert await figures(server, "moa_calls_in_flight") == {(): 1}
        assert (await figures(server, "moa_admission"))["running",] == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: server.house.admission.running == 0)
        assert await figures(server, "moa_calls_in_flight") == {(): 0}
        assert await figures(server, "moa_questions_in_flight") == {(): 0}


async def test_the_figures_are_behind_the_key_and_hold_none() -> None:
    secret = "a-key-that-nobody-guesses"
    async with serving(keys=Keys([("me", secret)])) as server, server.client(secret) as client:
        await client.chat.completions.create(model="duo", messages=ASK)
        async with server.http() as http:
            async with http.get("/metrics") as response:
                assert response.status == 401
            async with http.get("/metrics", headers={"authorization": f"Bearer {secret}"}) as response:
                text = await response.text()
    assert response.status == 200 and "moa_answer_seconds" in text
    assert secret not in text and "Why?" not in text
