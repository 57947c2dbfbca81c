"""A model in this process: any GGUF file, run by llama.cpp through `xllamacpp`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import Any, NamedTuple

from aiohttp import ClientSession, TCPConnector
from pydantic import Field
from yarl import URL

from moa.backends.base import Choice, Completion, Delta, Emit, Message, Request
from moa.backends.counting import Counter
from moa.backends.engine import Engine, Room, Settings, cells_for, cores
from moa.backends.gguf import Header, NotGguf, read_header
from moa.backends.openai import OpenAICompatible
from moa.backends.options import read_options
from moa.backends.weights import KNOWN, Weights, find
from moa.errors import BackendTimeoutError, MissingExtraError, UsageError
from moa.spec.agent import Spec
from moa.spec.model import ModelSpec

SLOTS = 8
LONGEST_REPLY = 2048
"""Tokens of a reply where nobody says; llama.cpp itself knows no bound."""
TEMPLATE_TOKENS = 256
"""More than a chat template adds to a prompt, a default system message included."""
_KEY = "key"
_PATIENCE = 86_400.0
"""Seconds without a byte: a busy processor is slow, and a process cannot lose itself."""
_HEARTBEAT = {"return_progress": True}
"""Lets llama.cpp notice between two batches of a prompt, too, that the request was given up."""
_ALONE = {"cache_prompt": False}
"""What an earlier prompt left behind is rounded as that prompt was read."""
_RENAMED = {"repetition_penalty": "repeat_penalty"}


class EmbeddedOptions(Spec):
    """`options` of an embedded model."""

    slots: int | None = Field(None, ge=1, le=256)
    """Replies that are written at once; `limits.concurrency` by default, else 8."""
    repeatable: bool = False
    """Write one reply at a time, each prompt read anew: the same request and seed always give the same reply.

    Otherwise the rounding depends on what else is under way, and a reply now and then with it. `moa eval` asks
    for this, so that what was interrupted ends as it would have without.
    """
    threads: int | None = Field(None, ge=1)
    """Processor cores to use; all that this process may use by default."""
    cells: int | None = Field(None, ge=256)
    """Tokens that the KV cache holds for all requests together; half a gigabyte's worth by default."""


class _Loaded(NamedTuple):
    weights: Weights
    header: Header


class _Link(NamedTuple):
    """The way to the server from one event loop."""

    loop: asyncio.AbstractEventLoop
    session: ClientSession
    client: OpenAICompatible
    counter: Counter
    tokenize: URL


