"""Asking again: what may succeed later, after as long as the server wishes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt

from moa.backends.base import Backend, Completion, Delta, Emit, Request, WrapperBackend
from moa.errors import BackendError

Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how patiently to ask again.

    Without a wish of the server the n-th wait is drawn between zero and `base * 2**n` seconds (full
    jitter), at most `longest`. A server that wishes for more than `patience` seconds is not waited for.
    """

    attempts: int = 5
    base: float = 0.5
    longest: float = 30.0
    patience: float = 120.0


def _worth_another_try(policy: RetryPolicy) -> Callable[[BaseException], bool]:
    def worth(error: BaseException) -> bool:
        return (
            isinstance(error, BackendError)
            and error.retryable
            and (error.retry_after is None or error.retry_after <= policy.patience)
        )

    return worth


class Retrying(WrapperBackend):
    """A backend that asks again after a failure that may pass.

    The first attempt costs nothing extra; tenacity takes over only once it has failed.
    """

    def __init__(
        self,
        inner: Backend,
        policy: RetryPolicy | None = None,
        *,
        seed: int = 0,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        super().__init__(inner)
        self.policy = policy or RetryPolicy()
        self._random = random.Random(seed)
        self._sleep = sleep
        self._worth = _worth_another_try(self.policy)

    async def complete(self, request: Request, emit: Emit | None = None) -> Completion:
        """Ask until there is an answer, or an error that another attempt cannot mend."""
        watch = _Watch(emit) if emit else None
        try:
            return await self.inner.complete(request, watch)
        except BackendError as error:
            if not self._worth(error) or self.policy.attempts < 2:
                raise
            return await self._again(request, watch, error)

    async def _again(self, request: Request, watch: _Watch | None, first: BackendError) -> Completion:
        failed: list[BackendError] = [first]
        retrying = AsyncRetrying(
            stop=stop_after_attempt(self.policy.attempts),
            wait=self._wait,
            retry=retry_if_exception(self._worth),
            before_sleep=partial(_tell, request),
            sleep=self._sleep,
            reraise=True,
        )
        async for attempt in retrying:
            with attempt:
                if failed:
                    raise failed.pop()
                if watch:
                    watch.restart()
                return await self.inner.complete(request, watch)
        raise AssertionError("tenacity always returns or raises")

    def _wait(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        wish = error.retry_after if isinstance(error, BackendError) else None
        jitter = self._random.uniform(0, min(self.policy.longest, self.policy.base * 2**state.attempt_number))
        if wish is None:
            return jitter
        # A little spread, so that all who were refused together do not come back together.
        return wish + min(jitter, 0.1 * wish)


def _tell(request: Request, state: RetryCallState) -> None:
    """Tell whoever made the request that it is going to be sent again."""
    error = state.outcome.exception() if state.outcome else None
    if request.trip and request.trip.retried and isinstance(error, BackendError):
        request.trip.retried(state.attempt_number, state.upcoming_sleep, error)


class _Watch:
    """Passes pieces of text on and remembers which samples have begun, to void them on a retry."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._begun: set[int] = set()

    def __call__(self, delta: Delta) -> None:
        self._begun.add(delta.index)
        self._emit(delta)

    def restart(self) -> None:
        for index in sorted(self._begun):
            self._emit(Delta(index, "", restart=True))
        self._begun.clear()
