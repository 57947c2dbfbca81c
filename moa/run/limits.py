"""How fast an endpoint is asked: adaptive concurrency, and the rates that the user configured."""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Callable
from typing import NamedTuple, TypeGuard

from moa.backends.base import Backend, Completion, Delta, Emit, Request, WrapperBackend
from moa.errors import BackendError, BackendTimeoutError, RateLimitedError
from moa.run.tokens import estimate_tokens

START = 64
"""Requests in flight at first: what one vLLM server or one paid account takes without complaint."""
CEILING = 512
PAUSE_AFTER = 3
"""Refusals in a row, with no success between them, after which the whole endpoint waits."""
RETURNS = 3
"""How often a request that a full server refused goes back to the queue before its refusal is a failure."""
RELIEF = 5.0
"""Seconds that a refused request waits for the server to answer another one."""

Clock = Callable[[], float]


class _Waiter(NamedTuple):
    priority: int
    order: int
    turn: asyncio.Future[None]


def is_refusal(error: BaseException) -> TypeGuard[BackendError]:
    """Whether a server has sent a request away because it has enough to do."""
    return isinstance(error, RateLimitedError) or (isinstance(error, BackendError) and error.status == 503)


def _is_full(error: BaseException) -> bool:
    """Whether a server refused a request that it will take as soon as it has answered another."""
    return is_refusal(error) and error.retryable and not error.retry_after


class AdaptiveLimiter:
    """Requests in flight at one endpoint: additive increase, multiplicative decrease (AIMD).

    Until the first refusal the limit grows by one with every success, to twice as many as were in flight
    (slow start, RFC 5681, and its bound by what is used, RFC 7661); a streamed answer is a success from its
    first word, which says that the server bears it. After a refusal it grows by one for every `limit`
    successes while it is really used. When the server refuses, it shrinks by as many as were refused in a
    round trip, by half at most. Waiting requests go in order of priority, then of arrival. It begins with
    `start`; with `fixed` it begins there and never grows past it.
    """

    def __init__(
        self, fixed: int | None = None, *, start: int = START, clock: Clock = time.monotonic
    ) -> None:
        self.limit: float = fixed or min(start, CEILING)
        self.ceiling = fixed or CEILING
        self.in_flight = 0
        self._clock = clock
        self._waiting: list[_Waiter] = []
        self._refused: list[asyncio.Future[bool]] = []
        self._order = 0
        self._successes = 0
        self._full = False
        self._refused_in_row = 0
        self._refused_ever = False
        self._most = 0
        """Requests that were in flight at once since the limit last shrank."""
        self._shrunk_at = float("-inf")
        self._floor = 1.0
        self._resume_at = 0.0
        self._wake: asyncio.TimerHandle | None = None

    def acquire_now(self) -> float | None:
        """A place where there is one without waiting, as `acquire` gives it."""
        if self._waiting or self.in_flight >= self.limit or self._paused():
            return None
        self._enter()
        return self._clock()

    async def acquire(self, priority: int = 0, *, again: bool = False) -> float:
        """Wait for a place, `again` before others of the same priority; returns when it was given, for `release`."""
        if (since := self.acquire_now()) is not None:
            return since
        await self._wait(priority, again)
        return self._clock()

    async def relief(self) -> bool:
        """After a refusal: wait until the server answers another request.

        False where there is nothing to wait for: a server that refuses below the limit is not full.
        """
        if not self.in_flight or self.in_flight + 1 < self.limit:
            return False
        answered: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._refused.append(answered)
        try:
            async with asyncio.timeout(RELIEF):
                return await answered
        except TimeoutError:
            return False

    @property
    def exploring(self) -> bool:
        """Whether nobody knows yet how much the server bears."""
        return not self._refused_ever and self.limit < self.ceiling

    def begun(self) -> None:
        """A streamed answer has begun."""
        self._succeeded()
        self._admit()

    def release(self, since: float, error: BaseException | None = None, *, counted: bool = False) -> None:
        """Give the place back and learn from how the request ended, unless its success was `counted` when it began."""
        self.in_flight -= 1
        if error is None:
            if not counted:
                self._succeeded()
        elif is_refusal(error):
            self._slow_down(since, error.retry_after)
        elif isinstance(error, BackendTimeoutError):
            self._shrink(since)
        self._admit()
        if error is None or not self.in_flight:
            self._relieve(error is None)

    def _enter(self) -> None:
        self.in_flight += 1
        if self.in_flight > self._most:
            self._most = self.in_flight
        self._full = self._full or self.in_flight >= int(self.limit)

    def _paused(self) -> bool:
        return self._resume_at > 0 and self._clock() < self._resume_at

    async def _wait(self, priority: int, again: bool) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._order += 1
        order = -self._order if again else self._order
        heapq.heappush(self._waiting, _Waiter(priority, order, turn))
        self._schedule_wake()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.in_flight -= 1
                self._admit()
            raise

    def _admit(self) -> None:
        if self._paused():
            self._schedule_wake()
            return
        while self._waiting and self.in_flight < self.limit:
            waiter = heapq.heappop(self._waiting)
            if not waiter.turn.done():
                self._enter()
                waiter.turn.set_result(None)

    def _schedule_wake(self) -> None:
        if self._wake is None and self._paused():
            loop = asyncio.get_running_loop()
            self._wake = loop.call_later(max(0.0, self._resume_at - self._clock()), self._awake)

    def _awake(self) -> None:
        self._wake = None
        self._admit()

    def _succeeded(self) -> None:
        self._refused_in_row = 0
        if not self._refused_ever:
            if self.limit < (bound := min(self.ceiling, self._most * 2)):
                self.limit = min(float(bound), self.limit + 1)
            return
        self._successes += 1
        if self._full and self._successes >= self.limit and self.limit < self.ceiling:
            self._successes = 0
            self._full = False
            self.limit = min(float(self.ceiling), self.limit + 1)

    def _relieve(self, answered: bool) -> None:
        for waiting in self._refused:
            if not waiting.done():
                waiting.set_result(answered)
        self._refused.clear()

    def _slow_down(self, since: float, retry_after: float | None) -> None:
        self._refused_ever = True
        self._refused_in_row += 1
        self._shrink(since)
        if retry_after and self._refused_in_row >= PAUSE_AFTER:
            self._resume_at = max(self._resume_at, self._clock() + retry_after)

    def _shrink(self, since: float) -> None:
        """Down to what the server took: those in flight without the refused, but not below half in a round trip.

        Requests that were sent before the last decrease belong to its round trip.
        """
        if since >= self._shrunk_at:
            self._shrunk_at = self._clock()
            self._floor = max(1.0, self.limit / 2)
            self.limit = min(self.limit, self.in_flight + 1.0)
            self._successes = 0
            self._most = 0
        self.limit = max(self._floor, self.limit - 1)


