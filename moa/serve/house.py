"""What all requests of one server share: its ensembles, its runner, its places, its settings."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import partial
from typing import Any, Literal, Protocol

from aiohttp import web

from moa.graph.plan import Plan
from moa.run.conversation import Question
from moa.run.events import Event, Listener
from moa.run.guest import Guest
from moa.run.recent import Recent
from moa.run.reply import Reply
from moa.run.runner import Given, Runner
from moa.serve.admission import Admission
from moa.serve.context import Context, Observer
from moa.serve.keys import Keys
from moa.serve.metrics import figures
from moa.serve.onlookers import Onlookers
from moa.serve.refusal import Refusal

Log = Callable[[Mapping[str, Any]], None]
PLANS = 256
"""Plans with a caller's own sampling that are kept for the next request like it."""
SEEDS = 1 << 31
"""Seeds of requests that name none are drawn below this."""


def new_id() -> str:
    """A word that no other request has."""
    return secrets.token_hex(12)


@dataclass(frozen=True)
class Served:
    """One model id of the server: a graph, or a plain model as a graph of one."""

    id: str
    plan: Plan
    kind: Literal["graph", "model"] = "graph"
    description: str = ""

    @property
    def fingerprint(self) -> str:
        """The API's `system_fingerprint`: changes with agents, wiring, models and sampling."""
        return f"moa-{self.plan.fingerprint[:12]}"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a server behaves.

    Args:
        keys: who may ask.
        max_running: questions under way at once; a server of models is asked as many at once, until it refuses one.
        max_queued: questions that may wait.
        max_per_key: questions of one key under way or waiting; None for no bound.
        body_limit: bytes of a request, at most.
        keep_alive: seconds without a word after which a stream gets a comment.
        stall: seconds that a reader may take nothing, before it is given up.
        hosts: names by which the server may be addressed; None for any.
        detailed: whether errors name the servers behind.
        log: receives a record of each request.
        observers: receive each request's events.
        clock: seconds since the epoch.
        timer: seconds that only go forward.
        new_id: makes ids.
    """

    keys: Keys = field(default_factory=Keys)
    max_running: int = 512
    max_queued: int = 256
    max_per_key: int | None = None
    body_limit: int = 32 << 20
    keep_alive: float = 5.0
    stall: float = 60.0
    hosts: frozenset[str] | None = None
    detailed: bool = True
    log: Log | None = None
    observers: Sequence[Observer] = ()
    clock: Callable[[], float] = time.time
    timer: Callable[[], float] = time.monotonic
    new_id: Callable[[], str] = new_id


class Followed(Protocol):
    """One question under way; neither method may wait."""

    def hear(self, event: Event) -> None:
        """Take in an event."""
        ...

    def end(self, reply: Reply | None) -> None:
        """It is over; without a reply, it was given up."""
        ...


class Follower(Protocol):
    """Whoever wants to see questions with their plans."""

    def begin(self, context: Context, plan: Plan, question: Question) -> Followed:
        """A question is put to a plan."""
        ...


class House:
    """One server's state; nothing of it is global, so several live in one process."""

    def __init__(self, served: Iterable[Served], runner: Runner, settings: Settings) -> None:
        self.served: Mapping[str, Served] = {each.id: each for each in served}
        self.runner = runner
        self.settings = settings
        self.admission = Admission(
            settings.max_running, settings.max_queued, settings.max_per_key, settings.timer
        )
        self.figures = figures(frozenset(self.served), settings.timer)
        self.onlookers = Onlookers()
        self.follower: Follower | None = None
        """Follows every question from its beginning to its end: the page does."""
        self._observers = [*settings.observers, *([self.figures.hear] if self.figures else [])]
        self.began = int(settings.clock())
        self.plans: Recent[tuple[str, ...], Plan] = Recent(PLANS)
        """Plans that requests have made of what is served, by what they ask of whom."""

    def find(self, model: str) -> Served:
        """What a model id means; raises `Refusal` with the nearest id."""
        found = self.served.get(model)
        if found is None:
            near = get_close_matches(model, self.served, 1)
            hint = f"; did you mean {near[0]!r}?" if near else "; GET /v1/models lists what there is"
            message = f"the model {model[:100]!r} does not exist{hint}"
            raise Refusal(404, message, param="model", code="model_not_found")
        return found

    async def answer(
        self,
        context: Context,
        plan: Plan,
        question: Question,
        *,
        seed: int | None = None,
        watch: Listener | None = None,
        given: Given = None,
        once: bool = False,
    ) -> Reply:
        """Put one request's question to a plan; its events go to the observers, whose errors are their own.

        Without a seed each request draws samples of its own, unless stored answers are to be found again. The rest is
        what `Guest.answer` takes.
        """
        if seed is None:
            seed = self.runner.seed if self.runner.reuse else secrets.randbelow(SEEDS)
        guest = Guest(self.runner, seed=seed, ledger=context.tenant.ledger)
        listeners: list[Listener] = [partial(observer, context) for observer in self._observers]
        run = self.onlookers.tell(self.follower.begin, context, plan, question) if self.follower else None
        if run is not None:
            listeners.append(run.hear)
        listeners[:0] = guest.listeners
        guest.listeners = [self.onlookers.listener(listeners)] if listeners else []
        reply = None
        try:
            reply = await guest.answer(plan, question, watch=watch, given=given, once=once)
        finally:
            if run is not None:
                self.onlookers.tell(run.end, reply)
        return reply


HOUSE = web.AppKey("moa.house", House)
