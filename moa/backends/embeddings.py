"""Vectors of texts, from any server's `/v1/embeddings` or a small model in this process.

An embedder stands behind the same seam as a model that chats: a request's last message is the text, and
the reply's text is the vector. So vectors are limited, retried, paid for and stored like everything else.
"""

from __future__ import annotations

import asyncio
import base64
import sys
from array import array
from binascii import Error as Base64Error
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from moa.backends.base import Backend, Choice, Completion, Emit, Request, Usage
from moa.backends.minilm import NAME, MiniLM
from moa.backends.openai import OpenAICompatible
from moa.backends.resolve import is_http
from moa.errors import InvalidReplyError, UsageError
from moa.spec.model import ModelSpec

PARAMS: Mapping[str, Any] = {"embedding": "float32"}
"""What tells a request for a vector from one for an answer, in the store's key too."""
MOST_TEXTS = 64
MOST_CHARACTERS = 200_000
"""Of one batch; servers bound the tokens of a request."""

Vectors = tuple[list[list[float]], int]


class Embedder(Protocol):
    """Something that makes vectors of texts."""

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """A vector for each text, all of one length, and the tokens that were read in all."""
        ...

    async def aclose(self) -> None:
        """Release connections and memory; the embedder is not used afterwards."""
        ...


class HttpEmbedder:
    """Any server with the OpenAI API's `/v1/embeddings`; one attempt per call."""

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self._api = OpenAICompatible(spec)

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Send all texts in one request."""
        body = {**self.spec.body, "model": await self._api.model_id(), "input": list(texts)}
        payload = await self._api.ask("embeddings", body)
        try:
            rows = sorted(payload["data"], key=lambda row: row["index"])
            vectors = [[float(number) for number in row["embedding"]] for row in rows]
        except (KeyError, TypeError, ValueError):
            vectors = []
        if len(vectors) != len(texts) or len({len(vector) for vector in vectors}) != 1 or not vectors[0]:
            raise InvalidReplyError(
                f"{self._api.name}: the reply holds no vector for each of {len(texts)} texts"
            )
        usage = payload.get("usage") or {}
        return vectors, int(usage.get("prompt_tokens") or usage.get("total_tokens") or 0)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._api.aclose()


def embedder_of(spec: ModelSpec, lent: object = None) -> Embedder:
    """The embedder of a model; `lent` is a backend of the user's own, with a method `embed`."""
    if lent is not None:
        if not callable(getattr(lent, "embed", None)):
            raise UsageError(f"{spec.name} makes no embeddings: its backend has no method `embed`")
        return lent  # type: ignore[return-value]
    if is_http(spec):
        return HttpEmbedder(spec)
    if spec.provider == "local" and spec.model == NAME:
        return MiniLM()
    raise UsageError(
        f"{spec.name} makes no embeddings: take `local:{NAME}` or a server's model, as in "
        "`openai:text-embedding-3-small` or `http://host:port/v1#model`"
    )


class EmbeddingBackend:
    """An embedder behind the seam of `moa.backends.base`.

    Requests of one turn of the event loop travel together, up to 64 texts or 200,000 characters.
    """

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._waiting: list[_Asked] = []
        self._batches: set[asyncio.Task[None]] = set()

    async def complete(self, request: Request, emit: Emit | None = None) -> Completion:
        """The vector of the last message, as the reply's text."""
        loop = asyncio.get_running_loop()
        asked = _Asked(str(request.messages[-1]["content"]), loop.create_future())
        if not self._waiting:
            loop.call_soon(self._send)
        self._waiting.append(asked)
        return await asked.reply

    async def aclose(self) -> None:
        """Close the embedder."""
        await self._embedder.aclose()

    def _send(self) -> None:
        waiting, self._waiting = self._waiting, []
        for batch in _batches([asked for asked in waiting if not asked.reply.done()]):
            task = asyncio.get_running_loop().create_task(self._embed(batch))
            self._batches.add(task)
            task.add_done_callback(partial(self._ended, batch))
            for asked in batch:
                asked.reply.add_done_callback(partial(_give_up, task, batch))

    async def _embed(self, batch: Sequence[_Asked]) -> None:
        vectors, tokens = await self._embedder.embed([asked.text for asked in batch])
        share, rest = divmod(tokens, len(batch))
        for number, (asked, vector) in enumerate(zip(batch, vectors, strict=True)):
            usage = Usage(input_tokens=share + (number < rest))
            asked.land(Completion((Choice(written(vector), "stop", usage=usage),)))

    def _ended(self, batch: Sequence[_Asked], task: asyncio.Task[None]) -> None:
        """Tell everybody who still waits what went wrong."""
        self._batches.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            for asked in batch:
                asked.fail(error)


class _Asked:
    """A text that waits for its vector."""

    __slots__ = ("reply", "text")

    def __init__(self, text: str, reply: asyncio.Future[Completion]) -> None:
        self.text = text
        self.reply = reply

    def land(self, completion: Completion) -> None:
        if not self.reply.done():
            self.reply.set_result(completion)

    def fail(self, error: BaseException) -> None:
        if not self.reply.done():
            self.reply.set_exception(error)


def _batches(waiting: Sequence[_Asked]) -> list[list[_Asked]]:
    batches: list[list[_Asked]] = []
    room = 0
    for asked in waiting:
        room -= len(asked.text)
        if not batches or len(batches[-1]) == MOST_TEXTS or room < 0:
            batches.append([])
            room = MOST_CHARACTERS - len(asked.text)
        batches[-1].append(asked)
    return batches


def _give_up(task: asyncio.Task[None], batch: Sequence[_Asked], _: object) -> None:
    """Stop a batch for which nobody waits any more."""
    if all(asked.reply.cancelled() for asked in batch):
        task.cancel()


def written(vector: Sequence[float]) -> str:
    """A vector as text: 32-bit floats, little-endian, in base64."""
    numbers = array("f", vector)
    if sys.byteorder == "big":
        numbers.byteswap()
    return base64.b64encode(numbers.tobytes()).decode()


def read_vector(text: str) -> array[float]:
    """What `written` wrote; raises `InvalidReplyError` for anything else."""
    numbers = array("f")
    try:
        numbers.frombytes(base64.b64decode(text, validate=True))
    except (ValueError, Base64Error):
        raise InvalidReplyError("a stored embedding is not one") from None
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def connect_embedder(spec: ModelSpec, lent: object = None) -> Backend:
    """The embedder of `spec` as a backend; nothing is sent or loaded from a server before the first request."""
    return EmbeddingBackend(embedder_of(spec, lent))
