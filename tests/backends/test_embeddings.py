"""Vectors of texts: from a server, from the local model, and behind the seam of a backend."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Sequence
from importlib.util import find_spec
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from moa.backends.base import Completion, Request
from moa.backends.embeddings import (
    MOST_TEXTS,
    EmbeddingBackend,
    Vectors,
    connect_embedder,
    embedder_of,
    read_vector,
    written,
)
from moa.backends.minilm import KNOWN, NAME, MiniLM
from moa.backends.resolve import model_spec
from moa.backends.weights import located
from moa.errors import (
    AuthenticationError,
    BackendError,
    InvalidReplyError,
    MissingExtraError,
    ServerFailedError,
    UsageError,
)
from moa.nodes.similarity import cosine_matrix


class Server:
    """A `/v1/embeddings` that counts letters, and fails or answers as it is told."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.failures: list[int] = []
        self.spoilt: Any = None

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.bodies.append(body)
        if self.failures:
            return web.json_response({"error": {"message": "scripted"}}, status=self.failures.pop(0))
        rows = [
            {"index": index, "embedding": [text.count("a"), text.count("b"), 1]}
            for index, text in enumerate(body["input"])
        ]
        whole = {"data": rows[::-1], "usage": {"prompt_tokens": 10, "total_tokens": 10}}
        return web.json_response(whole if self.spoilt is None else self.spoilt)


@pytest.fixture
async def server() -> AsyncIterator[tuple[Server, str]]:
    told = Server()
    app = web.Application()
    app.router.add_post("/v1/embeddings", told.answer)
    async with TestServer(app) as running:
        yield told, str(running.make_url("/v1#letters"))


def asked(text: str) -> Request:
    return Request(({"role": "user", "content": text},))


async def embedded(url: str, *texts: str) -> list[list[float]]:
    embedder = embedder_of(model_spec(url))
    try:
        return (await embedder.embed(texts))[0]
    finally:
        await embedder.aclose()


async def test_vectors_come_in_the_order_of_the_texts(server: tuple[Server, str]) -> None:
    told, url = server
    assert await embedded(url, "aab", "b") == [[2, 1, 1], [0, 1, 1]]
    assert told.bodies == [{"model": "letters", "input": ["aab", "b"]}]


@pytest.mark.parametrize(
    "spoilt", [{"data": []}, {"data": [{"index": 0}]}, {}, [], {"data": [{"index": 0, "embedding": []}]}]
)
async def test_a_reply_without_vectors_is_an_error_not_a_vector(
    server: tuple[Server, str], spoilt: Any
) -> None:
    told, url = server
    told.spoilt = spoilt
    with pytest.raises(InvalidReplyError, match="no vector for each of 1 texts"):
        await embedded(url, "a")


@pytest.mark.parametrize(("status", "error"), [(401, AuthenticationError), (500, ServerFailedError)])
async def test_a_refusal_is_the_same_error_as_for_any_model(
    server: tuple[Server, str], status: int, error: type[BackendError]
) -> None:
    told, url = server
    told.failures = [status]
    with pytest.raises(error):
        await embedded(url, "a")


async def test_what_is_asked_at_once_travels_together_and_shares_the_tokens(
    server: tuple[Server, str],
) -> None:
    told, url = server
    backend = connect_embedder(model_spec(url))
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(backend.complete(asked("a" * n))) for n in range(1, 4)]
    await backend.aclose()
    replies = [task.result() for task in tasks]
    assert [list(read_vector(reply.choices[0].text)) for reply in replies] == [
        [1, 0, 1],
        [2, 0, 1],
        [3, 0, 1],
    ]
    assert [reply.usage.input_tokens for reply in replies] == [4, 3, 3]
    assert [len(body["input"]) for body in told.bodies] == [3]


