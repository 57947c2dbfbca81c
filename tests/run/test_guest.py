"""Questions at a runner's table: what they share with it and what they do not."""

from __future__ import annotations

import asyncio

import moa
from moa.run.budget import Budget, Ledger
from moa.run.events import Event, RunStarted
from moa.run.guest import Guest
from moa.run.recent import Recent
from moa.run.runner import Runner
from tests.support.backends import Scripted


def single(model: str = "m") -> moa.Graph:
    graph = moa.Graph()
    graph.answer = graph.agent("proposer", model=model)
    return graph


async def test_a_guest_has_a_seed_a_ledger_and_listeners_of_its_own() -> None:
    heard: list[Event] = []
    everything: list[Event] = []
    model, ledger = Scripted(), Ledger(Budget(tokens=1000))
    async with Runner(backends={"m": model}, listeners=[everything.append]) as host:
        plan = single().plan(host.models)
        guest = Guest(host, seed=3, ledger=ledger, listeners=[heard.append])
        reply = await guest.answer(plan, "Why?")
        await guest.aclose()
        own = await host.run(plan, "Why?")
    assert reply.text.endswith(f"#{3 << 16}") and own.text.endswith("#0")
    assert ledger.usage.total_tokens == 15 == host.ledger.usage.total_tokens
    assert heard and len(everything) == 2 * len(heard)
    assert [event.run for event in everything if isinstance(event, RunStarted)] == [1, 2]


async def test_equal_questions_in_flight_are_one_request_only_within_a_seed_and_a_ledger() -> None:
    model = Scripted(latency=0.05)
    async with Runner(backends={"m": model}) as host:
        plan = single().plan(host.models)
        guests = [Guest(host), Guest(host), Guest(host, ledger=Ledger()), Guest(host, seed=1)]
        async with asyncio.TaskGroup() as group:
            for guest in guests:
                group.create_task(guest.answer(plan, "Why?"))
    assert len(model.requests) == 3


async def test_a_graph_is_wired_once_and_not_remembered_where_it_comes_once() -> None:
    async with Runner(backends={"m": Scripted()}) as host:
        plan, other = single().plan(host.models), single().plan(host.models)
        await Guest(host).answer(plan, "Why?")
        wirings = Guest(host)._wirings
        known = wirings[id(plan)]
        await Guest(host).answer(plan, "Why not?")
        await Guest(host).answer(other, "Why?", once=True)
        assert Guest(host)._wirings is wirings and list(wirings.values()) == [known]


def test_the_oldest_is_forgotten() -> None:
    recent: Recent[str, int] = Recent(2)
    for number, key in enumerate(["a", "b", "a", "c"]):
        recent[key] = number
    assert dict(recent) == {"a": 2, "c": 3}
