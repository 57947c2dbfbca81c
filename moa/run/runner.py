"""Running graphs: one runner shares connections, limits, budget and store between all its questions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Mapping
from contextlib import aclosing
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from moa.backends.base import Backend
from moa.errors import DeadlineExceededError, MoaError
from moa.graph.bind import Bindings
from moa.graph.compile import compile_graph
from moa.graph.plan import Plan
from moa.run.budget import Budget, Ledger
from moa.run.conversation import Item, Question, given_in, question_in, read_conversation
from moa.run.endpoint import Endpoints
from moa.run.events import Event, Listener, RunFinished, RunStarted, TextArrived
from moa.run.execution import FATAL, Execution, Setting
from moa.run.flow import as_done, cancel_all
from moa.run.reply import NodeResult, Reply
from moa.run.retry import RetryPolicy
from moa.run.sampler import Sampler
from moa.run.store import Store
from moa.run.wiring import Wiring, wire
from moa.spec.graph import GraphSpec
from moa.spec.loader import read_models
from moa.spec.model import ModelSpec

T = TypeVar("T", bound=Item)
IN_FLIGHT = 256
"""Questions under way at once in `map`: enough to keep a busy server's slots full."""
IN_FLIGHT_BY_MODEL = 4096
"""The same where models take turns: the more questions share a turn, the fewer times they change places."""


class Composed(Protocol):
    """Anything that compiles to a plan, such as `moa.Graph`."""

    def plan(self, models: Mapping[str, ModelSpec] | None = None) -> Plan:
        """The compiled graph with its slots bound."""
        ...


Runnable = Plan | GraphSpec | Composed
Given = Mapping[str, Any] | None
"""Values that come with one question, for the agents that declare them."""


class Piece(str):
    """A piece of the answer as it arrives.

    `restart` is true where the connection was lost and the answer begins anew: what came before is void.
    """

    restart: bool = False


