"""Tokens of a prompt as the model counts them: by its server, by its tokenizer, or estimated."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from math import ceil
from typing import Any

from yarl import URL

from moa.backends.base import Message
from moa.backends.replies import Malformed, parse, text_of
from moa.backends.wire import Wire
from moa.errors import BackendError, MissingExtraError, UsageError

CHARACTERS_PER_TOKEN = 3.5
"""Rather too few than too many: an estimate guards against prompts that do not fit."""
TEMPLATE_TOKENS = 6
"""Tokens that a chat template spends on one message."""
ESTIMATE = "estimate"
IMPORTING = threading.Lock()
"""Held while transformers is imported, by it or by vLLM: two threads that begin at once see half of it."""

_WINDOW_FIELDS = (
    "max_model_len",
    "context_length",
    "context_window",
    "max_context_length",
    "n_ctx",
    "n_ctx_train",
)


def estimate(messages: Sequence[Message]) -> int:
    """About how many tokens the prompt has, rounded up."""
    characters = sum(len(text_of(message.get("content"))) for message in messages)
    return ceil(characters / CHARACTERS_PER_TOKEN) + TEMPLATE_TOKENS * len(messages)


def listed_window(models: Sequence[Mapping[str, Any]], model: str) -> int | None:
    """The context window that GET /models gives for `model` (or for the only one), where it does."""
    entries = [entry for entry in models if entry.get("id") == model] or (models if len(models) == 1 else [])
    for entry in entries:
        meta = entry.get("meta")
        fields = {**(meta if isinstance(meta, dict) else {}), **entry}
        for name in _WINDOW_FIELDS:
            if isinstance(fields.get(name), int) and fields[name] > 0:
                return int(fields[name])
    return None


class Counter:
    """Counts prompts of one model; how is found out at the first one.

    Args:
        wire: The way to the server.
        root: The API's root; the tokenizer is beside it, not below.
        model: The model's id.
        tokenizer: A tokenizer for `transformers`, which is asked instead of the server.
        ask_server: Whether the server may have a tokenizer; hosted providers have none.
    """

    def __init__(
        self, wire: Wire, root: URL, model: str, *, tokenizer: str | None = None, ask_server: bool = True
    ) -> None:
        self._wire = wire
        self._model = model
        base = root.path.rstrip("/").removesuffix("/v1")
        self._tokenize = root.with_path(f"{base}/tokenize")
        self._template = root.with_path(f"{base}/apply-template")
        self._tokenizer = tokenizer
        self._local: Callable[[Sequence[Message]], int] | None = None
        self._way: str | None = None if ask_server else ESTIMATE
        """`vllm`, `llama.cpp` or `estimate`, once it is known."""

    async def count(self, messages: Sequence[Message]) -> int:
        """Tokens of the prompt that `messages` make, the template's own included."""
        if self._tokenizer is not None:
            if self._local is None:
                self._local = LocalCounter(self._tokenizer)
            return await asyncio.to_thread(self._local, messages)
        try:
            count = None if self._way == ESTIMATE else await self._ask(messages)
        except BackendError:
            # The same trouble meets the request itself, which reports it; next time may be better.
            return estimate(messages)
        return estimate(messages) if count is None else count

    async def _ask(self, messages: Sequence[Message]) -> int | None:
        for way, ask in (("vllm", self._vllm), ("llama.cpp", self._llama)):
            if self._way in (None, way) and (count := await ask(messages)) is not None:
                self._way = way
                return count
        self._way = self._way or ESTIMATE
        return None

    async def _vllm(self, messages: Sequence[Message]) -> int | None:
        told = await self._post(self._tokenize, {"model": self._model, "messages": messages})
        count = told.get("count")
        return count if isinstance(count, int) else None

    async def _llama(self, messages: Sequence[Message]) -> int | None:
        templated = await self._post(self._template, {"messages": messages})
        prompt = templated.get("prompt")
        if not isinstance(prompt, str):
            return None
        told = await self._post(
            self._tokenize, {"content": prompt, "add_special": True, "parse_special": True}
        )
        tokens = told.get("tokens")
        return len(tokens) if isinstance(tokens, list) else None

    async def _post(self, url: URL, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """The server's answer; empty where it has none to this question."""
        answer = await self._wire.post(url, json.dumps(body).encode())
        try:
            told = parse(answer.body or b"") if answer.status == 200 else {}
        except Malformed:
            return {}
        return told if isinstance(told, dict) else {}


def tokenizer_of(name: str, purpose: str) -> Any:
    """The tokenizer `name` of `transformers`; raises as `load_tokenizer` does, and says what it is for."""
    try:
        with IMPORTING:
            from transformers import AutoTokenizer
    except ImportError:
        raise MissingExtraError(purpose, "tokenizers") from None
    try:
        return AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"cannot load the tokenizer {name!r}: {' '.join(str(error).split())[:200]}"
        ) from None


def load_tokenizer(name: str) -> Callable[[Sequence[Message]], int]:
    """A counter over a tokenizer of `transformers`: a folder, or an id on the hub.

    Raises:
        MissingExtraError: when transformers is not installed.
        UsageError: when there is no such tokenizer.
    """
    tokenizer = tokenizer_of(name, "counting tokens with `tokenizer`")

    def count(messages: Sequence[Message]) -> int:
        text = tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
        return len(tokenizer(text, add_special_tokens=False)["input_ids"])

    return count


class LocalCounter:
    """Counts prompts by a tokenizer of `transformers`, loaded at the first; usable from several threads."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._loading = threading.Lock()
        self._count: Callable[[Sequence[Message]], int] | None = None

    def __call__(self, messages: Sequence[Message]) -> int:
        """Tokens of the prompt; raises as `load_tokenizer` does."""
        with self._loading:
            if self._count is None:
                self._count = load_tokenizer(self._name)
        return self._count(messages)
