"""A real model in this process; what it says is not judged, it is too small for that."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from moa.backends.base import Backend, Delta, Request, TokenCounter
from moa.backends.embedded import Embedded
from moa.backends.gguf import read_header
from moa.backends.weights import KNOWN, find
from moa.errors import BackendTimeoutError, ContextOverflowError, MissingExtraError, UsageError
from moa.spec.model import ModelSpec
from tests.support.weights import MISSING, MODEL, needs_weights

LOAD = {"max_tokens": 400, "ignore_eos": True}
"""A reply that takes some seconds unless it is stopped."""


def embedded(**fields: Any) -> Embedded:
    return Embedded(ModelSpec(**{"name": "small", "provider": "local", "model": MODEL} | fields))


def asking(text: str, **fields: Any) -> Request:
    return Request(({"role": "user", "content": text},), **fields)


@pytest.fixture
async def backend() -> AsyncIterator[Embedded]:
    """The embedded model, started at its first request."""
    one = embedded()
    yield one
    await one.aclose()


@pytest.fixture(scope="module", autouse=True)
def _loaded() -> Iterator[None]:
    """Keep the weights loaded from test to test: each test has an event loop of its own."""
    keeper = embedded()
    if not MISSING:
        asyncio.run(keeper.count_tokens(asking("hello").messages))
    yield
    asyncio.run(keeper.aclose())


async def busy_slots(backend: Embedded) -> int:
    link = await backend._connect()
    answer = await link.client.wire.get(link.tokenize.with_path("/slots"))
    return sum(slot["is_processing"] for slot in json.loads(answer.body or b""))


async def until_busy(backend: Embedded, count: int) -> None:
    async with asyncio.timeout(20):
        while await busy_slots(backend) != count:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@needs_weights
async def test_answers_and_counts(backend: Embedded) -> None:
    assert isinstance(backend, Backend)
    request = asking("Say hello.", seed=1, params={"max_tokens": 12})
    completion = await backend.complete(request)
    (choice,) = completion.choices
    assert choice.text.strip()
    assert choice.finish_reason in ("stop", "length")
    assert 1 <= choice.usage.output_tokens <= 12
    assert choice.usage.input_tokens == await backend.count_tokens(request.messages)
    assert not choice.usage.estimated
    assert completion.model == MODEL


@needs_weights
async def test_counts_the_template_too(backend: Embedded) -> None:
    counter: TokenCounter = backend
    bare = await counter.count_tokens(({"role": "user", "content": ""},))
    assert bare > 5
    assert await counter.count_tokens(({"role": "user", "content": "word word word"},)) == bare + 3
    assert await backend.context_length() == 8192


@needs_weights
async def test_several_samples_are_counted_one_by_one(backend: Embedded) -> None:
    request = asking("Tell a story.", n=3, seed=5, params={"max_tokens": 9, "ignore_eos": True})
    completion = await backend.complete(request)
    assert len(completion.choices) == 3
    assert [choice.usage.output_tokens for choice in completion.choices] == [9, 9, 9]
    assert [choice.finish_reason for choice in completion.choices] == ["length"] * 3
    assert completion.choices[0].usage.input_tokens == await backend.count_tokens(request.messages)
    assert completion.usage.input_tokens == completion.choices[0].usage.input_tokens
    assert len({choice.text for choice in completion.choices}) > 1


@needs_weights
async def test_samples_that_end_by_themselves_are_counted_with_their_end(backend: Embedded) -> None:
    """The engine's own count for one sample is the measure."""
    request = asking("Say hi.", n=2, seed=3, params={"max_tokens": 60, "temperature": 0})
    together = await backend.complete(request)
    ended = [choice for choice in together.choices if choice.finish_reason == "stop"]
    assert ended, "the model should end its greeting within 60 tokens"
    for choice in ended:
        counted = await backend.count_tokens(({"role": "user", "content": choice.text},))
        empty = await backend.count_tokens(({"role": "user", "content": ""},))
        assert choice.usage.output_tokens == counted - empty + 1


@needs_weights
@needs_weights
async def test_repeatable_replies_do_not_depend_on_the_company() -> None:
    params = {"temperature": 0.9, "max_tokens": 24}
    questions = [asking(f"Name {number} rivers.", params=params, seed=7) for number in (2, 3, 4)]
    told: list[list[str]] = []
    for asked in (questions, questions[::-1]):
        backend = embedded(options={"repeatable": True})
        async with asyncio.TaskGroup() as group:
            tasks = {id(one): group.create_task(backend.complete(one)) for one in asked}
        told.append([tasks[id(one)].result().choices[0].text for one in questions])
        await backend.aclose()
    assert told[0] == told[1]


def test_repeatable_is_one_slot() -> None:
    assert embedded(options={"repeatable": True}).concurrency == 1
    with pytest.raises(UsageError, match="`repeatable` means one slot"):
        embedded(options={"repeatable": True, "slots": 4})


async def test_more_samples_than_slots() -> None:
    backend, heard = embedded(options={"slots": 2, "cells": 2048}), list[Delta]()
    request = asking("Tell a story.", n=5, seed=5, params={"max_tokens": 4})
    completion = await backend.complete(request, heard.append)
    assert len(completion.choices) == 5
    for index, choice in enumerate(completion.choices):
        assert "".join(delta.text for delta in heard if delta.index == index) == choice.text
    await backend.aclose()


