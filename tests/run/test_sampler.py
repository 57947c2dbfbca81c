from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from moa.backends.base import Choice, Completion, Delta, Emit, Request, Usage
from moa.errors import BackendError, BadRequestError, BudgetExceededError
from moa.run.budget import Budget, Ledger
from moa.run.endpoint import Endpoint
from moa.run.keys import Written
from moa.run.sampler import SEEDS_APART, Draw, Drawn, Sampler
from moa.run.store import Store
from moa.spec.model import ModelSpec
from tests.support.backends import Scripted, in_turn

MESSAGES = ({"role": "user", "content": "why"},)


def endpoint(backend: Scripted) -> Endpoint:
    spec = ModelSpec(name="m", provider="custom", model="m")
    return Endpoint("m", spec, backend, backend, identity="m", ready=True)


class Watch:
    def __init__(self) -> None:
        self.deltas: list[Delta] = []

    def started(self) -> None: ...

    def retried(self, attempt: int, delay: float, error: BackendError) -> None: ...

    def ended(self, usage: Usage, error: BaseException | None) -> None: ...

    def arrived(self, delta: Delta) -> None:
        self.deltas.append(delta)


def draw(backend: Scripted, *samples: int, watch: Watch | None = None) -> Draw:
    params: Written[Mapping[str, Any]] = Written({"temperature": 0.7})
    return Draw(endpoint(backend), Written(MESSAGES), params, samples, watch=watch, stream=watch is not None)


def texts(drawn: list[Drawn | BackendError]) -> list[str]:
    return [d.record.text if isinstance(d, Drawn) else f"! {d}" for d in drawn]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store.sqlite")


async def test_equal_samples_travel_as_one_request_and_each_has_its_seed() -> None:
    backend = Scripted()
    drawn = await Sampler(None, Ledger(), seed=2).draw(draw(backend, 0, 1, 2), reuse=False)
    first = 2 * SEEDS_APART
    assert texts(drawn) == [f"why #{first + i}" for i in range(3)]
    assert [(r.n, r.seed) for r in backend.requests] == [(3, first)]


async def test_a_larger_pool_asks_only_for_what_the_store_does_not_have(store: Store) -> None:
    backend = Scripted()
    sampler = Sampler(store, Ledger())
    await sampler.draw(draw(backend, 0, 1, 3), reuse=True)
    assert [(r.n, r.seed) for r in backend.requests] == [(2, 0), (1, 3)]
    backend.requests.clear()
    drawn = await sampler.draw(draw(backend, 0, 1, 2, 3, 4, 5), reuse=True)
    assert texts(drawn) == [f"why #{i}" for i in range(6)]
    assert [(r.n, r.seed) for r in backend.requests] == [(1, 2), (2, 4)]
    assert [d.cached for d in drawn if isinstance(d, Drawn)] == [True, True, False, True, False, False]
    await store.aclose()


async def test_all_samples_of_a_request_in_flight_land_with_who_waits_for_them() -> None:
    backend = Scripted(latency=0.02)
    sampler = Sampler(None, Ledger())
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        first = group.create_task(sampler.draw(draw(backend, 0, 1, 2), reuse=False))
        second = group.create_task(sampler.draw(draw(backend, 0, 1, 2), reuse=False))
    assert texts(second.result()) == texts(first.result()) == ["why #0", "why #1", "why #2"]
    assert [d.cached for d in second.result() if isinstance(d, Drawn)] == [True] * 3
    assert [(r.n, r.seed) for r in backend.requests] == [(3, 0)]


async def test_without_reuse_the_model_is_asked_anew(store: Store) -> None:
    backend = Scripted()
    sampler = Sampler(store, Ledger())
    await sampler.draw(draw(backend, 0), reuse=False)
    await sampler.draw(draw(backend, 0), reuse=False)
    assert len(backend.requests) == 2
    await store.aclose()


async def test_equal_requests_in_flight_are_one() -> None:
    backend = Scripted(latency=0.02)
    sampler = Sampler(None, Ledger())
    async with asyncio.TaskGroup() as group:
        draws = [group.create_task(sampler.draw(draw(backend, 0), reuse=False)) for _ in range(5)]
    assert len(backend.requests) == 1
    assert {texts(task.result())[0] for task in draws} == {"why #0"}


