from __future__ import annotations

import asyncio

import pytest

from moa.backends.base import Choice, Completion, Delta, Emit, Request
from moa.errors import BackendError, BackendTimeoutError, RateLimitedError, ServerFailedError
from moa.run.limits import CEILING, RETURNS, START, AdaptiveLimiter, Bucket, Limited
from tests.support.backends import Scripted, in_turn


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


class Streaming(Scripted):
    """Begins to stream at once, and ends when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.end = asyncio.Event()
        self.streams = 0

    async def complete(self, request: Request, emit: Emit | None = None) -> Completion:
        self.streams += 1
        assert emit is not None
        emit(Delta(0, "A "))
        emit(Delta(0, "word."))
        await self.end.wait()
        return Completion((Choice("A word.", "stop"),), "streaming")


async def test_a_streamed_answer_makes_room_for_others_when_it_begins() -> None:
    """Answers of a minute do not have others wait for a minute before the server's room is known."""
    server, limiter = Streaming(), AdaptiveLimiter()
    limited = Limited(server, limiter)
    heard: list[Delta] = []
    async with asyncio.TaskGroup() as group:
        for _ in range(START * 3):
            group.create_task(limited.complete(Request((), {}), heard.append))
        for _ in range(20):
            await asyncio.sleep(0)
        assert server.streams == START * 3
        grown = START * 4 - START // 2  # the first of them were too few to raise it
        assert limiter.in_flight == START * 3 and limiter.limit == grown
        server.end.set()
    assert len(heard) == START * 6
    assert limiter.in_flight == 0 and limiter.limit == grown  # none is counted again when it ends


async def test_the_limit_stays_ahead_of_requests_that_become_more_and_below_twice_as_many() -> None:
    """Nobody waits while each new request begins only once an earlier one has been answered in part."""
    limiter = AdaptiveLimiter()
    for number in range(START * 4):
        assert limiter.acquire_now() is not None
        if number >= START // 4:
            limiter.begun()
        assert limiter.limit <= max(START, 2 * limiter.in_flight)
    assert limiter.in_flight == START * 4


@pytest.mark.parametrize(("start", "first"), [(START * 3, START * 3), (1 << 20, CEILING), (1, 1)])
async def test_it_begins_with_as_many_as_are_expected_and_halves_when_refused(start: int, first: int) -> None:
    limiter = AdaptiveLimiter(start=start)
    assert limiter.limit == first
    places = [await limiter.acquire() for _ in range(first)]
    assert limiter.acquire_now() is None
    for place in places:
        limiter.release(place, RateLimitedError("full"))
    assert limiter.limit == max(1, first / 2)


async def test_what_is_hardly_used_is_not_raised() -> None:
    limiter = AdaptiveLimiter()
    for _ in range(START * 4):
        limiter.release(await limiter.acquire())
    assert limiter.limit == START


async def test_after_a_timeout_the_limit_grows_only_when_it_is_used_again() -> None:
    limiter = AdaptiveLimiter()
    for place in [await limiter.acquire() for _ in range(START)]:
        limiter.release(place)
    assert limiter.limit == START * 2
    places = [await limiter.acquire() for _ in range(START * 2)]
    limiter.release(places.pop(), BackendTimeoutError("no byte"))
    shrunk = limiter.limit
    assert START < shrunk < START * 2
    for place in places[: int(shrunk) - 2]:
        limiter.release(place)
    assert limiter.limit == shrunk
    again = [await limiter.acquire() for _ in range(int(shrunk) - limiter.in_flight)]
    for number, place in enumerate(again, 1):
        limiter.release(place)
        assert limiter.limit <= shrunk + number
    assert limiter.limit > shrunk


async def test_a_fixed_limit_is_reached_again_and_not_passed_after_timeouts() -> None:
    limiter = AdaptiveLimiter(fixed=3)
    for _ in range(4):
        limiter.release(await limiter.acquire(), BackendTimeoutError("no byte"))
    for _ in range(9):
        for place in [await limiter.acquire() for _ in range(max(1, int(limiter.limit)))]:
            limiter.release(place)
        assert limiter.limit <= 3
    assert limiter.limit == 3


async def test_refusals_of_one_round_trip_shrink_the_limit_once() -> None:
    clock = Clock()
    limiter = AdaptiveLimiter(clock=clock)
    places = [await limiter.acquire() for _ in range(START)]
    clock.now += 1
    for place in places:
        limiter.release(place, RateLimitedError("slow down"))
    assert limiter.limit == START / 2


async def test_the_limit_shrinks_by_as_many_as_the_server_refused() -> None:
    clock = Clock()
    limiter = AdaptiveLimiter(clock=clock)
    places = [await limiter.acquire() for _ in range(START)]
    clock.now += 1
    for place in places[:5]:
        limiter.release(place, RateLimitedError("full"))
    assert limiter.limit == START - 5
    for place in places[5:]:
        limiter.release(place)
    clock.now += 1
    before = limiter.limit
    limiter.release(await limiter.acquire(), RateLimitedError("full"))
    assert limiter.limit == before / 2, "refused though nobody else was there: as low as a round trip goes"


