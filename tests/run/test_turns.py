"""Models that take turns: how often they change places, and that nothing is lost on the way."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

import moa
from moa.backends.base import Choice, Completion, Emit, Request, Usage
from moa.errors import ServerFailedError
from moa.run.turns import Turns
from moa.spec.model import ModelSpec


class Device:
    """One device for several models: notes who is on it, and complains when two are."""

    def __init__(self) -> None:
        self.awake: set[str] = set()
        self.log: list[tuple[str, int]] = []
        """(model, distance to the answer) of each request, in the order in which they came."""
        self.moves: list[str] = []
        self.broken: set[str] = set()

    @property
    def stages(self) -> list[tuple[str, int]]:
        """The log without repetitions that follow each other."""
        return [entry for index, entry in enumerate(self.log) if index == 0 or self.log[index - 1] != entry]


class Resident:
    """A model of a device that sleeps while it is not its turn."""

    def __init__(self, name: str, device: Device, seconds: float = 0.001) -> None:
        self.name = name
        self.device = device
        self.seconds = seconds

    async def complete(self, request: Request, emit: Emit | None = None) -> Completion:
        assert self.device.awake == {self.name}, (
            f"{self.name} was asked while {self.device.awake} had the device"
        )
        self.device.log.append((self.name, request.priority))
        await asyncio.sleep(self.seconds)
        text = f"{self.name} says {len(request.messages)}"
        return Completion(tuple(Choice(text, "stop", usage=Usage(1, 1)) for _ in range(request.n)), self.name)

    async def wake(self) -> None:
        await asyncio.sleep(self.seconds)
        if self.name in self.device.broken:
            raise ServerFailedError(f"{self.name} does not wake up")
        self.device.awake.add(self.name)
        self.device.moves.append(self.name)

    async def rest(self) -> None:
        self.device.awake.discard(self.name)
        await asyncio.sleep(self.seconds)

    async def aclose(self) -> None:
        """Nothing to release."""


def graph(models: list[str]) -> moa.Graph:
    g = moa.Graph("three-layers")
    drafts = g.agent("proposer", models=models, name="drafts")
    refined = g.agent("aggregator", models=models, inputs=drafts, name="refined")
    g.answer = g.agent("aggregator", model=models[0], inputs=refined)
    return g


async def test_models_change_places_once_for_each_layer_and_model() -> None:
    device = Device()
    backends = {name: Resident(name, device) for name in "abc"}
    async with moa.Runner(backends=backends, by_model=True) as runner:
        replies = [reply async for _, reply in runner.map(graph([*"abc"]), map(str, range(40)))]
    assert all(reply.ok for reply in replies)
    assert len(device.log) == 40 * 7
    assert len(device.stages) == len(set(device.stages)) == 7, device.stages
    # A model that is still there when the next layer begins need not come again.
    assert runner.endpoints.swaps == len(device.moves) <= 7
    assert Counter(distance for _, distance in device.stages) == {2: 3, 1: 3, 0: 1}


async def test_question_by_question_the_models_would_change_places_all_the_time() -> None:
    device = Device()
    device.awake = set("abc")

    class Unguarded(Resident):
        async def complete(self, request: Request, emit: Emit | None = None) -> Completion:
            self.device.awake = {self.name}
            return await super().complete(request, emit)

    backends = {name: Unguarded(name, device) for name in "abc"}
    async with moa.Runner(backends=backends) as runner:
        async for _ in runner.map(graph([*"abc"]), map(str, range(40)), in_flight=4):
            pass
    assert len(device.stages) > 40


async def test_answers_are_the_same_in_either_order(tmp_path: Path) -> None:
    def names(index: int) -> str:
        return f"sim:skill=0.{index},member=m{index}"

    models = [names(index) for index in (3, 5, 7)]
    told: list[dict[str, str]] = []
    for by_model in (False, True):
        async with moa.Runner(by_model=by_model, store=tmp_path / f"{by_model}.sqlite") as runner:
            questions = [f"Which? (A) {i} (B) {i + 1}" for i in range(25)]
            told.append({q: r.text async for q, r in runner.map(graph(models), questions)})
    assert told[0] == told[1]


async def test_devices_do_not_wait_for_each_other() -> None:
    one, two = Device(), Device()
    backends = {"a": Resident("a", one), "b": Resident("b", two)}
    models = {
        "a": ModelSpec(name="a", provider="lent", device="gpu0"),
        "b": ModelSpec(name="b", provider="lent", device="gpu1"),
    }
    async with moa.Runner(models=models, backends=backends, by_model=True) as runner:
        replies = [reply async for _, reply in runner.map(graph(["a", "b"]), map(str, range(10)))]
    assert all(reply.ok for reply in replies)
    assert (one.moves, two.moves) == (["a"], ["b"])


async def test_a_model_that_does_not_come_fails_its_own_requests_only() -> None:
    device = Device()
    device.broken = {"b"}
    backends = {name: Resident(name, device) for name in "abc"}
    async with moa.Runner(backends=backends, by_model=True) as runner:
        replies = [reply async for _, reply in runner.map(graph([*"abc"]), map(str, range(5)))]
    assert all(reply.ok for reply in replies)
    assert all("b does not wake up" in "".join(reply.warnings) for reply in replies)


async def test_a_request_that_is_given_up_gives_the_device_back() -> None:
    turns = Turns()
    await turns.enter("a")
    waiting = asyncio.create_task(turns.enter("b"))
    given_up = asyncio.create_task(turns.enter("b"))
    await asyncio.sleep(0)
    given_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given_up
    turns.leave()
    async with asyncio.timeout(5):
        await waiting
    turns.leave()
    assert (turns.present, turns.swaps) == ("b", 2)
    async with asyncio.timeout(5):
        await turns.enter("a", 3)
    assert turns.present == "a"


async def test_the_layer_furthest_from_the_answer_goes_first() -> None:
    turns = Turns(settle=0.001)
    await turns.enter("a")
    order: list[str] = []

    async def ask(model: str, priority: int) -> None:
        await turns.enter(model, priority)
        order.append(model)
        turns.leave()

    async with asyncio.TaskGroup() as group:
        for model, priority in (("b", 0), ("c", 2), ("d", 1)):
            group.create_task(ask(model, priority))
        await asyncio.sleep(0)
        turns.leave()
    assert order == ["c", "d", "b"]