async def test_a_follower_takes_over_when_the_owner_is_cancelled() -> None:
    backend = Scripted(latency=0.02)
    sampler = Sampler(None, Ledger())
    owner = asyncio.create_task(sampler.draw(draw(backend, 0), reuse=False))
    await asyncio.sleep(0.005)
    follower = asyncio.create_task(sampler.draw(draw(backend, 0), reuse=False))
    await asyncio.sleep(0.005)
    owner.cancel()
    assert texts(await follower) == ["why #0"]
    assert backend.cancelled == 1 and len(backend.requests) == 2


async def test_a_failure_is_shared_with_followers_and_not_remembered() -> None:
    backend = Scripted(in_turn([BadRequestError("no"), "yes"]), latency=0.01)
    sampler = Sampler(None, Ledger())
    async with asyncio.TaskGroup() as group:
        draws = [group.create_task(sampler.draw(draw(backend, 0), reuse=False)) for _ in range(2)]
    assert [texts(task.result()) for task in draws] == [["! no"], ["! no"]]
    assert texts(await sampler.draw(draw(backend, 0), reuse=False)) == ["yes"]


async def test_one_failed_run_does_not_take_the_other_samples_with_it(store: Store) -> None:
    def script(request: Request) -> str | BaseException:
        return BadRequestError("no") if request.seed == 2 else "yes #{seed}"

    backend = Scripted(script)
    sampler = Sampler(store, Ledger())
    await sampler.draw(draw(backend, 1), reuse=True)
    drawn = await sampler.draw(draw(backend, 0, 1, 2), reuse=True)
    assert texts(drawn) == ["yes #0", "yes #1", "! no"]
    await store.aclose()


async def test_an_empty_sample_is_asked_for_again_and_never_stored(store: Store) -> None:
    class SometimesEmpty(Scripted):
        async def complete(self, request: Request, emit: Emit | None = None) -> Completion:
            self.requests.append(request)
            empty = len(self.requests) < 2
            texts = ["" if empty and i == 1 else f"text {(request.seed or 0) + i}" for i in range(request.n)]
            return Completion(tuple(Choice(text, "stop", usage=Usage(0, 1)) for text in texts))

    backend = SometimesEmpty()
    drawn = await Sampler(store, Ledger()).draw(draw(backend, 0, 1, 2), reuse=True)
    assert texts(drawn) == ["text 0", "text 1", "text 2"]
    assert [(r.n, r.seed) for r in backend.requests] == [(3, 0), (1, 1)]
    always = Scripted(lambda request: " ")
    [still] = await Sampler(store, Ledger()).draw(draw(always, 9), reuse=True)
    assert isinstance(still, Drawn) and still.record.text == " " and len(always.requests) == 3
    await Sampler(store, Ledger()).draw(draw(always, 9), reuse=True)
    assert len(always.requests) == 6
    await store.aclose()


async def test_stored_text_is_shown_to_whoever_watches(store: Store) -> None:
    sampler = Sampler(store, Ledger())
    await sampler.draw(draw(Scripted(), 0), reuse=True)
    watch = Watch()
    await sampler.draw(draw(Scripted(), 0, watch=watch), reuse=True)
    assert [delta.text for delta in watch.deltas] == ["why #0"]
    await store.aclose()


async def test_a_spent_budget_sends_nothing_and_keeps_what_was_answered(store: Store) -> None:
    backend = Scripted()
    sampler = Sampler(store, Ledger(Budget(tokens=30)))
    await sampler.draw(draw(backend, 0), reuse=True)
    await sampler.draw(draw(backend, 1), reuse=True)
    with pytest.raises(BudgetExceededError):
        await sampler.draw(draw(backend, 2), reuse=True)
    assert len(backend.requests) == 2
    assert texts(await sampler.draw(draw(backend, 0, 1), reuse=True)) == ["why #0", "why #1"]
    await store.aclose()
