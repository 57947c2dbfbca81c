"""How probable a model finds a text: asked over HTTP as vLLM's server answers, stored, and refused elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import moa
from moa.errors import UsageError
from moa.spec.model import ModelSpec
from tests.support.faults import Exchange, FaultServer

PREFIX = 3
"""Tokens before the text: one for the question, two of the template."""


async def as_vllm(exchange: Exchange) -> None:
    """Words as tokens; a word of n letters has the log-probability -n."""
    body = exchange.seen.body
    *before, last = [message["content"] for message in body["messages"]]
    reply: dict[str, Any] = {
        "choices": [
            {"index": index, "message": {"content": "draft words"}, "finish_reason": "stop"}
            for index in range(exchange.seen.n)
        ],
        "usage": {"prompt_tokens": PREFIX, "completion_tokens": 1},
    }
    if "prompt_logprobs" in body:
        assert body["continue_final_message"] and not body["add_generation_prompt"] and before
        words = last.split()
        reply["prompt_logprobs"] = [
            *([None] + [{"1": {"logprob": -99.0, "decoded_token": "?"}}] * (PREFIX - 1)),
            *({"2": {"logprob": -float(len(word)), "decoded_token": word}} for word in words),
        ]
    await exchange.send(200, json.dumps(reply).encode())


def scored(selector: dict[str, dict[str, str]]) -> moa.Graph:
    graph = moa.Graph("scored")
    drafts = graph.agent("proposer", model="m", samples=2)
    graph.answer = graph.select(selector, inputs=drafts)
    return graph


async def test_only_the_texts_own_tokens_count_and_a_rerun_asks_nothing(tmp_path: Path) -> None:
    async with FaultServer() as server:
        server.always = as_vllm
        models = {"m": ModelSpec(name="m", base_url=server.url, model="m")}
        for turn in range(2):
            async with moa.Runner(store=tmp_path / "s.sqlite", models=models, reuse=True) as runner:
                reply = await runner.run(scored({"query-likelihood": {}}), "Why is it so?")
            assert reply.text == "draft words"
            score = reply.node("answer").responses[0].score
            assert score == pytest.approx(-(3 + 2 + 2 + 3) / 4)
            if turn == 0:
                asked = len(server.requests)
        assert len(server.requests) == asked


async def test_a_model_that_does_not_tell_is_named() -> None:
    async with FaultServer() as server:
        models = {"m": ModelSpec(name="m", base_url=server.url, model="m")}
        async with moa.Runner(models=models) as runner:
            with pytest.raises(UsageError, match="m does not tell how probable a text is: that takes vLLM"):
                await runner.run(scored({"query-likelihood": {}}), "Why?")


@pytest.mark.parametrize(("graph", "samples"), [("query-likelihood", 6), ("perplexity-consistency", 9)])
async def test_the_gallerys_graphs_sample_as_their_page_says_and_ask_for_no_more_words(
    graph: str, samples: int
) -> None:
    async with FaultServer() as server:
        server.always = as_vllm
        models = {"m": ModelSpec(name="m", base_url=server.url, model="m")}
        async with moa.Runner(models=models) as runner:
            reply = await runner.run(moa.load(graph, models={"a": "m"}), "Why is it so?")
    drawn = [seen for seen in server.requests if seen.body.get("max_tokens") != 1]
    assert sum(seen.n for seen in drawn) == samples
    assert reply.text == "draft words"
    assert {seen.body["max_tokens"] for seen in server.requests if seen not in drawn} == {1}


async def test_the_gallerys_density_ratio_reads_with_both_of_its_models_and_writes_with_neither() -> None:
    async with FaultServer() as server:
        server.always = as_vllm
        models = {name: ModelSpec(name=name, base_url=server.url, model=name) for name in "wsb"}
        bound = {"a": "w", "strong": "s", "weak": "b"}
        async with moa.Runner(models=models) as runner:
            reply = await runner.run(moa.load("density-ratio", models=bound), "Why is it so?")
    assert reply.text == "draft words"
    drawn = [seen for seen in server.requests if seen.body.get("max_tokens") != 1]
    assert {seen.body["model"] for seen in drawn} == {"w"} and sum(seen.n for seen in drawn) == 6
    assert {seen.body["model"] for seen in server.requests if seen not in drawn} == {"s", "b"}
