"""A model inside this process: any GGUF file, run by llama.cpp through xllamacpp (extra `local`)."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import Field
from yarl import URL

from moa.backends.base import Choice, Completion, Emit, Message, Request
from moa.backends.openai import OpenAICompatible
from moa.backends.weights import find
from moa.errors import MissingExtraError, UsageError
from moa.spec.agent import Spec
from moa.spec.build import spec_from
from moa.spec.model import ModelSpec

CONTEXT = 8192
"""Tokens that all slots share, unless the model file says otherwise."""
MAX_OUTPUT = 512
"""The longest reply by default: on a laptop's cores a longer one is seldom worth the wait."""
KEY = "MOA_EMBEDDED_KEY"


class EmbeddedOptions(Spec):
    """`options` of a `local` model."""

    slots: int = Field(8, ge=1)
    """Replies that are written at once."""
    threads: int | None = Field(None, ge=1)
    """Threads of computation; by default one for each core that this process may use."""


@dataclass(slots=True)
class _Engine:
    """One llama.cpp server in this process and the number of backends that use it."""

    server: Any
    url: str
    key: str
    users: int = 0


@dataclass(slots=True)
class _Engines:
    """The engines of this process by their settings, started once and stopped with their last user."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    running: dict[tuple[Any, ...], _Engine] = field(default_factory=dict)

    def acquire(self, path: Path, context: int, options: EmbeddedOptions) -> tuple[tuple[Any, ...], _Engine]:
        """The engine for these weights, started if need be; takes about a second, so call it in a thread."""
        key = (str(path.resolve()), context, options.slots, options.threads)
        with self.lock:
            engine = self.running.get(key) or _start(path, context, options)
            self.running[key] = engine
            engine.users += 1
        return key, engine

    def release(self, key: tuple[Any, ...]) -> None:
        """Give an engine back."""
        with self.lock:
            engine = self.running[key]
            engine.users -= 1
            if engine.users == 0:
                del self.running[key]
                engine.server = None


_ENGINES = _Engines()


class Embedded:
    """A `local:` model: llama.cpp in this process, asked over loopback like any other server.

    It starts with the first request. `concurrency` is the number of its slots.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        options = dict(spec.options)
        if spec.limits.concurrency:
            options.setdefault("slots", spec.limits.concurrency)
        self.options = spec_from(EmbeddedOptions, options)
        self.concurrency = self.options.slots
        self.max_output = spec.max_output or MAX_OUTPUT
        self._context = spec.context or CONTEXT
        self._client: OpenAICompatible | None = None
        self._engine: tuple[Any, ...] | None = None
        self._tokenize: URL | None = None
        self._starting = asyncio.Lock()

    async def complete(self, request: Request, emit: Emit | None = None) -> Completion:
        """Ask for `request.n` samples; raises a `BackendError`, or `UsageError` where it cannot start."""
        client = await self._started()
        completion = await client.complete(request, emit)
        return await self._recounted(client, completion) if request.n > 1 else completion

    async def context_length(self) -> int | None:
        """Tokens of the context window."""
        return self._context

    async def count_tokens(self, messages: tuple[Message, ...]) -> int:
        """Tokens of the prompt, by the model's own template and tokenizer."""
        return await (await self._started()).count_tokens(messages)

    async def aclose(self) -> None:
        """Close the connections; the engine stops with its last user."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None
        if self._engine is not None:
            key, self._engine = self._engine, None
            await asyncio.to_thread(_ENGINES.release, key)

    async def _started(self) -> OpenAICompatible:
        if self._client is not None:
            return self._client
        async with self._starting:
            if self._client is None:
                self._client = await self._connect()
        return self._client

    async def _connect(self) -> OpenAICompatible:
        weights = await asyncio.to_thread(find, self.spec.model, self.spec.file)
        self._engine, engine = await asyncio.to_thread(
            _ENGINES.acquire, weights.path, self._context, self.options
        )
        self._tokenize = URL(engine.url) / "tokenize"
        spec = ModelSpec(
            name=self.spec.name or self.spec.model,
            base_url=f"{engine.url}/v1",
            model=self.spec.model or "local",
            key_env=KEY,
            context=self._context,
            body=self.spec.body,
        )
        return OpenAICompatible(spec, environ={KEY: engine.key})

    async def _recounted(self, client: OpenAICompatible, completion: Completion) -> Completion:
        """Token counts per choice: for n > 1 the engine counts the tokens of one choice only."""
        choices = [
            replace(choice, usage=replace(choice.usage, output_tokens=await self._tokens(client, choice)))
            for choice in completion.choices
        ]
        return replace(completion, choices=tuple(choices))

    async def _tokens(self, client: OpenAICompatible, choice: Choice) -> int:
        """Tokens of a reply: of its text, and the one that ended it."""
        assert self._tokenize is not None
        body = json.dumps({"content": choice.text, "parse_special": False}).encode()
        answer = await client.wire.post(self._tokenize, body)
        tokens = json.loads(answer.body or b"{}").get("tokens", [])
        return len(tokens) + (choice.finish_reason == "stop")


def _start(path: Path, context: int, options: EmbeddedOptions) -> _Engine:
    # With OpenMP's default, idle threads spin, and one other busy process slows every token 30-fold.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        import xllamacpp
    except ImportError:
        raise MissingExtraError("the embedded model", "local") from None
    threads = (
        options.threads or len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count()
    )
    key = secrets.token_hex(16)
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_parallel = options.slots
    params.n_ctx = context
    params.kv_unified = True
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [key]
    params.model_alias = {path.stem}
    params.verbosity = -1
    try:
        server = xllamacpp.Server(params)
    except (RuntimeError, ValueError) as error:
        raise UsageError(f"llama.cpp cannot load {path}: {error}") from None
    return _Engine(server, server.listening_address, key)
