"""Drawing samples: what is stored is not asked again, equal requests in flight are one, and equal
samples travel together as one request with `n`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, Protocol

from moa.backends.base import Choice, Completion, Delta, Emit, Message, Request, Trip, Usage
from moa.errors import BackendError, StoreError
from moa.run.budget import Ledger
from moa.run.endpoint import Endpoint
from moa.run.keys import Written, base_key, sample_key
from moa.run.store import Record, Store
from moa.run.tokens import estimate_tokens
from moa.values import value

SEEDS_APART = 1 << 16
"""Sample numbers of one seed lie this far from those of the next."""
NOTHING = Usage()
EMPTY_ATTEMPTS = 2
"""How often a sample that came back without any text is asked for again."""


class Watcher(Protocol):
    """Who wants to know of the requests that are really sent."""

    def started(self) -> None:
        """A request is about to be sent."""
        ...

    def retried(self, attempt: int, delay: float, error: BackendError) -> None:
        """A request failed and will be sent again after `delay` seconds."""
        ...

    def ended(self, usage: Usage, error: BaseException | None) -> None:
        """A request has ended."""
        ...

    def arrived(self, delta: Delta) -> None:
        """A piece of text has arrived, or a stored text is there."""
        ...


@value(frozen=True, slots=True)
class Draw:
    """What to sample: one conversation at one endpoint, for these sample numbers."""

    endpoint: Endpoint
    messages: Written[tuple[Message, ...]]
    params: Written[Mapping[str, Any]]
    samples: tuple[int, ...]
    priority: int = 0
    watch: Watcher | None = None
    stream: bool = False
    """Whether `watch` sees the text as it arrives."""


@value(frozen=True, slots=True)
class Drawn:
    """One sample, and whether it came from the store or another request instead of a call of its own."""

    record: Record
    cached: bool


Outcome = dict[int, Drawn | BackendError]
"""Samples by their position in a draw."""


class _Job:
    """A draw with what the store knows it by; lists run parallel to `draw.samples`, whose numbers begin at `first`."""

    __slots__ = ("base", "draw", "keys", "numbers")

    def __init__(self, draw: Draw, first: int) -> None:
        self.draw = draw
        self.base = base_key(draw.endpoint.identity, draw.messages, draw.params)
        if len(draw.samples) == 1:
            self.numbers = [first + draw.samples[0]]
            self.keys = [sample_key(self.base, self.numbers[0])]
        else:
            self.numbers = [first + sample for sample in draw.samples]
            self.keys = [sample_key(self.base, number) for number in self.numbers]


Landing = asyncio.Future["Drawn | BackendError | None"]
"""How a request ended that somebody else sent; None where it was cancelled."""
Flight = list[Landing]
"""A request on its way: those who want the same sample wait here."""


class Sampler:
    """Draws samples for all questions of a runner.

    `seed` names which samples are meant: sample `i` of seed `s` has the number `s * 65536 + i`, which is
    its seed at the engine and part of its key in the store.
    """

    def __init__(self, store: Store | None, ledger: Ledger, *, seed: int = 0) -> None:
        self.store = store
        self.ledger = ledger
        self._first = seed * SEEDS_APART
        self._flights: dict[str, Flight] = {}

    async def draw(self, draw: Draw, *, reuse: bool) -> list[Drawn | BackendError]:
        """The samples in the order of `draw.samples`, each drawn or failed for itself."""
        job = _Job(draw, self._first)
        positions = range(len(job.numbers))
        outcome: Outcome = {}
        if reuse and self.store is not None:
            for position, record in enumerate(self.store.get(job.keys)):
                if record is not None:
                    outcome[position] = Drawn(record, True)
        while len(outcome) < len(positions):
            asking, following = [], {}
            for position in positions:
                if position in outcome:
                    continue
                if (flight := self._flights.get(job.keys[position])) is None:
                    asking.append(position)
                else:
                    # All at once: a request of several samples lands as a whole, while one is waited for.
                    following[position] = _join(flight)
            if asking:
                await self._ask(job, asking, outcome)
            for position, landing in following.items():
                if (landed := await landing) is not None:
                    outcome[position] = Drawn(landed.record, True) if isinstance(landed, Drawn) else landed
        if draw.stream and draw.watch is not None:
            _show_cached(draw.watch, outcome)
        return [outcome[position] for position in positions]

    async def _ask(self, job: _Job, positions: Sequence[int], outcome: Outcome) -> None:
        """Ask for samples that nobody else is asking for, and hand them to whoever waits meanwhile."""
        keys, store = job.keys, self.store
        if store is not None and store.readonly:
            raise StoreError(
                f"store {store.path}: opened read-only for replay, and it does not hold what "
                f"{job.draw.endpoint.name} is asked here"
            )
        for position in positions:
            self._flights[keys[position]] = []
        try:
            for run in _runs(positions, job.numbers):
                try:
                    completion, latency = await self._paid(job.draw, job.numbers[run[0]], len(run), run[0])
                    records = _records(completion.choices, completion.model, latency)
                    if any(map(_worth_asking_again, completion.choices)):
                        await self._ask_again(job, run, completion, records)
                except BackendError as error:
                    outcome.update(dict.fromkeys(run, error))
                else:
                    samples = []
                    for position, record in zip(run, records, strict=True):
                        outcome[position] = Drawn(record, False)
                        # An empty reply is not an answer and is asked for anew next time.
                        if record.tool_calls or record.text.strip():
                            samples.append((job.numbers[position], record))
                    if samples and store is not None:
                        draw = job.draw
                        store.put(job.base, draw.endpoint.identity, draw.messages, draw.params, samples)
        finally:
            for position in positions:
                if followers := self._flights.pop(keys[position]):
                    _land(followers, outcome.get(position))

    async def _ask_again(
        self, job: _Job, positions: Sequence[int], completion: Completion, records: list[Record]
    ) -> None:
        """Samples that came back without any text are asked for again, each on its own."""
        for index, (position, choice) in enumerate(zip(positions, completion.choices, strict=True)):
            latency = records[index].latency
            for _ in range(EMPTY_ATTEMPTS):
                if not _worth_asking_again(choice):
                    break
                again, more = await self._paid(job.draw, job.numbers[position], 1, position)
                choice = replace(again.choices[0], usage=again.choices[0].usage + choice.usage)
                latency += more
                [records[index]] = _records((choice,), completion.model, latency)

    async def _paid(self, draw: Draw, seed: int, n: int, position: int) -> tuple[Completion, float]:
        """Send a request within the budget and time it; the draw's watcher sees it start and end.

        The time is what the request took with its retries, not how long it waited for its turn.
        """
        endpoint, ledger, watch = draw.endpoint, self.ledger, draw.watch
        price = endpoint.price
        ticket = 0
        if ledger.limited:
            tokens = estimate_tokens(draw.messages.value)
            longest = draw.params.value.get("max_tokens")
            ticket = await ledger.admit(endpoint.name, price, tokens, n, longest)
        emit = _shifted(watch.arrived, position) if draw.stream and watch is not None else None
        trip = Trip(None if watch is None else watch.retried)
        request = Request(draw.messages.value, draw.params.value, n, seed, draw.priority, None, trip)
        if watch is not None:
            watch.started()
        clock = time.perf_counter()
        usage: Usage | None = None
        failure: BaseException | None = None
        try:
            completion = await endpoint.backend.complete(request, emit)
            usage = completion.choices[0].usage if n == 1 else completion.usage
            return completion, time.perf_counter() - clock - trip.queued
        except BaseException as error:
            failure = error
            raise
        finally:
            ledger.settle(ticket, usage, price, n)
            if watch is not None:
                watch.ended(usage or NOTHING, failure)
            failure = None  # its traceback holds this frame


def _join(flight: Flight) -> Landing:
    landing: Landing = asyncio.get_running_loop().create_future()
    flight.append(landing)
    return landing


def _land(followers: Flight, outcome: Drawn | BackendError | None) -> None:
    """Tell those who wait how it ended; `None` when it was cancelled, and they ask for it themselves."""
    for follower in followers:
        if not follower.done():
            follower.set_result(outcome)


def _runs(positions: Sequence[int], numbers: Sequence[int]) -> list[list[int]]:
    """Split positions where their sample numbers are not consecutive."""
    if len(positions) == 1:
        return [[positions[0]]]
    runs = [[positions[0]]]
    for before, position in pairwise(positions):
        if numbers[position] == numbers[before] + 1:
            runs[-1].append(position)
        else:
            runs.append([position])
    return runs


def _shifted(emit: Emit, first: int) -> Emit:
    """The same listener, counting samples from the start of the draw and not of the request."""
    if first == 0:
        return emit

    def shifted(delta: Delta) -> None:
        emit(Delta(delta.index + first, delta.text, delta.restart, delta.reasoning))

    return shifted


def _worth_asking_again(choice: Choice) -> bool:
    return not choice.text.strip() and not choice.tool_calls and choice.finish_reason != "length"


def _show_cached(watch: Watcher, outcome: Outcome) -> None:
    for position, drawn in outcome.items():
        if isinstance(drawn, Drawn) and drawn.cached:
            watch.arrived(Delta(position, drawn.record.text))


def _records(choices: Sequence[Choice], model: str, latency: float) -> list[Record]:
    now = time.time()
    return [
        Record(
            choice.text,
            choice.finish_reason,
            choice.reasoning,
            choice.logprobs,
            choice.tool_calls,
            choice.usage,
            model,
            latency,
            now,
        )
        for choice in choices
    ]