@needs_weights
@pytest.mark.parametrize("n", [1, 4])
async def test_a_small_cache_serves_many(n: int) -> None:
    """Unguarded, llama.cpp fails all requests under way when the shared cache is full."""
    backend = embedded(options={"cells": 256})
    request = asking("word " * 40, n=n, params={"max_tokens": 30, "ignore_eos": True})
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(backend.complete(request)) for _ in range(4 // n)]
    choices = [choice for task in tasks for choice in task.result().choices]
    assert [choice.usage.output_tokens for choice in choices] == [30] * 4
    assert await backend.context_length() == 256
    await backend.aclose()


@needs_weights
@pytest.mark.parametrize("n", [1, 3])
async def test_cancelling_frees_the_slot(backend: Embedded, n: int) -> None:
    task = asyncio.create_task(backend.complete(asking("Tell a very long story.", n=n, params=LOAD)))
    await until_busy(backend, n)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until_busy(backend, 0)


@needs_weights
async def test_a_reply_that_takes_too_long_is_stopped(backend: Embedded) -> None:
    with pytest.raises(BackendTimeoutError, match=r"small: no whole reply within 0\.5 s"):
        await backend.complete(asking("Tell a very long story.", params=LOAD, timeout=0.5))
    await until_busy(backend, 0)


@needs_weights
async def test_a_prompt_beyond_the_window_is_refused(backend: Embedded) -> None:
    with pytest.raises(ContextOverflowError, match="8192 tokens") as caught:
        await backend.complete(asking("word " * 9000))
    assert caught.value.limit == 8192


@needs_weights
async def test_the_reply_is_bounded() -> None:
    assert embedded().max_output == 256
    backend = embedded(max_output=5)
    completion = await backend.complete(asking("Count.", params={"max_tokens": 50, "ignore_eos": True}))
    assert completion.usage.output_tokens == 5
    await backend.aclose()


@needs_weights
async def test_log_probabilities_and_json_pass_through(backend: Embedded) -> None:
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    params = {"max_tokens": 30, "logprobs": True, "top_logprobs": 2, "response_format": form}
    (choice,) = (await backend.complete(asking("Are you well?", params=params))).choices
    assert set(json.loads(choice.text)) == {"ok"}
    logprobs: Any = choice.logprobs
    assert len(logprobs["content"][0]["top_logprobs"]) == 2


@needs_weights
async def test_two_share_one_server_until_the_last_has_gone() -> None:
    one, other = embedded(name="one"), embedded(name="other")
    async with asyncio.TaskGroup() as group:
        for backend in (one, other):
            group.create_task(backend.complete(asking("Hi", params={"max_tokens": 2})))
    assert one._engine is other._engine
    await one.aclose()
    assert (await other.complete(asking("Hi", params={"max_tokens": 2}))).choices
    await other.aclose()


@needs_weights
def test_one_backend_serves_one_event_loop_after_the_other() -> None:
    backend, request = embedded(), asking("Hi", params={"max_tokens": 2})
    for _ in range(3):
        assert asyncio.run(backend.complete(request)).choices
    asyncio.run(backend.aclose())


@needs_weights
async def test_only_the_key_opens_the_server(backend: Embedded) -> None:
    link = await backend._connect()
    async with link.session.post(link.tokenize, json={"content": "x"}) as reply:
        assert reply.status == 401
    assert link.tokenize.host == "127.0.0.1"


LIVELY = """
import asyncio, os
from moa.backends.base import Request
from moa.backends.embedded import Embedded
from moa.spec.model import ModelSpec

async def main():
    backend = Embedded(ModelSpec(provider="local", model="smollm2-135m"))
    params = {"max_tokens": 400, "ignore_eos": True}
    request = Request(({"role": "user", "content": "Tell a very long story."},), params)
    task = asyncio.create_task(backend.complete(request, lambda delta: heard.set()))
    heard = asyncio.Event()
    await heard.wait()
    print("leaving", os.environ["OMP_WAIT_POLICY"])

asyncio.run(main())
"""


@needs_weights
def test_a_process_can_leave_in_the_middle_and_the_engine_is_silent_and_does_not_spin() -> None:
    environ = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    left = subprocess.run(
        [sys.executable, "-c", LIVELY], capture_output=True, text=True, timeout=60, check=False, env=environ
    )
    assert left.returncode == 0, left.stderr
    assert left.stdout == "leaving passive\n"
    assert "llama" not in left.stderr and "ggml" not in left.stderr


@needs_weights
@pytest.mark.parametrize(
    "content", [b"", b"not a model", b"GGUF\x03\x00\x00\x00" + b"\xff" * 64], ids=["empty", "text", "garbage"]
)
async def test_a_file_that_is_no_gguf_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(content)
    backend = embedded(model="", file=str(path))
    with pytest.raises(UsageError, match=r"small: .*bad\.gguf is not a GGUF file"):
        await backend.complete(asking("hi"))
    await backend.aclose()


@needs_weights
async def test_a_gguf_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cut.gguf"
    with find(MODEL).path.open("rb") as whole:
        path.write_bytes(whole.read(4_000_000))
    backend = embedded(model="cut", file=str(path))
    with pytest.raises(UsageError, match=r"cannot load .*cut\.gguf"):
        await backend.complete(asking("hi"))
    await backend.aclose()


async def test_a_missing_extra_is_said_before_anything_is_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moa.backends.embedded.find_spec", lambda name: None)
    monkeypatch.setattr("moa.backends.embedded.find", None)
    backend = embedded()
    assert await backend.context_length() == 8192
    with pytest.raises(MissingExtraError, match=r"pip install '\.\[local\]'"):
        await backend.complete(asking("hi"))


@needs_weights
async def test_the_known_window_is_the_one_in_the_file() -> None:
    header = read_header(find(MODEL).path)
    assert header.context == KNOWN[MODEL].context


@pytest.mark.parametrize("options", [{"slot": 1}, {"slots": 0}, {"cells": 1}, {"threads": "all"}])
def test_a_wrong_option_is_refused_by_name(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=rf"small: options: .*{next(iter(options))}"):
        embedded(options=options)
