"""When an engine that dies is started again; the engine is a stand-in, since vLLM takes half a minute to start."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from moa.backends.vllm.engine import RESTART_SECONDS, Engine
from moa.backends.vllm.options import Settings
from moa.errors import EngineDeadError, UsageError


class Dead(Exception):
    """What vLLM raises for a request to an engine that is gone."""


class StandIn:
    """As much of `AsyncLLM` as the policy sees; it dies at its first `deaths` requests."""

    def __init__(self, engine: Mortal) -> None:
        self.engine = engine
        self.errored = False

    async def ask(self) -> str:
        if self.errored or self.engine.dies > 0:
            self.engine.dies -= not self.errored
            self.errored = True
            raise Dead
        return "answered"

    def shutdown(self, timeout: float | None = None) -> None:
        pass


class Mortal(Engine):
    """An engine whose deaths, failures to start and clock a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0
        super().__init__(Settings("m", "{}"), clock=lambda: self.now)
        self.dies = 0
        self.unable = False

    def _start(self) -> Any:
        if self.unable:
            raise UsageError("vllm:m: vLLM cannot start: no memory")
        self.starts += 1
        return StandIn(self)

    async def ask(self) -> str:
        async def job(llm: StandIn) -> str:
            return await llm.ask()

        return await self.run(job)


@pytest.fixture
async def engine() -> AsyncIterator[Mortal]:
    made = Mortal()
    yield made
    await asyncio.to_thread(made.stop)


async def test_one_death_is_mended_and_the_request_asked_again(engine: Mortal) -> None:
    engine.dies = 1
    assert await engine.ask() == "answered"
    assert (engine.starts, engine.deaths) == (2, 1)


async def test_all_requests_of_a_dead_engine_share_its_one_restart(engine: Mortal) -> None:
    await engine.ask()
    engine.dies = 1
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(engine.ask()) for _ in range(8)]
    assert {task.result() for task in asked} == {"answered"}
    assert (engine.starts, engine.deaths) == (2, 1)


async def test_a_second_death_soon_is_named_until_the_time_is_over_and_then_mended(engine: Mortal) -> None:
    engine.dies = 2
    with pytest.raises(EngineDeadError, match=r"died, and again after a restart.* ask again in 10 min"):
        await engine.ask()
    engine.now += RESTART_SECONDS - 30
    with pytest.raises(EngineDeadError, match="ask again in 1 min"):
        await engine.ask()
    assert engine.starts == 2, "nothing starts before its time"
    engine.now += 30
    assert await engine.ask() == "answered"
    assert (engine.starts, engine.deaths) == (3, 2)


async def test_deaths_that_are_far_apart_are_each_mended(engine: Mortal) -> None:
    for _ in range(4):
        engine.dies = 1
        assert await engine.ask() == "answered"
        engine.now += RESTART_SECONDS
    assert (engine.starts, engine.deaths) == (5, 4)


async def test_a_restart_that_fails_is_named_and_tried_again_later(engine: Mortal) -> None:
    await engine.ask()
    engine.dies, engine.unable = 1, True
    with pytest.raises(UsageError, match="no memory"):
        await engine.ask()
    with pytest.raises(EngineDeadError, match=r"could not be started again \(.*no memory\); set"):
        await engine.ask()
    engine.unable = False
    engine.now += RESTART_SECONDS
    assert await engine.ask() == "answered"


async def test_an_engine_that_never_started_says_why_and_is_not_tried_again(engine: Mortal) -> None:
    engine.unable = True
    for _ in range(2):
        with pytest.raises(UsageError, match="no memory"):
            await engine.ask()
        engine.unable = False
        engine.now += RESTART_SECONDS
    assert engine.starts == 0


async def test_an_engine_that_rested_is_started_without_counting(engine: Mortal) -> None:
    for _ in range(3):
        await engine.ask()
        await engine.rest(None)
    engine.dies = 1
    assert await engine.ask() == "answered"
    assert (engine.starts, engine.deaths) == (5, 1)
