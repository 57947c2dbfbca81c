"""Who may run now, who waits, and who is sent away: bounded, first come first served."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from moa.serve.keys import Tenant
from moa.serve.refusal import Refusal

_WEIGHT = 0.2
"""Of the latest answer in the mean of how long one takes."""
_LONGEST_WAIT = 60.0


class Admission:
    """Places for questions under way, and a queue before them.

    Args:
        max_running: questions under way at once.
        max_queued: questions that may wait for a place; one more is refused with 503.
        max_per_tenant: questions of one key under way or waiting; one more is refused with 429.
        clock: seconds, for the wait that a refusal names.
    """

    def __init__(
        self,
        max_running: int,
        max_queued: int,
        max_per_tenant: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.max_running = max_running
        self.max_queued = max_queued
        self.max_per_tenant = max_per_tenant
        self.running = 0
        self.closing = False
        self._clock = clock
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._limits: set[asyncio.Timeout] = set()
        self._mean = 1.0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def queued(self) -> int:
        """Questions that wait for a place."""
        return sum(not place.done() for place in self._waiting)

    @asynccontextmanager
    async def place(self, tenant: Tenant) -> AsyncIterator[None]:
        """Hold a place for as long as the block runs; raises `Refusal` where there is none."""
        self._check(tenant)
        tenant.running += 1
        try:
            await self._enter()
            began = self._clock()
            try:
                async with self._stoppable():
                    yield
            finally:
                self._mean += _WEIGHT * (self._clock() - began - self._mean)
                self._leave()
        finally:
            tenant.running -= 1

    async def close(self, grace: float) -> bool:
        """Let nobody in any more, wait `grace` seconds for those inside, then stop them; whether all had ended."""
        self.closing = True
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_exception(_closing())
        try:
            async with asyncio.timeout(grace):
                await self._idle.wait()
        except TimeoutError:
            for limit in self._limits:
                limit.reschedule(asyncio.get_running_loop().time())
            return False
        return True

    def _check(self, tenant: Tenant) -> None:
        if self.closing:
            raise _closing()
        if self.max_per_tenant is not None and tenant.running >= self.max_per_tenant:
            message = f"this key has {tenant.running} requests under way, as many as it may"
            raise Refusal(429, message, code="rate_limit_exceeded", retry_after=self._wait(0))
        if self.running >= self.max_running and self.queued >= self.max_queued:
            message = f"the server is busy: {self.running} requests under way and {self.queued} waiting"
            raise Refusal(503, message, code="overloaded", retry_after=self._wait(self.queued))

    async def _enter(self) -> None:
        if self.running < self.max_running and not self._waiting:
            self._take()
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled() and place.exception() is None:
                self._leave()  # It was given to us just as we left.
            raise
        finally:
            if place in self._waiting:
                self._waiting.remove(place)

    def _take(self) -> None:
        self.running += 1
        self._idle.clear()

    def _leave(self) -> None:
        self.running -= 1
        while self._waiting and self.running < self.max_running:
            place = self._waiting.popleft()
            if not place.done():
                self._take()
                place.set_result(None)
        if self.running == 0:
            self._idle.set()

    @asynccontextmanager
    async def _stoppable(self) -> AsyncIterator[None]:
        """A block that `close` can end."""
        limit = asyncio.timeout(None)
        self._limits.add(limit)
        try:
            async with limit:
                yield
        except TimeoutError:
            if not limit.expired():
                raise
            raise _closing() from None
        finally:
            self._limits.discard(limit)

    def _wait(self, ahead: int) -> float:
        return min(_LONGEST_WAIT, max(1.0, self._mean * (ahead + 1) / self.max_running))


def _closing() -> Refusal:
    return Refusal(503, "the server is shutting down", code="shutting_down", retry_after=1)
