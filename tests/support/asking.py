"""Short forms for tests that ask a model over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from moa.backends.base import Completion, Delta, Request
from moa.backends.openai import OpenAICompatible
from moa.errors import BackendError
from moa.spec.model import ModelSpec
from tests.support.faults import FaultServer, Step

QUESTION = ({"role": "user", "content": "Why is the sky blue?"},)


def ask(n: int = 1, seed: int | None = 7, timeout: float | None = None, **params: Any) -> Request:
    """The question, with some sampling."""
    return Request(QUESTION, params, n, seed, timeout=timeout)


@asynccontextmanager
async def asking(
    server: FaultServer, environ: Mapping[str, str] | None = None, **fields: Any
) -> AsyncIterator[OpenAICompatible]:
    """A backend that asks `server`, closed afterwards; `fields` are those of its `ModelSpec`."""
    spec = ModelSpec.model_validate({"name": "mine", "base_url": server.url, "model": "m"} | fields)
    backend = OpenAICompatible(spec, environ=environ or {})
    try:
        yield backend
    finally:
        await backend.aclose()


BOTH = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])


class Listener:
    """Remembers what was emitted, by sample."""

    def __init__(self) -> None:
        self.deltas: list[Delta] = []

    def __call__(self, delta: Delta) -> None:
        self.deltas.append(delta)

    def text(self, index: int = 0) -> str:
        return "".join(delta.text for delta in self.deltas if delta.index == index)


async def answer(step: Step, request: Request, *, streamed: bool = False, **fields: Any) -> Completion:
    async with FaultServer(step) as server, asking(server, **fields) as backend:
        return await backend.complete(request, Listener() if streamed else None)


async def failure(
    step: Step, request: Request | None = None, *, streamed: bool = False, **fields: Any
) -> BackendError:
    with pytest.raises(BackendError) as caught:
        await answer(step, request or ask(), streamed=streamed, **fields)
    message = str(caught.value)
    assert message.startswith("mine") and "\n" not in message
    return caught.value
