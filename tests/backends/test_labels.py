"""The probabilities of a judge's labels, as exact as the server can give them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from moa.backends.base import LABELS, Request
from moa.backends.labels import spellings
from moa.backends.openai import OpenAICompatible
from moa.errors import BadRequestError
from moa.nodes.preference import Preference, read_preference
from moa.spec.agent import AgentSpec
from moa.spec.model import ModelSpec
from tests.support.judge_server import Dialect, JudgeServer

JUDGE = AgentSpec(name="judge", reads="preference")
PROMPT = "[F response K begins]\none\n[F ends]\n\n[F response Q begins]\nother\n[F ends]\n\nK or Q?"
QUESTION = ({"role": "user", "content": PROMPT},)


@asynccontextmanager
async def backend(server: JudgeServer, **fields: Any) -> AsyncIterator[OpenAICompatible]:
    spec = ModelSpec.model_validate({"name": "mine", "base_url": server.url, "model": "judge"} | fields)
    asked = OpenAICompatible(spec, environ={})
    try:
        yield asked
    finally:
        await asked.aclose()


async def verdict(asked: OpenAICompatible, *, labels: bool = True, **params: Any) -> Preference | None:
    sampling = {"max_tokens": 1, "logprobs": True, "top_logprobs": 20} | params
    if labels:
        sampling[LABELS] = ["K", "Q"]
    [choice] = (await asked.complete(Request(QUESTION, sampling))).choices
    return read_preference(JUDGE, choice.text, choice.logprobs, ("K", "Q"))


async def test_vllm_is_asked_for_the_tokens_of_the_labels() -> None:
    async with JudgeServer(lambda first, second: 0.999, "vllm") as server, backend(server) as asked:
        preference = await verdict(asked, top_logprobs=2)
        assert await verdict(asked) == preference
    assert preference == pytest.approx(0.999)
    body = server.asked[0]
    assert len(body["logprob_token_ids"]) == 8
    assert body["top_logprobs"] == 9
    assert LABELS not in body
    assert sorted(server.tokenized) == sorted(spellings(["K", "Q"]))


async def test_without_labels_nothing_changes() -> None:
    async with JudgeServer(lambda first, second: 0.9, "vllm") as server, backend(server) as asked:
        await verdict(asked, labels=False)
    assert server.tokenized == []
    assert "logprob_token_ids" not in server.asked[0]


@pytest.mark.parametrize("dialect", ["openai", "llama.cpp"])
async def test_a_server_without_that_tokenizer_gives_its_likeliest_tokens(dialect: Dialect) -> None:
    async with JudgeServer(lambda first, second: 0.8, dialect) as server, backend(server) as asked:
        preference = await verdict(asked)
    assert preference == pytest.approx(0.8)
    assert "logprob_token_ids" not in server.asked[0]


async def test_few_alternatives_lose_what_is_unlikely() -> None:
    async with JudgeServer(lambda first, second: 0.99) as server, backend(server) as asked:
        assert await verdict(asked, top_logprobs=2) == 1.0


async def test_a_bound_on_alternatives_is_learnt_once() -> None:
    async with JudgeServer(lambda first, second: 0.8, most=5) as server, backend(server) as asked:
        assert await verdict(asked) == pytest.approx(0.8, abs=0.02)
        assert await verdict(asked) == pytest.approx(0.8, abs=0.02)
        assert asked.notes() == ()
    assert [body["top_logprobs"] for body in server.asked] == [20, 5, 5]


async def test_a_server_that_refuses_log_probabilities_is_read_by_its_words() -> None:
    async with JudgeServer(lambda first, second: 0.8, "refusing") as server, backend(server) as asked:
        preferences = [await verdict(asked), await verdict(asked)]
        assert asked.notes() == ("mine gives no log-probabilities, so what it writes is read instead",)
    assert [(value, value.method) for value in preferences if value is not None] == [(1.0, "text")] * 2
    assert ["logprobs" in body for body in server.asked] == [True, False, False]


async def test_a_server_that_sends_none_is_read_by_its_words() -> None:
    async with JudgeServer(lambda first, second: 0.2, "mute") as server, backend(server) as asked:
        preference = await verdict(asked)
        assert asked.notes() == ("mine does not return the log-probabilities that it is asked for",)
    assert preference is not None
    assert (preference, preference.method) == (0.0, "text")


async def test_whoever_needs_log_probabilities_is_told_of_the_refusal() -> None:
    async with JudgeServer(lambda first, second: 0.8, "refusing") as server, backend(server) as asked:
        with pytest.raises(BadRequestError, match="logprobs are not supported"):
            await verdict(asked, labels=False)


async def test_a_server_that_does_not_know_the_field_is_asked_without_it() -> None:
    class Half(JudgeServer):
        """Has vLLM's tokenizer, and the manners of another."""

        def _refusal(self, body: dict[str, Any]) -> str | None:
            known = "logprob_token_ids" not in body
            return None if known else "Unrecognized request argument supplied: logprob_token_ids"

    async with Half(lambda first, second: 0.8, "vllm") as server, backend(server) as asked:
        assert await verdict(asked) == pytest.approx(0.8)
        assert await verdict(asked) == pytest.approx(0.8)
    assert ["logprob_token_ids" in body for body in server.asked] == [True, False, False]


def test_spellings() -> None:
    assert spellings(["K", "Q"]) == ["K", " K", "k", " k", "Q", " Q", "q", " q"]
    assert spellings(["m", "M"]) == ["m", "M"]