class Bucket:
    """A rate per minute, paid in advance and settled afterwards.

    One second's worth may be spent at once, so no minute sees more than the rate and a sixtieth. An
    amount larger than that goes through alone and leaves a debt.
    """

    def __init__(self, per_minute: float, *, clock: Clock = time.monotonic) -> None:
        self.rate = per_minute / 60
        self.capacity = max(1.0, self.rate)
        self.level = self.capacity
        self._clock = clock
        self._filled_at = clock()
        self._turn = asyncio.Lock()

    async def take(self, amount: float) -> None:
        """Wait until `amount` may be spent, and spend it."""
        async with self._turn:
            missing = min(amount, self.capacity) - self._fill()
            if missing > 0:
                await asyncio.sleep(missing / self.rate)
                self._fill()
            self.level -= amount

    def settle(self, amount: float) -> None:
        """Spend `amount` more (or, if negative, give it back) now that the true cost is known."""
        self.level = min(self.capacity, self.level - amount)

    def _fill(self) -> float:
        now = self._clock()
        self.level = min(self.capacity, self.level + (now - self._filled_at) * self.rate)
        self._filled_at = now
        return self.level


class _First:
    """Passes pieces of text on, and tells the limiter of the first."""

    __slots__ = ("_emit", "_limiter", "heard")

    def __init__(self, emit: Emit, limiter: AdaptiveLimiter) -> None:
        self._emit = emit
        self._limiter = limiter
        self.heard = False

    def __call__(self, delta: Delta) -> None:
        if not self.heard:
            self.heard = True
            self._limiter.begun()
        self._emit(delta)


class Limited(WrapperBackend):
    """A backend behind a limiter and, where configured, requests and tokens per minute."""

    def __init__(
        self,
        inner: Backend,
        limiter: AdaptiveLimiter,
        *,
        requests: Bucket | None = None,
        tokens: Bucket | None = None,
    ) -> None:
        super().__init__(inner)
        self.limiter = limiter
        self.requests = requests
        self.tokens = tokens

    async def complete(self, request: Request, emit: Emit | None = None) -> Completion:
        """Wait for rate and place, then ask.

        A server that refuses one request while it answers others is full: the request goes back to the queue,
        whose limit has just shrunk to what the server takes, and not into a wait by the clock.
        """
        returns = 0
        while True:
            reserved, since = 0, None if self.requests or self.tokens else self.limiter.acquire_now()
            if since is None:
                reserved, since = await self._queue(request, again=returns > 0)
            first = _First(emit, self.limiter) if emit is not None and self.limiter.exploring else None
            try:
                completion = await self.inner.complete(request, first or emit)
            except BaseException as error:
                self.limiter.release(since, error)
                if returns == RETURNS or not _is_full(error) or not await self.limiter.relief():
                    raise
            else:
                self.limiter.release(since, counted=first is not None and first.heard)
                break
            returns += 1
        if self.tokens:
            self.tokens.settle(completion.usage.total_tokens - reserved)
        return completion

    async def _queue(self, request: Request, *, again: bool) -> tuple[int, float]:
        """Wait for rate and place; the tokens that were paid for, and what `acquire` says."""
        began = time.perf_counter()
        reserved = await self._pay(request)
        since = await self.limiter.acquire(request.priority, again=again)
        if request.trip is not None:
            request.trip.queued += time.perf_counter() - began
        return reserved, since

    async def _pay(self, request: Request) -> int:
        if self.requests:
            await self.requests.take(1)
        if self.tokens is None:
            return 0
        reserved = estimate_tokens(request.messages)
        await self.tokens.take(reserved)
        return reserved