class Embedded:
    """A GGUF file in this process, started at the first request and shared by all who ask it.

    `spec.model` is a known name (`smollm2-135m`) or a path, `spec.file` a path;
    `spec.limits.concurrency` is the number of replies that are written at once.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self.name = spec.name or f"local:{spec.model or spec.file}"
        self._options = read_options(EmbeddedOptions, spec)
        self.concurrency = self._concurrency(spec)
        self._known = KNOWN.get(spec.model)
        self.max_output = spec.max_output or (self._known.longest if self._known else LONGEST_REPLY)
        self._loaded: _Loaded | None = None
        self._engine: Engine | None = None
        self._link: _Link | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    async def complete(self, request: Request, emit: Emit | None = None) -> Completion:
        """Ask for `request.n` samples; with `emit`, as streams.

        Raises:
            UsageError: when the weights or the extra `local` are missing; says what to do.
            ContextOverflowError: for a prompt that is longer than the window.
            BackendTimeoutError: after `request.timeout` seconds, the wait for a free slot included.
        """
        try:
            async with asyncio.timeout(request.timeout) as limit:
                return await self._complete(replace(request, timeout=None), emit)
        except TimeoutError:
            if not limit.expired():
                raise
        raise BackendTimeoutError(f"{self.name}: no whole reply within {request.timeout:g} s")

    async def context_length(self) -> int | None:
        """The longest prompt and reply together, in tokens; a known model need not be there to tell."""
        if self.spec.context is not None:
            return self.spec.context
        if self._known is not None:
            return min(self._known.context, self._options.cells or self._known.context)
        header = (await self._load()).header
        return min(header.context or self._cells(header), self._cells(header))

    async def count_tokens(self, messages: Sequence[Message]) -> int:
        """Tokens of the prompt, exactly: by the model's own template and tokenizer."""
        link = await self._connect()
        return await link.counter.count(messages)

    async def aclose(self) -> None:
        """Close the connections; the last user of a file of weights also unloads it."""
        link, self._link = self._link, None
        engine, self._engine = self._engine, None
        if link is not None:
            await _close(link)
        if engine is not None:
            await engine.release()

    async def _complete(self, request: Request, emit: Emit | None) -> Completion:
        link = await self._connect()
        params = self._params(request)
        prompt = await self._prompt_cells(request.messages)
        most = max(1, min(self.concurrency, (self._room.total - prompt) // params["max_tokens"]))
        parts: list[Completion] = []
        for start in range(0, request.n, most):
            part = replace(
                request,
                params=params,
                n=min(most, request.n - start),
                seed=None if request.seed is None else request.seed + start,
            )
            parts.append(await self._ask(link, part, prompt, _shifted(emit, start)))
        return replace(parts[0], choices=tuple(choice for part in parts for choice in part.choices))

    async def _ask(self, link: _Link, request: Request, prompt: int, emit: Emit | None) -> Completion:
        taken = await self._room.take(prompt + request.n * request.params["max_tokens"])
        try:
            # Only while it streams does llama.cpp notice that nobody listens any more, and stop.
            completion = await link.client.complete(request, emit or _unheard)
        finally:
            self._room.give(taken)
        if request.n == 1:
            return completion
        return replace(completion, choices=await self._counted(link, request, completion))

    async def _prompt_cells(self, messages: Sequence[Message]) -> int:
        """Cells that a prompt takes at most, once for all samples; counted only where that matters."""
        bound = _most_tokens(messages)
        return bound if bound <= self._room.total // SLOTS else await self.count_tokens(messages)

    async def _counted(self, link: _Link, request: Request, completion: Completion) -> tuple[Choice, ...]:
        """Choices with their own output tokens: for several, llama.cpp reports those of one only."""
        choices = []
        for choice in completion.choices:
            if choice.finish_reason == "length":
                tokens = request.params["max_tokens"]
            else:
                tokens = await self._tokens(link, f"{choice.reasoning or ''}{choice.text}") + 1
            choices.append(replace(choice, usage=replace(choice.usage, output_tokens=tokens)))
        return tuple(choices)

    async def _tokens(self, link: _Link, text: str) -> int:
        answer = await link.client.wire.post(link.tokenize, json.dumps({"content": text}).encode())
        return len(json.loads(answer.body or b"")["tokens"])

    def _params(self, request: Request) -> dict[str, Any]:
        """Body fields by llama.cpp's names, with a bound on the reply, which it would not set itself."""
        params = {_RENAMED.get(name, name): value for name, value in request.params.items()}
        asked = params.pop("max_completion_tokens", None) or params.get("max_tokens") or self.max_output
        alone = _ALONE if self._options.repeatable else {}
        return params | _HEARTBEAT | alone | {"max_tokens": min(asked, self.max_output)}

    def _concurrency(self, spec: ModelSpec) -> int:
        if not self._options.repeatable:
            return self._options.slots or spec.limits.concurrency or SLOTS
        if self._options.slots not in (None, 1):
            raise UsageError(f"{self.name}: `repeatable` means one slot: remove `slots`, or `repeatable`")
        return 1

    async def _load(self) -> _Loaded:
        if self._loaded is None:
            weights = await asyncio.to_thread(find, self.spec.model, self.spec.file)
            try:
                header = read_header(weights.path)
            except (NotGguf, OSError) as error:
                raise UsageError(f"{self.name}: {weights.path} is not a GGUF file: {error}") from None
            self._loaded = _Loaded(weights, header)
        return self._loaded

    async def _connect(self) -> _Link:
        if find_spec("xllamacpp") is None:
            # Said before anything is downloaded.
            raise MissingExtraError("the embedded model", "local")
        loaded = await self._load()
        if self._engine is None:
            self._engine = Engine.share(self._settings(loaded))
        address = await self._engine.start()
        loop = asyncio.get_running_loop()
        if self._link is not None and self._link.loop is not loop:
            # Its loop is gone, and no connection is kept between requests: nothing is left to close.
            self._link.session.detach()
            self._link = None
        if self._link is None:
            self._link = self._open(loop, address)
        return self._link

    def _open(self, loop: asyncio.AbstractEventLoop, address: str) -> _Link:
        session = ClientSession(connector=TCPConnector(limit=0, force_close=True))
        client = self._client(address, session)
        counter = Counter(client.wire, URL(address), self._server.settings.alias)
        return _Link(loop, session, client, counter, URL(address) / "tokenize")

    def _client(self, address: str, session: ClientSession) -> OpenAICompatible:
        spec = ModelSpec(
            name=self.name,
            base_url=f"{address}/v1",
            model=self._server.settings.alias,
            key_env=_KEY,
            body=self.spec.body,
            options={"stall": _PATIENCE},
        )
        return OpenAICompatible(spec, session=session, environ={_KEY: self._server.key})

    def _settings(self, loaded: _Loaded) -> Settings:
        return Settings(
            path=loaded.weights.path.resolve(),
            alias=self.spec.model or loaded.weights.path.stem,
            slots=self.concurrency,
            cells=self._cells(loaded.header),
            threads=self._options.threads or cores(),
        )

    def _cells(self, header: Header) -> int:
        return self._options.cells or cells_for(header, self.concurrency)

    @property
    def _server(self) -> Engine:
        assert self._engine is not None
        return self._engine

    @property
    def _room(self) -> Room:
        return self._server.room


def _most_tokens(messages: Sequence[Message]) -> int:
    """More tokens than the prompt has: a byte-level vocabulary takes at most one for a byte."""
    return TEMPLATE_TOKENS + sum(len(str(message).encode()) for message in messages)


def _unheard(delta: Delta) -> None:
    pass


def _shifted(emit: Emit | None, start: int) -> Emit | None:
    if emit is None or start == 0:
        return emit

    def shifted(delta: Delta) -> None:
        emit(replace(delta, index=delta.index + start))

    return shifted


async def _close(link: _Link) -> None:
    await link.client.aclose()
    if link.loop is asyncio.get_running_loop():
        await link.session.close()
    else:
        link.session.detach()
