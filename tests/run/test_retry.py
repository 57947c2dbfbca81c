from __future__ import annotations

from dataclasses import replace

import pytest

from moa.backends.base import Completion, Delta, Emit, Request, Trip
from moa.errors import (
    BackendError,
    BadRequestError,
    ConnectionFailedError,
    RateLimitedError,
    ServerFailedError,
)
from moa.run.retry import Retrying, RetryPolicy
from tests.support.backends import Scripted, in_turn

QUESTION = Request(({"role": "user", "content": "why"},), seed=3)


class Sleeps(list[float]):
    async def __call__(self, delay: float) -> None:
        self.append(delay)


async def test_a_failure_that_passes_is_asked_again() -> None:
    backend = Scripted(in_turn([ServerFailedError("500"), ConnectionFailedError("reset"), "fine"]))
    sleeps = Sleeps()
    completion = await Retrying(backend, sleep=sleeps).complete(QUESTION)
    assert completion.choices[0].text == "fine"
    assert len(backend.requests) == 3
    assert len(sleeps) == 2
    assert 0 <= sleeps[0] <= 1 and 0 <= sleeps[1] <= 2


async def test_the_servers_wish_is_honoured() -> None:
    backend = Scripted(in_turn([RateLimitedError("429", retry_after=7.0), "fine"]))
    sleeps = Sleeps()
    await Retrying(backend, sleep=sleeps).complete(QUESTION)
    assert 7.0 <= sleeps[0] <= 7.7


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(BadRequestError("no such field"), id="cannot succeed"),
        pytest.param(RateLimitedError("quota", retryable=False), id="out of quota"),
        pytest.param(RateLimitedError("tomorrow", retry_after=86400.0), id="longer than our patience"),
    ],
)
async def test_what_cannot_succeed_is_asked_once(error: BackendError) -> None:
    backend = Scripted(in_turn([error, "fine"]))
    with pytest.raises(type(error)):
        await Retrying(backend, sleep=Sleeps()).complete(QUESTION)
    assert len(backend.requests) == 1


async def test_the_last_error_is_raised_when_attempts_run_out() -> None:
    backend = Scripted(
        in_turn([ServerFailedError("one"), ServerFailedError("two"), ServerFailedError("three")])
    )
    with pytest.raises(ServerFailedError, match="three"):
        await Retrying(backend, RetryPolicy(attempts=3), sleep=Sleeps()).complete(QUESTION)
    assert len(backend.requests) == 3


async def test_each_retry_is_announced_with_its_delay() -> None:
    notices: list[tuple[int, str]] = []
    backend = Scripted(in_turn([ServerFailedError("one"), ServerFailedError("two"), "fine"]))

    def notice(attempt: int, delay: float, error: BackendError) -> None:
        notices.append((attempt, str(error)))

    await Retrying(backend, sleep=Sleeps()).complete(replace(QUESTION, trip=Trip(notice)))
    assert notices == [(1, "one"), (2, "two")]


async def test_text_that_arrived_before_a_cut_is_voided() -> None:
    class Cut:
        calls = 0

        async def complete(self, request: Request, emit: Emit | None = None) -> Completion:
            self.calls += 1
            assert emit is not None
            emit(Delta(0, "half "))
            if self.calls == 1:
                raise ConnectionFailedError("cut")
            emit(Delta(0, "whole"))
            return await Scripted(in_turn(["half whole"])).complete(request)

        async def aclose(self) -> None: ...

    seen: list[Delta] = []
    await Retrying(Cut(), sleep=Sleeps()).complete(QUESTION, seen.append)
    assert [(d.text, d.restart) for d in seen] == [
        ("half ", False),
        ("", True),
        ("half ", False),
        ("whole", False),
    ]
