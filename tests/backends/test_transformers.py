"""A real small model through transformers; what it says is not judged."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from importlib.util import find_spec
from typing import Any

import pytest

from moa.backends.base import LABELS, Backend, Delta, Request
from moa.backends.drawing import first_stop
from moa.backends.resolve import connect, model_spec
from moa.backends.transformers import Transformers
from moa.errors import (
    BackendTimeoutError,
    BadRequestError,
    ContextOverflowError,
    MissingExtraError,
    UsageError,
)
from moa.spec.model import ModelSpec
from tests.support.vllm import folder, needs_vllm


def asking(text: str, **fields: Any) -> Request:
    return Request(({"role": "user", "content": text},), **fields)


def spec(**fields: Any) -> ModelSpec:
    return ModelSpec(**{"name": "small", "provider": "transformers", "model": "org/model"} | fields)


@pytest.fixture(scope="module")
def small() -> Iterator[Transformers]:
    """The model, loaded once; torch comes with the environment of vLLM."""
    backend = Transformers(spec(model=folder(), options={"dtype": "float32", "threads": 1}))
    yield backend
    asyncio.run(backend.aclose())


@pytest.fixture
async def _warm(small: Transformers) -> AsyncIterator[None]:
    await small.complete(asking("Hi", params={"max_tokens": 1}))
    yield


def test_a_name_on_the_command_line_is_enough() -> None:
    backend = connect(model_spec("transformers:org/model"))
    assert isinstance(backend, Transformers) and isinstance(backend, Backend)


def test_an_unknown_option_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"small: options: .*dtipe.*known: dtype, device"):
        connect(spec(options={"dtipe": "float32"}))


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"temprature": 1}, "no sampling field `temprature` here (did you mean `temperature`?)"),
        ({"presence_penalty": 1}, "no `presence_penalty`; use `repetition_penalty`"),
        ({"response_format": {"type": "json_object"}}, "cannot hold a reply to a form"),
        ({"tools": [{}]}, "no sampling field `tools`"),
    ],
)
async def test_what_has_no_meaning_here_is_refused_by_name(params: dict[str, Any], said: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        await connect(spec()).complete(asking("Hi", params=params))
    assert said in str(caught.value)


@pytest.mark.skipif(find_spec("torch") is not None, reason="torch is installed")
async def test_without_torch_one_line_names_the_extra() -> None:
    with pytest.raises(MissingExtraError, match=r"^`small` needs the extra `transformers`: pip install"):
        await connect(spec()).complete(asking("Hi"))


def test_the_first_stop_string_counts() -> None:
    assert first_stop("one two three", ("three", "two")) == 4
    assert first_stop("one", ("two",)) is None


@needs_vllm
async def test_answers_and_counts(small: Transformers) -> None:
    request = asking("Say hello.", seed=1, params={"max_tokens": 6, "presence_penalty": 0})
    completion = await small.complete(request)
    (choice,) = completion.choices
    assert choice.text.strip() and choice.finish_reason in ("stop", "length")
    assert choice.usage.input_tokens == await small.count_tokens(request.messages)
    assert 1 <= choice.usage.output_tokens <= 6
    assert await small.context_length() == 8192


@needs_vllm
async def test_a_sample_is_the_same_alone_and_among_others(small: Transformers) -> None:
    params = {"max_tokens": 12, "temperature": 0.9, "top_k": 50, "top_p": 0.95, "repetition_penalty": 1.1}
    together = await small.complete(asking("Tell me of the sea.", n=3, seed=70, params=params))
    assert len({choice.text for choice in together.choices}) > 1
    alone = await small.complete(asking("Tell me of the sea.", seed=71, params=params))
    assert alone.choices[0].text == together.choices[1].text
    assert [choice.usage.input_tokens > 0 for choice in together.choices] == [True, False, False]


@needs_vllm
async def test_pieces_arrive_one_by_one_and_make_the_text(small: Transformers) -> None:
    pieces: list[Delta] = []
    request = asking("Tell me of the sea.", n=2, seed=5, params={"max_tokens": 10, "ignore_eos": True})
    completion = await small.complete(request, pieces.append)
    for index, choice in enumerate(completion.choices):
        mine = [piece.text for piece in pieces if piece.index == index]
        assert "".join(mine) == choice.text and len(mine) > 3
        assert choice.finish_reason == "length" and choice.usage.output_tokens == 10


@needs_vllm
async def test_a_stop_string_ends_the_reply_and_is_not_in_it(small: Transformers) -> None:
    params = {"max_tokens": 20, "temperature": 0, "ignore_eos": True}
    whole = (await small.complete(asking("Count: one two three", params=params))).choices[0].text
    word = whole.split()[3]
    pieces: list[Delta] = []
    stopped = await small.complete(
        asking("Count: one two three", params=params | {"stop": [word]}), pieces.append
    )
    (choice,) = stopped.choices
    assert choice.text == whole[: whole.index(word)] == "".join(piece.text for piece in pieces)
    assert choice.finish_reason == "stop" and choice.usage.output_tokens < 20


@needs_vllm
async def test_log_probabilities_and_labels(small: Transformers) -> None:
    params = {"max_tokens": 2, "temperature": 0, "logprobs": True, "top_logprobs": 2, LABELS: ["m", "M"]}
    (choice,) = (await small.complete(asking("m or M?", params=params))).choices
    told: Any = choice.logprobs
    assert len(told["content"]) == choice.usage.output_tokens
    first = told["content"][0]
    listed = {other["token"]: other["logprob"] for other in first["top_logprobs"]}
    assert {"m", "M", first["token"]} <= listed.keys()
    assert first["logprob"] == max(listed.values())


@needs_vllm
async def test_a_cancelled_request_ends_at_its_next_token(small: Transformers, _warm: None) -> None:
    long = asking("Count.", params={"max_tokens": 2000, "ignore_eos": True}, timeout=0.5)
    with pytest.raises(BackendTimeoutError, match=r"^small: no whole reply within 0\.5 s$"):
        await small.complete(long)
    began = time.perf_counter()
    await small.complete(asking("Hi", params={"max_tokens": 1}))
    assert time.perf_counter() - began < 20


@needs_vllm
async def test_a_prompt_that_is_too_long_names_the_window(small: Transformers) -> None:
    short = Transformers(small.spec.model_copy(update={"context": 30}))
    short._loaded = small.loaded()
    with pytest.raises(ContextOverflowError, match=r"\(30 tokens\)$"):
        await short.complete(asking("word " * 40))
    await short.aclose()


@needs_vllm
async def test_a_model_that_is_not_there_is_said_in_one_line() -> None:
    backend = connect(spec(model="/nowhere/at/all"))
    with pytest.raises(UsageError, match=r"^small: transformers cannot load it: ") as caught:
        await backend.complete(asking("Hi"))
    assert "\n" not in str(caught.value)
    await backend.aclose()
