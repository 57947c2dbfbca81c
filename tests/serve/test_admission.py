"""Places, the queue, budgets, and leaving in order."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import openai
import pytest

from moa.backends.base import Request
from moa.errors import UsageError
from moa.run.budget import Budget
from moa.run.inventory import take_stock
from moa.run.limits import START
from moa.serve.app import make_app
from moa.serve.keys import Keys
from moa.serve.listen import Stop, is_loopback, listen
from moa.spec.model import ModelSpec, Price
from tests.serve.serving import Server, alone, serving, until
from tests.support.backends import Scripted

ASK: list[Any] = [{"role": "user", "content": "Why?"}]
BODY = {"model": "m", "messages": ASK}
ANN, BOB = "sk-ann-0123456789abcdef", "sk-bob-0123456789abcdef"


class Gated(Scripted):
    """Answers once it may."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()

    async def _answer(self, request: Request, emit: Any) -> Any:
        await self.gate.wait()
        return await super()._answer(request, emit)


def asking(server: Server, **options: Any) -> asyncio.Task[int]:
    async def ask() -> int:
        async with server.http() as http, http.post("/v1/chat/completions", json=BODY, **options) as response:
            await response.read()
            return response.status

    return asyncio.create_task(ask())


async def test_one_more_than_may_wait_is_sent_away() -> None:
    model = Gated()
    async with serving(alone("m"), backends={"m": model}, max_running=1, max_queued=1) as server:
        first = asking(server)
        await until(lambda: model.in_flight == 1)
        second = asking(server)
        await until(lambda: server.house.admission.queued == 1)
        async with server.http() as http:
            refused = await http.post("/v1/chat/completions", json=BODY)
            ready = await http.get("/readyz")
            error = (await refused.json())["error"]
        assert (refused.status, error["code"]) == (503, "overloaded") and int(
            refused.headers["retry-after"]
        ) >= 1
        assert ready.status == 503
        model.gate.set()
        assert [await first, await second] == [200, 200]
    assert model.peak == 1 and server.house.admission.running == 0


async def test_a_server_of_models_is_asked_as_many_questions_at_once_as_come_from_the_first() -> None:
    """Batches begin with 64 requests in flight; here somebody waits for each."""
    model, count = Gated(), START + 10
    async with serving(alone("m"), backends={"m": model}) as server:
        answers = [asking(server) for _ in range(count)]
        await until(lambda: model.in_flight == count)
        model.gate.set()
        assert [await answer for answer in answers] == [200] * count


async def test_a_client_that_waits_as_told_gets_in() -> None:
    model = Gated()
    async with serving(alone("m"), backends={"m": model}, max_running=1, max_queued=0) as server:
        first = asking(server)
        await until(lambda: model.in_flight == 1)
        asyncio.get_running_loop().call_later(0.3, model.gate.set)
        async with server.client().with_options(max_retries=3) as client:
            reply = await client.chat.completions.create(model="m", messages=ASK)
        assert reply.choices and await first == 200


async def test_one_key_cannot_take_every_place() -> None:
    model, keys = Gated(), Keys([("ann", ANN), ("bob", BOB)])
    async with serving(alone("m"), backends={"m": model}, keys=keys, max_per_key=1) as server:
        ann = {"authorization": f"Bearer {ANN}"}
        first = asking(server, headers=ann)
        await until(lambda: model.in_flight == 1)
        assert await asking(server, headers=ann) == 429
        other = asking(server, headers={"authorization": f"Bearer {BOB}"})
        await until(lambda: model.in_flight == 2)
        model.gate.set()
        assert [await first, await other] == [200, 200]
        assert await asking(server, headers=ann) == 200


async def test_each_key_spends_its_own_budget() -> None:
    keys = Keys([("ann", ANN), ("bob", BOB)], budget=Budget(usd=30e-6))
    priced = ModelSpec(name="m", provider="lent", model="m", price=Price(input=1, output=1))
    run = {"models": {"m": priced}}
    async with serving(alone("m"), backends={"m": Scripted()}, keys=keys, run=run) as server:
        async with server.client(ANN) as ann:
            for _ in range(2):
                await ann.chat.completions.create(model="m", messages=ASK)
            with pytest.raises(openai.RateLimitError) as refused:
                await ann.chat.completions.create(model="m", messages=ASK)
        async with server.client(BOB) as bob:
            assert await bob.chat.completions.create(model="m", messages=ASK)
    assert refused.value.code == "insufficient_quota"
    assert refused.value.response.headers["x-should-retry"] == "false"
    assert [tenant.ledger.usage.total_tokens for tenant in keys.tenants] == [30, 15]
    assert server.house.runner.ledger.usage.total_tokens == 0


async def test_told_to_stop_it_finishes_what_it_has_begun() -> None:
    model = Gated()
    async with serving(alone("m"), backends={"m": model}, grace=5) as server:
        begun = asking(server)
        await until(lambda: model.in_flight == 1)
        server.stop.ask()
        await until(lambda: server.house.admission.closing)
        assert await asking(server) == 503
        async with server.http() as http:
            assert (await http.get("/readyz")).status == 503
            assert (await http.get("/healthz")).status == 200
        model.gate.set()
        assert await begun == 200


@pytest.mark.parametrize("twice", [False, True])
async def test_what_does_not_finish_in_time_is_stopped_and_told_so(twice: bool) -> None:
    model = Gated()
    grace = 60 if twice else 0.2
    async with serving(
        alone("m"), backends={"m": model}, grace=grace, max_running=1, keep_alive=0.05
    ) as server:
        begun, waiting = asking(server), asking(server)
        await until(lambda: model.in_flight == 1 and server.house.admission.queued == 1)
        async with server.client() as client:
            stream = asyncio.create_task(client.chat.completions.create(model="m", messages=ASK, stream=True))
            await until(lambda: server.house.admission.queued == 2)
            words = await stream
            server.stop.ask()
            if twice:
                await until(lambda: server.house.admission.closing)
                server.stop.ask()
            with pytest.raises(openai.APIError, match="shutting down"):
                _ = [chunk async for chunk in words]
        assert [await begun, await waiting] == [503, 503]
    assert model.cancelled == 1


async def test_a_port_that_is_taken_is_named() -> None:
    async with serving() as server:
        port = int(server.url.rpartition(":")[2])
        app = make_app([], server.house.runner)
        with pytest.raises(UsageError, match=f"127.0.0.1:{port}: address already in use"):
            await listen(app, "127.0.0.1", port, grace=0, ready=lambda address: None, stop=Stop())


async def test_what_was_answered_is_stored(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    run = {"store": path, "reuse": True}
    model = Scripted()
    async with serving(alone("m"), backends={"m": model}, run=run) as server, server.client() as client:
        first = await client.chat.completions.create(model="m", messages=ASK)
        assert take_stock(path).samples == 1
        second = await client.chat.completions.create(model="m", messages=ASK)
        await client.chat.completions.create(model="m", messages=ASK, seed=3)
    assert first.choices == second.choices and len(model.requests) == 2


def test_only_this_machine_is_loopback() -> None:
    assert all(map(is_loopback, ("localhost", "127.0.0.1", "127.9.9.9", "::1", "[::1]")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.0.1", "example.org", "", "127.0.0.1.example")))
