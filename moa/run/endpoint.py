"""A model as the engine asks it: its backend behind retries and limits, and what is known about it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from moa.backends.base import Backend, Message, ScoredBy
from moa.backends.resolve import connect, identity, model_spec, settle
from moa.run.limits import START, AdaptiveLimiter, Bucket, Limited
from moa.run.retry import Retrying, RetryPolicy
from moa.run.tokens import estimate_tokens
from moa.run.turns import InTurn, Turns
from moa.spec.agent import Sampling
from moa.spec.model import ModelSpec, Price


@dataclass(slots=True)
class Endpoint:
    """One bound model of a runner; `prepare` it before the first request."""

    name: str
    spec: ModelSpec
    backend: Backend
    origin: Backend
    """The backend itself, inside its wrappers."""
    identity: str = ""
    """What the store knows the model by."""
    context: int | None = None
    """The context window in tokens; None where nobody knows it."""
    ready: bool = False
    price: Price | None = None
    """What the model costs; None where nobody said."""
    _preparing: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False, compare=False)

    async def prepare(self) -> None:
        """Learn what only the server knows: which model it has, and how long its window is; asked once."""
        async with self._preparing:
            if not self.ready:
                await self._prepare()

    async def _prepare(self) -> None:
        if not self.identity:
            self.spec = await settle(self.spec)
            self.identity = identity(self.spec)
            self.price = self.spec.known_price
        self.context = self.spec.context
        probe = getattr(self.origin, "context_length", None)
        if self.context is None and probe is not None:
            self.context = await probe()
        self.ready = True

    async def count_tokens(self, messages: tuple[Message, ...]) -> int:
        """Tokens of the prompt by the model's own tokenizer where there is one, else estimated."""
        count = getattr(self.origin, "count_tokens", None)
        return int(await count(messages)) if count is not None else estimate_tokens(messages)

    def params(self, sampling: Sampling) -> dict[str, Any]:
        """Request-body fields for a node's sampling on this model."""
        params = sampling.over(self.spec.sampling).params()
        longest = self.spec.max_output or getattr(self.origin, "max_output", None)
        if longest is not None:
            params["max_tokens"] = min(longest, params.get("max_tokens", longest))
        return params


Connect = Callable[[ModelSpec, Backend | None], Backend]
"""Makes a backend for a model, or for one that the user lent."""


def connect_chat(spec: ModelSpec, lent: Backend | None) -> Backend:
    """The backend that answers chat requests."""
    return lent or connect(spec)


class Endpoints:
    """The endpoints of a runner, connected when first used and closed together.

    Models on one server share its limiter, unless a model has a `concurrency` of its own. With `by_model`
    those of one device take turns on it; those whose engines sleep always do.
    """

    def __init__(
        self,
        models: Mapping[str, ModelSpec],
        backends: Mapping[str, Backend],
        *,
        retry: RetryPolicy | None = None,
        seed: int = 0,
        by_model: bool = False,
    ) -> None:
        self._models = models
        self._backends = backends
        self._retry = retry
        self._seed = seed
        self._endpoints: dict[str, Endpoint] = {}
        self._embedders: dict[str, Endpoint] = {}
        self._scorers: dict[tuple[str, ScoredBy], Endpoint] = {}
        self.start = START
        """Requests in flight at first at a server that is not asked yet."""
        self._limiters: dict[str, AdaptiveLimiter] = {}
        self._by_model = by_model
        self._turns: dict[str, Turns] = {}

    @property
    def swaps(self) -> int:
        """How often a model has come onto a device, where models take turns."""
        return sum(turns.swaps for turns in self._turns.values())

    def get(self, name: str) -> Endpoint:
        """The endpoint of a bound model name."""
        if name not in self._endpoints:
            self._endpoints[name] = self._connect(name)
        return self._endpoints[name]

    def embedder(self, name: str) -> Endpoint:
        """The endpoint of an embedding model, whose replies are vectors; it waits for no turn on a device."""
        from moa.backends.embeddings import connect_embedder

        if name not in self._embedders:
            self._embedders[name] = self._connect(name, connect_embedder)
        return self._embedders[name]

    def scorer(self, name: str, how: ScoredBy) -> Endpoint:
        """The endpoint of a model whose replies are scores; it waits for no turn on a device."""
        from moa.backends.scoring import connector

        if (name, how) not in self._scorers:
            self._scorers[name, how] = self._connect(name, connector(how))
        return self._scorers[name, how]

    def __iter__(self) -> Any:
        return iter(self._endpoints.values())

    async def aclose(self) -> None:
        """Close every backend that this runner connected; those lent to it stay open."""
        for turns in self._turns.values():
            await turns.aclose()
        for endpoint in (*self._endpoints.values(), *self._embedders.values(), *self._scorers.values()):
            if endpoint.name not in self._backends:
                await endpoint.backend.aclose()
        self._endpoints.clear()
        self._embedders.clear()
        self._scorers.clear()

    def _connect(self, name: str, connected: Connect = connect_chat) -> Endpoint:
        lent = self._backends.get(name)
        if lent is None:
            spec, known_as = model_spec(name, self._models), ""
        else:
            spec = self._models[name]
            known_as = f"lent {name}"
        origin = connected(spec, lent)
        limits = spec.limits
        limited = Limited(
            origin,
            self._limiter(spec, origin),
            requests=Bucket(limits.rpm) if limits.rpm else None,
            tokens=Bucket(limits.tpm) if limits.tpm else None,
        )
        backend: Backend = Retrying(limited, self._retry, seed=self._seed)
        if connected is connect_chat and (self._by_model or getattr(origin, "sleeps", False)):
            backend = InTurn(backend, name, self._device(spec))
        return Endpoint(name, spec, backend, origin, known_as, price=spec.known_price)

    def _device(self, spec: ModelSpec) -> Turns:
        device = spec.device or ""
        if device not in self._turns:
            self._turns[device] = Turns(self._swap)
        return self._turns[device]

    async def _swap(self, leaving: str | None, coming: str) -> None:
        """Let one model's engine rest, so that another has the device's memory."""
        if leaving is None:
            await self._rest_others(self._endpoints[coming].spec)
        elif _one_engine(self._endpoints[leaving].spec, self._endpoints[coming].spec):
            return
        elif rest := getattr(self._endpoints[leaving].origin, "rest", None):
            await rest()
        if wake := getattr(self._endpoints[coming].origin, "wake", None):
            await wake()

    async def _rest_others(self, coming: ModelSpec) -> None:
        """Lay down the engines of a device that an earlier run may have left awake."""
        for name, spec in self._models.items():
            sleeps = spec.base_url is not None and spec.options.get("sleep") is not None
            if sleeps and spec.device == coming.device and not _one_engine(spec, coming):
                backend = connect(model_spec(name, self._models))
                try:
                    await backend.rest()  # type: ignore[attr-defined]
                finally:
                    await backend.aclose()

    def _limiter(self, spec: ModelSpec, origin: Backend) -> AdaptiveLimiter:
        fixed = spec.limits.concurrency or getattr(origin, "concurrency", None)
        shared = spec.base_url or spec.provider or ""
        key = f"model {spec.name}" if fixed else f"server {shared}"
        if key not in self._limiters:
            self._limiters[key] = AdaptiveLimiter(fixed, start=self.start)
        return self._limiters[key]


def _one_engine(one: ModelSpec, other: ModelSpec) -> bool:
    """Whether two models are one server's, such as a model and its adapter."""
    return one.base_url is not None and one.base_url == other.base_url
