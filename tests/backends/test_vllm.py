"""vLLM's own engine on this processor with a real small model; what the model says is not judged."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from moa.backends.base import LABELS, Backend, Completion, Delta, Request
from moa.backends.vllm.backend import Vllm
from moa.errors import BackendTimeoutError, BadRequestError, ContextOverflowError, UsageError
from moa.spec.model import ModelSpec
from tests.support.vllm import MISSING, SLOTS, SMALL, WINDOW, counter, folder, needs_vllm

LONG = {"max_tokens": 400, "ignore_eos": True}
"""A reply that takes a while unless it is stopped."""


def model(**options: Any) -> Vllm:
    return Vllm(ModelSpec(name="small", provider="vllm", model=folder(), options=SMALL | options))


def asking(text: str, **fields: Any) -> Request:
    return Request(({"role": "user", "content": text},), **fields)


@pytest.fixture(scope="module")
def small() -> Iterator[Vllm]:
    """One engine for all tests here; each of them has an event loop of its own."""
    backend = model()
    yield backend
    if not MISSING:
        asyncio.run(backend.aclose())


async def unfinished(backend: Vllm) -> int:
    async def count(llm: Any) -> int:
        return int(llm.get_num_unfinished_requests())

    return await backend.engine.run(count)


async def until_unfinished(backend: Vllm, least: int) -> None:
    async with asyncio.timeout(60):
        while await unfinished(backend) < least:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


def tops(completion: Completion) -> list[dict[str, float]]:
    """For each token of the first sample, the alternatives and their log-probabilities."""
    told: Any = completion.choices[0].logprobs
    return [
        {other["token"]: other["logprob"] for other in place["top_logprobs"]} for place in told["content"]
    ]


@needs_vllm
async def test_answers_and_counts(small: Vllm) -> None:
    assert isinstance(small, Backend)
    request = asking("Say hello.", seed=1, params={"max_tokens": 12})
    completion = await small.complete(request)
    (choice,) = completion.choices
    assert choice.text.strip()
    assert choice.finish_reason in ("stop", "length")
    assert 1 <= choice.usage.output_tokens <= 12
    assert choice.usage.input_tokens == await small.count_tokens(request.messages)
    assert choice.reasoning is None and choice.logprobs is None
    assert completion.model == folder()


@needs_vllm
async def test_the_window_is_the_engines(small: Vllm) -> None:
    async def window(llm: Any) -> int:
        return int(llm.model_config.max_model_len)

    assert await small.context_length() == WINDOW == await small.engine.run(window)


@needs_vllm
async def test_a_sample_is_the_same_alone_and_among_others(small: Vllm) -> None:
    params = {"max_tokens": 24, "temperature": 0.9}
    together = await small.complete(asking("Tell me of the sea.", n=4, seed=70, params=params))
    assert len({choice.text for choice in together.choices}) > 1
    alone = await small.complete(asking("Tell me of the sea.", seed=72, params=params))
    assert alone.choices[0].text == together.choices[2].text
    assert [choice.usage.input_tokens > 0 for choice in together.choices] == [True, False, False, False]
    assert all(choice.usage.output_tokens > 0 for choice in together.choices)


@needs_vllm
async def test_samples_that_cannot_differ_do_not(small: Vllm) -> None:
    completion = await small.complete(
        asking("Count to five.", n=3, params={"max_tokens": 8, "temperature": 0})
    )
    assert len(completion.choices) == 3
    assert len({choice.text for choice in completion.choices}) == 1


@needs_vllm
async def test_pieces_arrive_one_by_one_and_make_the_text(small: Vllm) -> None:
    pieces: list[Delta] = []
    request = asking("Tell me of the sea.", n=3, seed=5, params={"max_tokens": 20, "ignore_eos": True})
    completion = await small.complete(request, pieces.append)
    for index, choice in enumerate(completion.choices):
        mine = [piece.text for piece in pieces if piece.index == index]
        assert "".join(mine) == choice.text
        assert len(mine) > 5
        assert choice.finish_reason == "length" and choice.usage.output_tokens == 20
    whole = await small.complete(request)
    assert [choice.text for choice in whole.choices] == [choice.text for choice in completion.choices]


@needs_vllm
async def test_a_cancelled_request_is_computed_no_further(small: Vllm) -> None:
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(small.complete(asking(f"Count to {number}.", n=3, params=LONG)))
            for number in range(8)
        ]
        await until_unfinished(small, 24)
        began = time.perf_counter()
        for task in tasks:
            task.cancel()
    while await unfinished(small) or counter("num_requests_running") or counter("num_requests_waiting"):
        assert time.perf_counter() - began < 2
        await asyncio.sleep(0.02)
    assert (await small.complete(asking("Hello?", params={"max_tokens": 2}))).choices[0].text
    assert counter("num_requests_running") == counter("num_requests_waiting") == 0


@needs_vllm
async def test_a_reply_that_takes_too_long_is_given_up(small: Vllm) -> None:
    with pytest.raises(BackendTimeoutError, match=r"^small: no whole reply within 0\.5 s$"):
        await small.complete(asking("Count.", params=LONG, timeout=0.5))
    async with asyncio.timeout(2):
        while await unfinished(small):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@needs_vllm
async def test_a_prompt_that_is_too_long_names_the_window(small: Vllm) -> None:
    with pytest.raises(
        ContextOverflowError, match=rf"^small: the prompt does not fit .* \({WINDOW} tokens\)$"
    ) as caught:
        await small.complete(asking("word " * (WINDOW + 100)))
    assert caught.value.limit == WINDOW


@needs_vllm
async def test_a_reply_ends_where_the_window_does(small: Vllm) -> None:
    request = asking("word " * (WINDOW - 68), params={"max_tokens": 200, "ignore_eos": True})
    (choice,) = (await small.complete(request)).choices
    assert choice.finish_reason == "length"
    assert choice.usage.input_tokens + choice.usage.output_tokens == WINDOW


@needs_vllm
@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"temprature": 1}, "did you mean `temperature`"),
        ({"top_p": 3}, "vLLM refused the request: top_p"),
        ({"logprobs": True, "top_logprobs": 500}, "vLLM refused the request: "),
        ({"structured_outputs": {"regex": "("}}, "vLLM refused the request: "),
        ({"top_p": 3, "temperature": 0}, "vLLM refused the request: top_p"),
    ],
)
async def test_what_the_engine_refuses_is_said_in_one_line(
    small: Vllm, params: dict[str, Any], said: str
) -> None:
    with pytest.raises(BadRequestError) as caught:
        await small.complete(asking("Hello.", params=params, n=2))
    assert said in str(caught.value) and "\n" not in str(caught.value)


@needs_vllm
async def test_log_probabilities_come_in_the_chat_apis_shape(small: Vllm) -> None:
    params = {"max_tokens": 5, "temperature": 0, "logprobs": True, "top_logprobs": 3, "ignore_eos": True}
    completion = await small.complete(asking("Say hello.", params=params))
    told: Any = completion.choices[0].logprobs
    assert "".join(place["token"] for place in told["content"]) == completion.choices[0].text
    for place, others in zip(told["content"], tops(completion), strict=True):
        assert len(others) == 3 and max(others.values()) == place["logprob"] <= 0
        assert list(others.values()) == sorted(others.values(), reverse=True)


@needs_vllm
async def test_labels_get_their_own_log_probabilities(small: Vllm) -> None:
    params = {"max_tokens": 1, "temperature": 0, "logprobs": True, "top_logprobs": 1}
    request = asking("Which is better, m or M?", params=params | {LABELS: ["m", "M"]})
    (place,) = tops(await small.complete(request))
    assert {"m", "M"} <= place.keys()
    (few,) = tops(await small.complete(asking("Which is better, m or M?", params=params)))
    assert not {"m", "M"} <= few.keys()


@needs_vllm
async def test_a_given_text_is_scored(small: Vllm) -> None:
    async def score(answer: str) -> float:
        messages = (
            {"role": "user", "content": "What is the capital of France?"},
            {"role": "assistant", "content": f"The capital of France is {answer}"},
        )
        params = {"max_tokens": 1, "prompt_logprobs": 0, "continue_final_message": True}
        completion = await small.complete(Request(messages, params))
        told: Any = completion.choices[0].logprobs
        assert len(told["prompt"]) == completion.usage.input_tokens
        assert told["prompt"][0] is None
        assert told["prompt"][-1]["token"].strip() == answer
        return float(told["prompt"][-1]["logprob"])

    assert await score("Paris") > await score("Monday")


@needs_vllm
async def test_replies_keep_to_a_form(small: Vllm) -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 8}, "old": {"type": "boolean"}},
        "required": ["name", "old"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "cat", "schema": schema}}
    request = asking("Describe a cat.", params={"response_format": form, "max_tokens": 60}, seed=1)
    told = json.loads((await small.complete(request)).choices[0].text)
    assert told.keys() == {"name", "old"} and isinstance(told["old"], bool)
    chosen = {"structured_outputs": {"choice": ["aye", "nay"]}, "max_tokens": 9}
    assert (await small.complete(asking("Well?", params=chosen))).choices[0].text in ("aye", "nay")


@needs_vllm
async def test_what_an_earlier_prompt_shares_is_counted(small: Vllm) -> None:
    shared = "Once there was a cat who lived by the sea and had many friends. " * 20
    first = await small.complete(asking(f"{shared} Who?", params={"max_tokens": 1}))
    second = await small.complete(asking(f"{shared} Where?", params={"max_tokens": 1}))
    assert second.usage.cached_tokens > first.usage.input_tokens // 2
    assert second.usage.cached_tokens < second.usage.input_tokens


@needs_vllm
async def test_samples_of_one_request_share_the_whole_blocks_of_its_prompt(small: Vllm) -> None:
    async def size(llm: Any) -> int:
        return int(llm.vllm_config.cache_config.block_size)

    def computed() -> float:
        return counter("prefix_cache_queries") - counter("prefix_cache_hits")

    before = computed()
    text = "Once there was a dog who lived in the hills and had many friends. " * 20
    completion = await small.complete(asking(text, n=4, params={"max_tokens": 2, "ignore_eos": True}))
    prompt, block = completion.usage.input_tokens, await small.engine.run(size)
    alone = prompt - (prompt - 1) // block * block
    assert computed() - before == prompt + 3 * alone < 2 * prompt


@needs_vllm
async def test_those_nearest_to_the_answer_go_first(small: Vllm) -> None:
    params = {"max_tokens": 24, "ignore_eos": True}
    ended: list[str] = []

    async def ask(name: str, priority: int) -> None:
        await small.complete(asking(f"Tell me of {name}.", params=params, priority=priority))
        ended.append(name)

    async with asyncio.TaskGroup() as group:
        for number in range(3 * SLOTS):
            group.create_task(ask(f"cat {number}", 5))
        await until_unfinished(small, 3 * SLOTS)
        group.create_task(ask("the answer", 0))
    assert ended.index("the answer") < 2 * SLOTS


@needs_vllm
async def test_models_with_the_same_options_share_an_engine(small: Vllm) -> None:
    other = model()
    assert other.engine is small.engine
    await other.aclose()
    assert (await small.complete(asking("Still there?", params={"max_tokens": 2}))).choices[0].text
    assert small.engine.starts == 1


@needs_vllm
@pytest.mark.parametrize(
    ("options", "path", "said"),
    [
        ({"gpu_memory_utilisation": 0.5}, None, "did you mean `gpu_memory_utilization`?"),
        ({"dtype": "float31"}, None, "vLLM cannot start: "),
        ({}, "/nowhere/at/all", "vLLM cannot start: "),
        ({"chat_template": "/nowhere.jinja"}, None, "cannot read the chat template /nowhere.jinja"),
    ],
)
async def test_an_engine_that_cannot_start_says_why_in_one_line(
    small: Vllm, options: dict[str, Any], path: str | None, said: str
) -> None:
    spec = ModelSpec(name="small", provider="vllm", model=path or folder(), options=SMALL | options)
    backend = Vllm(spec)
    try:
        for _ in range(2):
            with pytest.raises(UsageError) as caught:
                await backend.complete(asking("Hello."))
            assert said in str(caught.value) and "\n" not in str(caught.value)
    finally:
        await backend.aclose()


@needs_vllm
async def test_a_template_of_ones_own(small: Vllm) -> None:
    own = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    plain = await small.complete(asking("One two three", params={"max_tokens": 1}))
    other = model(chat_template=own)
    bare = await other.complete(asking("One two three", params={"max_tokens": 1}))
    await other.aclose()
    assert bare.usage.input_tokens == 3 < plain.usage.input_tokens


@needs_vllm
def test_notes_to_itself_are_told_from_the_answer() -> None:
    from types import SimpleNamespace

    from transformers import AutoTokenizer

    from moa.backends.vllm.reasoning import Reasoning

    tokenizer = AutoTokenizer.from_pretrained(folder())
    llm = SimpleNamespace(get_tokenizer=lambda: tokenizer, model_config=None)
    reasoning = Reasoning(llm, "granite", {}, [{"role": "user", "content": "Why?"}])
    text = "Here is my thought process: Hmm. Here is my response: Because."
    assert [part.strip() for part in reasoning.split(text)] == ["Hmm.", "Because."]
    assert reasoning.split("Plainly.") == ("", "Plainly.")
    pieces = [reasoning.feed(0, tokenizer.decode([token]), [token]) for token in tokenizer.encode(text)]
    assert "".join(piece.reasoning for piece in pieces).strip() == "Hmm."
    assert "".join(piece.text for piece in pieces).strip() == "Because."
    with pytest.raises(UsageError, match="no reasoning parser 'nonesuch'"):
        Reasoning(llm, "nonesuch", {}, [])
