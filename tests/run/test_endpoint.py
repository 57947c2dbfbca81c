"""A model as the engine asks it."""

from __future__ import annotations

import asyncio

from moa.backends.base import Completion, Emit, Request
from moa.run.endpoint import Endpoints
from moa.spec.model import ModelSpec
from tests.support.backends import Scripted


class Slow(Scripted):
    """Says how long its window is, after a while; counts how often it is asked."""

    probes = 0

    async def context_length(self) -> int:
        self.probes += 1
        await asyncio.sleep(0.01)
        return 4096

    async def complete(self, request: Request, emit: Emit | None = None) -> Completion:
        raise AssertionError("not asked here")


async def test_questions_that_start_together_ask_for_the_window_once() -> None:
    backend = Slow()
    endpoint = Endpoints({"m": ModelSpec(name="m", provider="lent", model="m")}, {"m": backend}).get("m")
    async with asyncio.TaskGroup() as group:
        for _ in range(64):
            group.create_task(endpoint.prepare())
    assert (backend.probes, endpoint.context, endpoint.ready) == (1, 4096, True)


async def test_whoever_waited_asks_when_the_first_was_cancelled() -> None:
    backend = Slow()
    endpoint = Endpoints({"m": ModelSpec(name="m", provider="lent", model="m")}, {"m": backend}).get("m")
    first, second = asyncio.create_task(endpoint.prepare()), asyncio.create_task(endpoint.prepare())
    await asyncio.sleep(0)
    first.cancel()
    await second
    assert (backend.probes, endpoint.ready) == (2, True)