class Runner:
    """Runs graphs; use it as `async with`.

    Args:
        store: where answers are kept: a path, an open `Store`, or None for nowhere.
        seed: names which samples are drawn; the same seed means the same samples.
        budget: the most that this runner may spend over all its questions.
        models: a models.yaml, or its models by name.
        backends: backends of your own by model name; they are not closed with the runner.
        reuse: whether stored answers are used again; by default in `map` and not in `run`.
        timeout: seconds that one question may take.
        listeners: functions that receive every event.
        retry: how often and how patiently failed requests are sent again.
        by_model: whether models take turns: all questions under way ask one model before any asks the next, for
            several models that do not fit on a device together. Models with another `device` are not waited for.
    """

    def __init__(
        self,
        *,
        store: str | Path | Store | None = None,
        seed: int = 0,
        budget: Budget | None = None,
        models: str | Path | Mapping[str, ModelSpec] | None = None,
        backends: Mapping[str, Backend] | None = None,
        reuse: bool | None = None,
        timeout: float | None = None,
        listeners: Iterable[Listener] = (),
        retry: RetryPolicy | None = None,
        by_model: bool = False,
    ) -> None:
        self._owns_store = not isinstance(store, Store)
        self.store = Store.open(store) if isinstance(store, str | Path) else store
        self.seed = seed
        self.models = _read_models(models)
        for name in backends or ():
            self.models.setdefault(name, ModelSpec(name=name, provider="lent", model=name))
        self.reuse = reuse
        self.timeout = timeout
        self.ledger = Ledger(budget)
        self.listeners = list(listeners)
        self.by_model = by_model
        self.endpoints = Endpoints(self.models, backends or {}, retry=retry, seed=seed, by_model=by_model)
        self._sampler = Sampler(self.store, self.ledger, seed=seed)
        self._wirings: dict[int, tuple[Runnable, int, Wiring]] = {}
        self._noted: set[str] = set()
        self._runs = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close connections; commit and close the store unless it was lent."""
        await self.endpoints.aclose()
        if self.store is not None:
            await self.store.flush()
            if self._owns_store:
                await self.store.aclose()

    def expect(self, questions: int) -> None:
        """Prepare for so many questions at once, bounded elsewhere and each with somebody who waits.

        A server that is not asked yet is asked as many at once from the first, if they are more than 64; the
        limit falls as soon as it refuses one. For batches there is no need: the limit grows while they run.
        """
        self.endpoints.start = max(self.endpoints.start, questions)

    async def run(self, graph: Runnable, question: Question, *, given: Given = None) -> Reply:
        """Answer one question; raises the error where there is no answer.

        `given` holds values for the agents that declare them, such as what a judge is to judge.
        """
        reply = await self.attempt(graph, question, given=given)
        if reply.error is not None:
            raise reply.error
        return reply

    async def attempt(
        self, graph: Runnable, question: Question, *, reuse: bool | None = None, given: Given = None
    ) -> Reply:
        """Answer one question; a failed run is a `Reply` with its `error`, and what the nodes did."""
        reuse = bool(self.reuse if reuse is None else reuse)
        return await self._run(graph, question, reuse, None, given)

    def stream(self, graph: Runnable, question: Question, *, given: Given = None) -> Stream:
        """Answer one question, giving the final node's text as it arrives."""
        return Stream(self, graph, question, given)

    async def map(
        self,
        graph: Runnable,
        items: Iterable[T] | AsyncIterable[T],
        *,
        in_flight: int | None = None,
    ) -> AsyncGenerator[tuple[T, Reply], None]:
        """Answer many questions, each as soon as it is done, in no particular order.

        Items are texts, conversations, or records with `instruction`, `prompt` or `messages` (and perhaps
        `given`, as in `run`); they are read as they are needed, `in_flight` ahead (256, or 4,096 where models take turns). A question that fails gives a reply with its `error`; a spent
        budget or a broken store ends the whole map with that error and cancels what is under way.
        """
        reuse = True if self.reuse is None else self.reuse

        async def attempt(item: T) -> tuple[T, Reply]:
            return await self._attempt_item(graph, item, reuse)

        ahead = in_flight or (IN_FLIGHT_BY_MODEL if self.by_model else IN_FLIGHT)
        async with aclosing(as_done(items, attempt, ahead)) as answers:
            async for answer in answers:
                yield answer

    async def _attempt_item(self, graph: Runnable, item: T, reuse: bool) -> tuple[T, Reply]:
        reply = await self._run(graph, question_in(item), reuse, None, given_in(item))
        if isinstance(reply.error, FATAL):
            raise reply.error
        return item, reply

    async def _run(
        self,
        graph: Runnable,
        question: Question,
        reuse: bool,
        stream: Listener | None,
        given: Given,
    ) -> Reply:
        conversation = read_conversation(question)
        wiring = self._wire(graph)
        self._runs += 1
        setting = Setting(
            run=self._runs,
            conversation=conversation,
            sampler=self._sampler,
            reuse=reuse,
            tell=self._teller(stream),
            stream_answer=stream is not None,
            seed=self.seed,
            given=given or {},
            embedder=self.endpoints.embedder,
            scorer=self.endpoints.scorer,
            endpoint=self.endpoints.get,
        )
        execution = Execution(wiring, setting)
        began = setting.clock()
        if setting.tell:
            ids = tuple(node.id for node in wiring.plan.nodes)
            setting.tell(RunStarted(setting.run, wiring.plan.name, ids, began))
        error = await self._execute(execution)
        self._pass_on_notes(execution)
        reply = self._reply(execution, error, setting.clock() - began)
        if setting.tell:
            failure = f"{type(error).__name__}: {error}" if error else None
            setting.tell(RunFinished(setting.run, wiring.plan.name, setting.clock(), failure))
        return reply

    async def _execute(self, execution: Execution) -> MoaError | None:
        """Run to the end; the error, if there is one."""
        try:
            if self.timeout is None:
                await execution.run()
            else:
                async with asyncio.timeout(self.timeout):
                    await execution.run()
        except TimeoutError:
            return DeadlineExceededError(
                f"no answer within {self.timeout:g} s; raise the timeout and run again"
            )
        except MoaError as error:
            return error
        return None

    def _reply(self, execution: Execution, error: MoaError | None, latency: float) -> Reply:
        plan = execution.wiring.plan
        results = execution.results
        nodes = tuple(results.get(node.id) or _unreached(node.id, node.model) for node in plan.nodes)
        answer = results.get(plan.answer) if error is None else None
        return Reply(plan.name, answer, nodes, tuple(execution.warnings), error, latency, plan.fingerprint)

    def _pass_on_notes(self, execution: Execution) -> None:
        """Warn once of each thing that a backend had to leave out of its requests."""
        for endpoint in self.endpoints:
            for note in getattr(endpoint.origin, "notes", tuple)():
                if note not in self._noted:
                    self._noted.add(note)
                    execution.warn("", note)

    def _teller(self, stream: Listener | None) -> Listener | None:
        listeners = [*self.listeners, stream] if stream else self.listeners
        if not listeners:
            return None
        if len(listeners) == 1:
            return listeners[0]

        def tell(event: Event) -> None:
            for listener in listeners:
                listener(event)

        return tell

    def _wire(self, graph: Runnable) -> Wiring:
        revision = getattr(graph, "revision", 0)
        known = self._wirings.get(id(graph))
        if known is not None and known[0] is graph and known[1] == revision:
            return known[2]
        wiring = wire(self._compile(graph), self.endpoints)
        self._wirings[id(graph)] = (graph, revision, wiring)
        return wiring

    def _compile(self, graph: Runnable) -> Plan:
        if isinstance(graph, Plan):
            return graph
        if isinstance(graph, GraphSpec):
            return compile_graph(graph, Bindings({}, None, self.models))
        return graph.plan(self.models)


class Stream:
    """The final node's text as it arrives; `reply` holds everything once the iteration has ended."""

    def __init__(self, runner: Runner, graph: Runnable, question: Question, given: Given = None) -> None:
        self._runner = runner
        self._graph = graph
        self._question = question
        self._given = given
        self._reply: Reply | None = None

    @property
    def reply(self) -> Reply:
        """The whole reply; raises `MoaError` before the end of the stream."""
        if self._reply is None:
            raise MoaError("the reply is there once the stream has been read to its end")
        return self._reply

    async def __aiter__(self) -> AsyncIterator[Piece]:
        pieces: asyncio.Queue[Piece | None] = asyncio.Queue()

        def listen(event: Event) -> None:
            if isinstance(event, TextArrived) and (event.text or event.restart):
                piece = Piece(event.text)
                piece.restart = event.restart
                pieces.put_nowait(piece)

        async def answer() -> Reply:
            try:
                reuse = bool(self._runner.reuse)
                return await self._runner._run(self._graph, self._question, reuse, listen, self._given)
            finally:
                pieces.put_nowait(None)

        task = asyncio.create_task(answer())
        try:
            while (piece := await pieces.get()) is not None:
                yield piece
            self._reply = await task
        finally:
            await cancel_all([task])
        if self._reply.error is not None:
            raise self._reply.error


def _read_models(models: str | Path | Mapping[str, ModelSpec] | None) -> dict[str, ModelSpec]:
    if isinstance(models, str | Path):
        return dict(read_models(Path(models)).spec.models)
    return dict(models or {})


def _unreached(node: str, model: str | None) -> NodeResult:
    return NodeResult(node, None, model, "skipped")


__all__ = ["Composed", "Piece", "Runnable", "Runner", "Stream"]
