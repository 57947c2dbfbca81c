"""Drawing samples: what is stored is not asked again, equal requests in flight are one, and equal
samples travel together as one request with `n`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple

from moa.backends.base import Choice, Delta, Emit, Message, Request, Usage
from moa.errors import BackendError
from moa.run.budget import Ledger
from moa.run.endpoint import Endpoint
from moa.run.keys import Written, base_key, sample_key
from moa.run.store import Record, Store
from moa.run.tokens import estimate_tokens

SEEDS_APART = 1 << 16
"""Sample numbers of one seed lie this far from those of the next."""
EMPTY_ATTEMPTS = 2
"""How often a sample that came back without any text is asked for again."""


@dataclass(frozen=True, slots=True)
class Draw:
    """What to sample: one conversation at one endpoint, for these sample numbers.

    `emit` receives the text as it arrives; `started` and `ended` see each request that is really sent.
    """

    endpoint: Endpoint
    messages: Written[tuple[Message, ...]]
    params: Written[Mapping[str, Any]]
    samples: tuple[int, ...]
    priority: int = 0
    timeout: float | None = None
    emit: Emit | None = None
    started: Callable[[], None] | None = None
    ended: Callable[[Usage, BaseException | None], None] | None = None


class Drawn(NamedTuple):
    """One sample, and whether it came from the store or another request instead of a call of its own."""

    record: Record
    cached: bool


class _Job(NamedTuple):
    """A draw with what the store knows it by; lists run parallel to `draw.samples`."""

    draw: Draw
    base: str
    numbers: list[int]
    keys: list[str]


class _Abandoned(Exception):
    """The request that a follower waited for was cancelled by its owner; ask for it yourself."""


class _Flight:
    """A request on its way; others who want the same sample wait here."""

    __slots__ = ("followers",)

    def __init__(self) -> None:
        self.followers: list[asyncio.Future[Record]] = []

    def land(self, outcome: Record | BackendError | None) -> None:
        """Tell the followers how it ended; `None` when it was cancelled."""
        for follower in self.followers:
            if follower.done():
                continue
            if isinstance(outcome, Record):
                follower.set_result(outcome)
            else:
                follower.set_exception(outcome or _Abandoned())


class Sampler:
    """Draws samples for all questions of a runner.

    `seed` names which samples are meant: sample `i` of seed `s` has the number `s * 65536 + i`, which is
    its seed at the engine and part of its key in the store.
    """

    def __init__(self, store: Store | None, ledger: Ledger, *, seed: int = 0) -> None:
        self.store = store
        self.ledger = ledger
        self._first = seed * SEEDS_APART
        self._flights: dict[str, _Flight] = {}

    async def draw(self, draw: Draw, *, reuse: bool) -> list[Drawn | BackendError]:
        """The samples in the order of `draw.samples`, each drawn or failed for itself."""
        base = base_key(draw.endpoint.identity, draw.messages, draw.params)
        numbers = [self._first + sample for sample in draw.samples]
        job = _Job(draw, base, numbers, [sample_key(base, number) for number in numbers])
        outcome = self._stored(job) if reuse and self.store else {}
        while missing := [p for p in range(len(numbers)) if p not in outcome]:
            following = {p: flight for p in missing if (flight := self._flights.get(job.keys[p]))}
            if asking := [p for p in missing if p not in following]:
                outcome.update(await self._ask(job, asking))
            for position, flight in following.items():
                with suppress(_Abandoned):
                    outcome[position] = await self._follow(flight)
        if draw.emit:
            _show_cached(draw.emit, outcome)
        return [outcome[position] for position in range(len(numbers))]

    def _stored(self, job: _Job) -> dict[int, Drawn | BackendError]:
        assert self.store is not None
        records = self.store.get(job.keys)
        return {p: Drawn(record, cached=True) for p, record in enumerate(records) if record is not None}

    async def _follow(self, flight: _Flight) -> Drawn | BackendError:
        landing: asyncio.Future[Record] = asyncio.get_running_loop().create_future()
        flight.followers.append(landing)
        try:
            return Drawn(await landing, cached=True)
        except BackendError as error:
            return error

    async def _ask(self, job: _Job, positions: Sequence[int]) -> dict[int, Drawn | BackendError]:
        """Ask for samples that nobody else is asking for, and hand them to whoever waits meanwhile."""
        flights = {p: _Flight() for p in positions}
        self._flights.update((job.keys[p], flight) for p, flight in flights.items())
        outcome: dict[int, Record | BackendError] = {}
        try:
            for run in _runs(positions, job.numbers):
                try:
                    records = await self._request(job, run)
                except BackendError as error:
                    outcome.update(dict.fromkeys(run, error))
                else:
                    outcome.update(zip(run, records, strict=True))
                    self._keep(job, run, records)
        finally:
            for position, flight in flights.items():
                del self._flights[job.keys[position]]
                flight.land(outcome.get(position))
        return {p: Drawn(o, cached=False) if isinstance(o, Record) else o for p, o in outcome.items()}

    async def _request(self, job: _Job, positions: Sequence[int]) -> list[Record]:
        """One run of consecutive sample numbers as one request."""
        first = positions[0]
        completion = await self._paid(job.draw, job.numbers[first], len(positions), first)
        latency = completion.latency
        choices = list(completion.choices)
        for index, choice in enumerate(choices):
            for _ in range(EMPTY_ATTEMPTS):
                if not _worth_asking_again(choice):
                    break
                position = positions[index]
                again = await self._paid(job.draw, job.numbers[position], 1, position)
                choice = replace(again.choices[0], usage=again.choices[0].usage + choice.usage)
                latency += again.latency
            choices[index] = choice
        created = time.time()
        return [_record(choice, completion.model, latency, created) for choice in choices]

    async def _paid(self, draw: Draw, seed: int, n: int, position: int) -> _Timed:
        """Send a request within the budget and time it; the draw's hooks see it start and end."""
        endpoint, ledger = draw.endpoint, self.ledger
        price = endpoint.spec.price
        ticket = 0
        if ledger.limited:
            ticket = await ledger.admit(endpoint.name, price, estimate_tokens(draw.messages.value), n)
        emit = _shifted(draw.emit, position) if draw.emit else None
        request = Request(draw.messages.value, draw.params.value, n, seed, draw.priority, draw.timeout)
        if draw.started:
            draw.started()
        clock = time.perf_counter()
        usage: Usage | None = None
        failure: BaseException | None = None
        try:
            completion = await endpoint.backend.complete(request, emit)
            usage = completion.choices[0].usage if n == 1 else completion.usage
        except BaseException as error:
            failure = error
            raise
        finally:
            ledger.settle(ticket, usage, price, n)
            if draw.ended:
                draw.ended(usage or Usage(), failure)
        return _Timed(completion.choices, completion.model, time.perf_counter() - clock)

    def _keep(self, job: _Job, positions: Sequence[int], records: Sequence[Record]) -> None:
        """Store what has text; an empty reply is not an answer and is asked for anew next time."""
        if self.store is None:
            return
        samples = [
            (job.numbers[p], job.keys[p], record)
            for p, record in zip(positions, records, strict=True)
            if record.text.strip() or record.tool_calls
        ]
        if samples:
            draw = job.draw
            self.store.put(job.base, draw.endpoint.identity, draw.messages, draw.params, samples)


class _Timed(NamedTuple):
    choices: tuple[Choice, ...]
    model: str
    latency: float


def _runs(positions: Sequence[int], numbers: Sequence[int]) -> list[list[int]]:
    """Split positions where their sample numbers are not consecutive."""
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


def _show_cached(emit: Emit, outcome: Mapping[int, Drawn | BackendError]) -> None:
    for position, drawn in outcome.items():
        if isinstance(drawn, Drawn) and drawn.cached:
            emit(Delta(position, drawn.record.text))


def _record(choice: Choice, model: str, latency: float, created: float) -> Record:
    return Record(
        text=choice.text,
        finish_reason=choice.finish_reason,
        reasoning=choice.reasoning,
        logprobs=choice.logprobs,
        tool_calls=choice.tool_calls,
        usage=choice.usage,
        model=model,
        latency=latency,
        created=created,
    )
