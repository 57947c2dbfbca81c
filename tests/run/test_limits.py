from __future__ import annotations

import asyncio

import pytest

from moa.backends.base import Request
from moa.errors import BackendTimeoutError, RateLimitedError, ServerFailedError
from moa.run.limits import CEILING, START, AdaptiveLimiter, Bucket, Limited
from tests.support.backends import Scripted


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_places_go_to_the_most_urgent_first_then_in_order() -> None:
    limiter = AdaptiveLimiter(fixed=1)
    order: list[str] = []

    async def work(name: str, priority: int) -> None:
        since = await limiter.acquire(priority)
        order.append(name)
        await asyncio.sleep(0)
        limiter.release(since)

    async with asyncio.TaskGroup() as group:
        for name, priority in [("first", 5), ("late", 2), ("later", 2), ("sink", 0)]:
            group.create_task(work(name, priority))
    assert order == ["first", "sink", "late", "later"]
    assert limiter.in_flight == 0


async def test_the_limit_doubles_until_a_refusal_and_then_grows_by_one() -> None:
    clock = Clock()
    limiter = AdaptiveLimiter(clock=clock)

    async def round_trip(error: BaseException | None = None) -> None:
        size = int(limiter.limit)
        places = [await limiter.acquire() for _ in range(size)]
        clock.now += 1
        for place in places:
            limiter.release(place, error)

    await round_trip()
    assert limiter.limit == START * 2
    limiter.release(await limiter.acquire(), RateLimitedError("slow down"))
    shrunk = limiter.limit
    assert shrunk < START * 2
    clock.now += 1
    await round_trip()
    await round_trip()
    assert shrunk < limiter.limit <= shrunk + 2


async def test_refusals_of_one_round_trip_shrink_the_limit_once() -> None:
    clock = Clock()
    limiter = AdaptiveLimiter(clock=clock)
    places = [await limiter.acquire() for _ in range(START)]
    clock.now += 1
    for place in places:
        limiter.release(place, RateLimitedError("slow down"))
    assert limiter.limit == START / 2


async def test_a_configured_concurrency_is_never_exceeded_and_comes_back_after_trouble() -> None:
    backend = Scripted(latency=0.001)
    limiter = AdaptiveLimiter(fixed=4)
    limited = Limited(backend, limiter)
    limiter.release(await limiter.acquire(), BackendTimeoutError("slow"))
    assert limiter.limit == 2
    async with asyncio.TaskGroup() as group:
        for _ in range(60):
            group.create_task(limited.complete(Request(({"role": "user", "content": "x"},))))
    assert backend.peak <= 4
    assert limiter.limit == 4
    assert CEILING > 4


async def test_an_error_that_is_not_overload_leaves_the_limit_alone() -> None:
    limiter = AdaptiveLimiter()
    limiter.release(await limiter.acquire(), ServerFailedError("broken", status=500))
    assert limiter.limit == START


async def test_refusals_in_a_row_pause_the_endpoint_for_as_long_as_the_server_wishes() -> None:
    limiter = AdaptiveLimiter()
    for _ in range(3):
        limiter.release(await limiter.acquire(), RateLimitedError("no", retry_after=0.05))
    loop = asyncio.get_running_loop()
    began = loop.time()
    limiter.release(await limiter.acquire())
    assert loop.time() - began >= 0.045


async def test_a_cancelled_wait_loses_no_place() -> None:
    limiter = AdaptiveLimiter(fixed=1)
    held = await limiter.acquire()
    waiting = asyncio.create_task(limiter.acquire())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    limiter.release(held)
    assert limiter.in_flight == 0
    async with asyncio.timeout(1):
        limiter.release(await limiter.acquire())


async def test_a_wait_cancelled_just_after_its_turn_came_passes_the_place_on() -> None:
    limiter = AdaptiveLimiter(fixed=1)
    held = await limiter.acquire()
    first = asyncio.create_task(limiter.acquire())
    second = asyncio.create_task(limiter.acquire())
    await asyncio.sleep(0)
    limiter.release(held)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    async with asyncio.timeout(1):
        await second
    assert limiter.in_flight == 1


async def test_requests_per_minute_are_spread_out() -> None:
    bucket = Bucket(600)
    loop = asyncio.get_running_loop()
    began = loop.time()
    for _ in range(13):
        await bucket.take(1)
    # Ten a second: the first ten are the burst of one second, three more take a tenth each.
    assert 0.25 <= loop.time() - began < 1


async def test_more_tokens_than_a_burst_go_through_alone_and_leave_a_debt() -> None:
    clock = Clock()
    bucket = Bucket(6000, clock=clock)
    async with asyncio.timeout(1):
        await bucket.take(250)
    assert bucket.level == pytest.approx(-150)
    bucket.settle(-50)
    assert bucket.level == pytest.approx(-100)
    clock.now += 1
    async with asyncio.timeout(1):
        await bucket.take(0)
    assert bucket.level == pytest.approx(0)


async def test_tokens_are_settled_with_what_the_server_counted() -> None:
    clock = Clock()
    bucket = Bucket(60_000, clock=clock)
    limited = Limited(Scripted(), AdaptiveLimiter(), tokens=bucket)
    await limited.complete(Request(({"role": "user", "content": "x" * 400},)))
    assert bucket.level == pytest.approx(1000 - 15)
