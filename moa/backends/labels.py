"""Exact log-probabilities of a judge's labels: their token ids, where a server takes them by name."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence

from yarl import URL

from moa.backends.counting import tokenizer_of
from moa.backends.replies import Malformed, parse
from moa.backends.wire import Wire
from moa.errors import BackendError

TOKEN_IDS = "logprob_token_ids"
"""vLLM's field: the tokens whose log-probabilities come back, in the place of the most probable ones."""

Encode = Callable[[str], list[int]]


def spellings(labels: Sequence[str]) -> list[str]:
    """The ways in which a reply may begin with one of these labels: with a space, in the other case.

    Labels that differ in case alone are taken to the letter.
    """
    if len({label.casefold() for label in labels}) < len(labels):
        return list(labels)
    cases = [case for label in labels for case in dict.fromkeys((label, label.upper(), label.lower()))]
    return [spelt for case in cases for spelt in (case, f" {case}")]


async def label_ids(
    labels: Sequence[str], tokens_of: Callable[[str], Awaitable[list[int] | None]]
) -> list[int] | None:
    """The tokens that spell one of the labels whole; None where a label has none, or nobody tells."""
    found: dict[int, None] = {}
    covered = set()
    for spelt in spellings(labels):
        tokens = await tokens_of(spelt)
        if tokens is None:
            return None
        if len(tokens) == 1:
            found[tokens[0]] = None
            covered.add(spelt.strip().casefold())
    return list(found) if {label.casefold() for label in labels} <= covered else None


class LabelTokens:
    """Finds the tokens of labels through vLLM's `/tokenize`, or by a tokenizer of `transformers`.

    Args:
        wire: The way to the server.
        root: The API's root; the tokenizer is beside it, not below.
        model: The model's id.
        tokenizer: Asked instead of the server: a folder, or an id on the hub.
    """

    def __init__(self, wire: Wire, root: URL, model: str, *, tokenizer: str | None = None) -> None:
        self._wire = wire
        self._model = model
        self._url = root.with_path(f"{root.path.rstrip('/').removesuffix('/v1')}/tokenize")
        self._tokenizer = tokenizer
        self._encode: Encode | None = None
        self._known: dict[str, list[int]] = {}
        self._absent = False

    async def ids(self, labels: Sequence[str]) -> list[int] | None:
        """The tokens that spell one of the labels whole; None where a label has none, or nobody tells."""
        return await label_ids(labels, self._tokens)

    async def _tokens(self, text: str) -> list[int] | None:
        if text not in self._known:
            tokens = await (self._local(text) if self._tokenizer else self._ask(text))
            if tokens is None:
                return None
            self._known[text] = tokens
        return self._known[text]

    async def _local(self, text: str) -> list[int]:
        if self._encode is None:
            assert self._tokenizer is not None
            self._encode = await asyncio.to_thread(_load, self._tokenizer)
        return self._encode(text)

    async def _ask(self, text: str) -> list[int] | None:
        """The server's tokens; a server without vLLM's tokenizer is not asked again."""
        if self._absent:
            return None
        body = {"model": self._model, "prompt": text, "add_special_tokens": False}
        try:
            answer = await self._wire.post(self._url, json.dumps(body).encode())
        except BackendError:
            # The same trouble meets the request itself, which reports it.
            return None
        tokens = _read(answer.body or b"") if answer.status == 200 else None
        self._absent = tokens is None and answer.status < 500
        return tokens


def _read(body: bytes) -> list[int] | None:
    """The tokens that vLLM lists, with their count; llama.cpp, which hears nothing here, lists none."""
    try:
        told = parse(body)
    except Malformed:
        return None
    tokens = told.get("tokens") if isinstance(told, dict) and told.get("count") else None
    return tokens if isinstance(tokens, list) and all(isinstance(token, int) for token in tokens) else None


def _load(name: str) -> Encode:
    tokenizer = tokenizer_of(name, "finding the tokens of labels with `tokenizer`")

    def encode(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    return encode