class Slow:
    """An embedder that waits, or breaks."""

    def __init__(self, error: Exception | None = None) -> None:
        self.batches: list[int] = []
        self.cancelled = 0
        self.error = error

    async def embed(self, texts: Sequence[str]) -> Vectors:
        self.batches.append(len(texts))
        if self.error is not None:
            raise self.error
        try:
            await asyncio.sleep(0.01 if len(texts) > 1 else 60)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return [[1.0]] * len(texts), 0

    async def aclose(self) -> None:
        pass


async def many(backend: EmbeddingBackend, count: int, length: int = 1) -> list[Completion]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(backend.complete(asked(f"{n} " * length))) for n in range(count)]
    return [task.result() for task in tasks]


async def test_batches_are_bounded_in_texts_and_characters() -> None:
    slow = Slow()
    await many(EmbeddingBackend(slow), 2 * MOST_TEXTS)
    await many(EmbeddingBackend(slow), 4, 45_000)
    assert slow.batches == [64, 64, 2, 2]


async def test_a_batch_for_which_nobody_waits_is_stopped() -> None:
    slow = Slow()
    task = asyncio.create_task(EmbeddingBackend(slow).complete(asked("a")))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert slow.cancelled == 1


async def test_an_embedder_that_breaks_leaves_nobody_waiting() -> None:
    backend = EmbeddingBackend(Slow(RuntimeError("a bug")))
    async with asyncio.timeout(5):
        for _ in range(2):
            with pytest.raises(RuntimeError, match="a bug"):
                await backend.complete(asked("a"))


def test_a_vector_is_text_and_back() -> None:
    assert list(read_vector(written([0.5, -2.0, 1e-3]))) == pytest.approx([0.5, -2.0, 1e-3])
    with pytest.raises(InvalidReplyError):
        read_vector("not base64!")


@pytest.mark.parametrize("name", ["sim:", "local:smollm2-135m"])
def test_a_model_that_makes_none_is_refused_with_what_does(name: str) -> None:
    with pytest.raises(
        UsageError, match=f"makes no embeddings: take `local:{NAME}`, `vllm:MODEL`, or a server's model"
    ):
        connect_embedder(model_spec(name))


def test_a_lent_backend_embeds_where_it_can() -> None:
    slow = Slow()
    assert isinstance(connect_embedder(model_spec("sim:"), slow), EmbeddingBackend)
    with pytest.raises(UsageError, match="has no method `embed`"):
        connect_embedder(model_spec("sim:"), object())


async def test_without_its_packages_the_local_model_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(MissingExtraError, match="needs the extra `embed`"):
        await MiniLM().embed(["a"])


def _missing() -> str:
    if find_spec("tokenizers") is None or find_spec("safetensors") is None:
        return "the extra `embed` is not installed"
    try:
        located(NAME, KNOWN)
    except UsageError as error:
        return str(error)
    return ""


MISSING = _missing()
needs_minilm = pytest.mark.skipif(
    bool(MISSING) and not os.environ.get("CI"), reason=MISSING or "runs under CI"
)
HAPPY = [
    "That is a happy person",
    "That is a happy dog",
    "That is a very happy person",
    "Today is a sunny day",
]


@needs_minilm
@pytest.mark.model
async def test_the_local_model_says_what_its_card_says() -> None:
    """The similarities that the model's page shows, to three digits."""
    vectors, tokens = await MiniLM().embed(HAPPY)
    assert [len(vector) for vector in vectors] == [384] * 4
    assert cosine_matrix(vectors)[0] == pytest.approx([1, 0.695, 0.943, 0.257], abs=1e-3)
    assert tokens == 29


@needs_minilm
@pytest.mark.model
async def test_bug_4_padding_beside_a_longer_text_does_not_change_a_vector() -> None:
    """The published pooling averages over padding too, so a text's vector depends on its neighbours."""
    model = MiniLM()
    [alone], _ = await model.embed(["Short."])
    [beside, _], tokens = await model.embed(["Short.", "long " * 400])
    assert beside == alone
    assert tokens == 4 + 256  # [CLS] short . [SEP], and what the model's window takes of the other
