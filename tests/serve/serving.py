"""A real server on a free port of this machine, with scripted models behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import ClientSession, web
from openai import AsyncOpenAI

import moa
from moa.backends.base import Backend
from moa.run.runner import Runner
from moa.serve.app import make_app
from moa.serve.context import Context
from moa.serve.house import HOUSE, House, Served, Settings
from moa.serve.listen import Stop, listen
from tests.support.backends import Scripted


async def until(true: Callable[[], bool], seconds: float = 2.0) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110  nothing tells of it: what is watched is the server's own state
            await asyncio.sleep(0.01)


@dataclass
class Server:
    """A server that runs, and what it wrote down."""

    url: str
    house: House
    stop: Stop
    lines: list[Mapping[str, Any]] = field(default_factory=list)
    events: list[tuple[Context, Any]] = field(default_factory=list)

    def client(self, key: str = "none-is-needed", **options: Any) -> AsyncOpenAI:
        """OpenAI's own client; it tries once."""
        return AsyncOpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0, **options)

    @asynccontextmanager
    async def http(self, **options: Any) -> AsyncIterator[ClientSession]:
        """A plain HTTP client."""
        async with ClientSession(self.url, **options) as session:
            yield session


def duo(name: str = "duo") -> moa.Graph:
    """Two drafts by `panel`, joined by `sink`."""
    graph = moa.Graph(name)
    drafts = graph.agent("proposer", model="panel", samples=2, name="drafts")
    graph.answer = graph.agent("aggregator", model="sink", inputs=drafts)
    return graph


def vote(name: str = "vote") -> moa.Graph:
    """Three drafts by `panel`, of which the longest is the answer."""
    graph = moa.Graph(name)
    drafts = graph.agent("proposer", model="panel", samples=3, name="drafts")
    graph.answer = graph.select("longest", inputs=drafts)
    return graph


def alone(model: str) -> moa.Graph:
    """One model, asked once."""
    graph = moa.Graph(model)
    graph.answer = graph.agent("proposer", model=model)
    return graph


@asynccontextmanager
async def serving(
    *graphs: moa.Graph,
    backends: Mapping[str, Backend] | None = None,
    grace: float = 1.0,
    run: Mapping[str, Any] | None = None,
    plain: Sequence[str] = (),
    fit: Callable[[web.Application, Runner], None] | None = None,
    **settings: Any,
) -> AsyncIterator[Server]:
    """Serve graphs, and models by themselves, through the very code that `moa serve` runs; `fit` adds to the application."""
    backends = backends or {"panel": Scripted(), "sink": Scripted()}
    lines: list[Mapping[str, Any]] = []
    events: list[tuple[Context, Any]] = []
    async with Runner(backends=backends, **(run or {})) as runner:
        plans = [graph.plan(runner.models) for graph in graphs or (duo(),)]
        served = [Served(plan.name, plan) for plan in plans]
        for model in plain:
            served.append(Served(model, alone(model).plan(runner.models), "model"))
        chosen = Settings(
            **{
                "log": lines.append,
                "observers": [lambda context, event: events.append((context, event))],
                **settings,
            }
        )
        app = make_app(served, runner, chosen)
        if fit is not None:
            fit(app, runner)
        stop, ready = Stop(), asyncio.get_running_loop().create_future()
        async with asyncio.TaskGroup() as group:
            group.create_task(listen(app, "127.0.0.1", 0, grace=grace, ready=ready.set_result, stop=stop))
            server = Server(await ready, app[HOUSE], stop, lines, events)
            try:
                yield server
            finally:
                stop.ask()