async def test_the_limit_settles_on_the_slots_of_a_server_that_refuses_the_rest() -> None:
    """Five hundred requests at once; the server takes 40 at a time, each for a second."""
    clock = Clock()
    limiter = AdaptiveLimiter(clock=clock)
    slots, refused, peaks = 40, 0, []
    turns = [asyncio.ensure_future(limiter.acquire()) for _ in range(500)]
    while turns:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        sent = [turn for turn in turns if turn.done()]
        turns = [turn for turn in turns if not turn.done()]
        for turn in sent[slots:]:
            limiter.release(turn.result(), RateLimitedError("full"))
            turns.append(asyncio.ensure_future(limiter.acquire(again=True)))
            refused += 1
        peaks.append(len(sent))
        clock.now += 1
        for turn in sent[:slots]:
            limiter.release(turn.result())
    assert limiter.in_flight == 0
    assert peaks[0] == START
    assert all(slots - 1 <= peak <= slots + 1 for peak in peaks[1:-1]), peaks
    assert refused <= START - slots + len(peaks), "one probe in each round trip"
    assert len(peaks) <= 500 / slots + 2


def _about(word: str) -> Request:
    return Request(({"role": "user", "content": word},))


async def test_a_request_that_a_full_server_refused_is_sent_again_once_there_is_room() -> None:
    """Two slots and three requests more: no wait by the clock, and nobody sees the refusal."""
    room = 2
    order: list[str] = []

    class Full(Scripted):
        async def complete(self, request: Request, emit: Emit | None = None) -> Completion:
            if self.in_flight >= room:
                self.requests.append(request)
                raise RateLimitedError("full", status=429)
            answer = await super().complete(request, emit)
            order.append(str(request.messages[0]["content"]))
            return answer

    limited = Limited(backend := Full(latency=0.01), AdaptiveLimiter(fixed=3))
    async with asyncio.TaskGroup() as group:
        for word in "abcde":
            group.create_task(limited.complete(_about(word)))
    assert sorted(order) == ["a", "b", "c", "d", "e"]
    assert order.index("c") < order.index("e")
    assert len(backend.requests) > 5, "c was refused"
    assert limited.limiter.in_flight == 0


@pytest.mark.parametrize(
    "error",
    [
        RateLimitedError("later", retry_after=2),
        RateLimitedError("no credit", retryable=False),
        ServerFailedError("broken", status=500),
    ],
)
async def test_other_failures_are_passed_on_at_once(error: BackendError) -> None:
    limiter = AdaptiveLimiter(fixed=2)
    busy = await limiter.acquire()
    backend = Scripted(in_turn([error]))
    with pytest.raises(type(error)):
        await Limited(backend, limiter).complete(_about("x"))
    assert len(backend.requests) == 1
    limiter.release(busy)


async def test_a_refusal_by_a_server_that_answers_nobody_is_passed_on_at_once() -> None:
    backend = Scripted(in_turn([RateLimitedError("full")]))
    with pytest.raises(RateLimitedError):
        await Limited(backend, AdaptiveLimiter()).complete(_about("x"))
    assert len(backend.requests) == 1


async def test_a_refusal_far_below_the_limit_is_passed_on_at_once() -> None:
    limiter = AdaptiveLimiter()
    await limiter.acquire()
    backend = Scripted(in_turn([RateLimitedError("enough for this minute")]))
    with pytest.raises(RateLimitedError):
        await Limited(backend, limiter).complete(_about("x"))
    assert len(backend.requests) == 1


async def test_refused_requests_that_wait_for_each_other_all_end() -> None:
    backend = Scripted(in_turn([RateLimitedError("full")]), latency=0.001)
    limited = Limited(backend, AdaptiveLimiter(fixed=3))
    asked = [asyncio.create_task(limited.complete(_about(word))) for word in "abc"]
    async with asyncio.timeout(1):
        await asyncio.wait(asked)
    assert {type(task.exception()) for task in asked} == {RateLimitedError}
    assert len(backend.requests) == 3
    assert limited.limiter.in_flight == 0


async def test_one_that_is_refused_while_others_are_answered_gives_up_in_the_end() -> None:
    limiter = AdaptiveLimiter(fixed=2)
    backend = Scripted(in_turn([RateLimitedError("not you")]))
    asked = asyncio.create_task(Limited(backend, limiter).complete(_about("x")))
    while not asked.done():  # others come and go
        other = await limiter.acquire()
        for _ in range(5):
            await asyncio.sleep(0)
        limiter.release(other)
    assert isinstance(asked.exception(), RateLimitedError)
    assert len(backend.requests) == 1 + RETURNS


async def test_a_refused_request_does_not_wait_for_ever_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moa.run.limits.RELIEF", 0.01)
    limiter = AdaptiveLimiter(fixed=2)
    await limiter.acquire()
    async with asyncio.timeout(1):
        with pytest.raises(RateLimitedError):
            await Limited(Scripted(in_turn([RateLimitedError("full")])), limiter).complete(_about("x"))


async def test_a_refused_request_that_is_cancelled_loses_no_place() -> None:
    limiter = AdaptiveLimiter(fixed=2)
    other = await limiter.acquire()
    waiting = asyncio.create_task(limiter.relief())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    limiter.release(other)
    assert limiter.in_flight == 0


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
