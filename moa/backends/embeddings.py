"""Vectors of texts, from any server's `/v1/embeddings`, from vLLM or from a small model in this process.

An embedder stands behind the same seam as a model that chats: a request's last message is the text, and
the reply's text is the vector. So vectors are limited, retried, paid for and stored like everything else.
"""

from __future__ import annotations

import base64
import sys
from array import array
from binascii import Error as Base64Error
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from moa.backends.base import Backend, Request
from moa.backends.minilm import NAME, MiniLM
from moa.backends.pooling import PoolingApi, pooling_api
from moa.backends.together import Answers, Together
from moa.errors import InvalidReplyError, UsageError
from moa.spec.model import ModelSpec

PARAMS: Mapping[str, Any] = {"embedding": "float32"}
"""What tells a request for a vector from one for an answer, in the store's key too."""
MOST_TEXTS = 64
"""Of one batch."""

Vectors = tuple[list[list[float]], int]


class Embedder(Protocol):
    """Something that makes vectors of texts."""

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """A vector for each text, all of one length, and the tokens that were read in all."""
        ...

    async def aclose(self) -> None:
        """Release connections and memory; the embedder is not used afterwards."""
        ...


class ApiEmbedder:
    """Any server with the OpenAI API's `/v1/embeddings`, or vLLM in this process; one attempt per call."""

    def __init__(self, spec: ModelSpec, api: PoolingApi) -> None:
        self.spec = spec
        self._api = api

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
    if (api := pooling_api(spec)) is not None:
        return ApiEmbedder(spec, api)
    if spec.provider == "local" and spec.model == NAME:
        return MiniLM()
    raise UsageError(
        f"{spec.name} makes no embeddings: take `local:{NAME}`, `vllm:MODEL`, or a server's model, as in "
        "`openai:text-embedding-3-small` or `http://host:port/v1#model`"
    )


class EmbeddingBackend(Together):
    """An embedder behind the seam of `moa.backends.base`; up to 64 texts travel together."""

    def __init__(self, embedder: Embedder) -> None:
        super().__init__(MOST_TEXTS)
        self._embedder = embedder

    async def answer(self, requests: Sequence[Request]) -> Answers:
        """The vector of each request's last message, as text."""
        texts = [str(request.messages[-1]["content"]) for request in requests]
        vectors, tokens = await self._embedder.embed(texts)
        return Answers([written(vector) for vector in vectors], tokens)

    async def aclose(self) -> None:
        """Close the embedder."""
        await self._embedder.aclose()


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
