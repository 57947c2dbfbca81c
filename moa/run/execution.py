"""One question on its way through a plan: nodes fire when their inputs are there."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import field
from typing import Any

from moa.backends.base import Message, ScoredBy, Usage
from moa.errors import (
    BackendError,
    BackendTimeoutError,
    BudgetExceededError,
    MoaError,
    QuorumError,
    SpecError,
    StoreError,
    UsageError,
)
from moa.graph.plan import PlanNode
from moa.nodes.prompt import question_of, reference_role
from moa.nodes.read import read_reply
from moa.nodes.response import Response
from moa.nodes.selector import Asked, Likely, Selector
from moa.run.asking import Asking, cost_of
from moa.run.embedding import embed
from moa.run.endpoint import Endpoint
from moa.run.events import Event, NodeFinished, NodeStarted, TextArrived, Warned
from moa.run.keys import Written
from moa.run.likelihood import likelihood
from moa.run.reply import NodeResult
from moa.run.sampler import Drawn, Sampler
from moa.run.scoring import score
from moa.run.wiring import Unit, Wiring
from moa.spec.registry import SELECTORS
from moa.values import value

FATAL = (BudgetExceededError, SpecError, StoreError, UsageError)
"""Errors that end the run at once instead of counting as a failed node."""
WAITING, FIRED, SETTLED, DISMISSED = range(4)
"""What has become of a unit; one that is dismissed is settled too, and its work is being cancelled."""


@value(frozen=True, slots=True)
class Setting:
    """What all nodes of one question share."""

    run: int
    conversation: tuple[Message, ...]
    sampler: Sampler
    reuse: bool
    tell: Callable[[Event], None] | None
    stream_answer: bool = False
    seed: int = 0
    given: Mapping[str, Any] = field(default_factory=dict)
    """Values for the agents that declare them, with this question alone."""
    embedder: Callable[[str], Endpoint] | None = None
    """Where selectors find embedding models, by name."""
    scorer: Callable[[str, ScoredBy], Endpoint] | None = None
    """Where selectors find models that score, by name and by how they are asked."""
    endpoint: Callable[[str], Endpoint] | None = None
    """Where selectors find models to ask how probable a text is, by name."""
    clock: Callable[[], float] = time.monotonic


class Execution:
    """Walks a plan once. `results` holds what became of each node, `warnings` what the user should know."""

    def __init__(self, wiring: Wiring, setting: Setting) -> None:
        self.wiring = wiring
        self.setting = setting
        self.results: dict[str, NodeResult] = {}
        self.warnings: list[str] = []
        self.prompts: dict[object, Written[tuple[Message, ...]]] = {}
        """Prompts that several units send, by what they are known as."""
        units = len(wiring.units)
        self._state = bytearray(units)
        self._waiting = list(wiring.waiting)
        """For each unit, how many of its inputs are still to come, and how many came and are usable."""
        self._usable = [0] * units
        self._began = [0.0] * units
        self._ready: list[Unit] = []
        self._overdue: set[int] = set()
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self._group: asyncio.TaskGroup

    async def run(self) -> NodeResult:
        """The answer's result; raises the error of the answer's node, or one that ended the run."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                for unit in self.wiring.roots:
                    self._start(unit)
        except BaseExceptionGroup as failures:
            raise first_of(failures) from None
        finally:
            for timer in self._timers.values():
                timer.cancel()
            # Tasks lead back here through their contexts: without this, only the garbage collector frees a run.
            self._tasks.clear()
            del self._group
        answer = self.results[self.wiring.plan.answer]
        if answer.error is not None and not answer.usable:
            raise answer.error
        return answer

    def heard(self, unit: Unit) -> Mapping[str, tuple[Response, ...]]:
        """What each input says so far, in the plan's order: the order of arrival never matters."""
        results = self.results
        return {
            source: result.responses if (result := results.get(source)) is not None and result.usable else ()
            for source in unit.sources
        }

    def streams(self, unit: Unit) -> bool:
        """Whether somebody watches this unit's text arrive."""
        return self.setting.stream_answer and unit.first.id == self.wiring.plan.answer

    def failed(self, node: PlanNode, error: MoaError) -> NodeResult:
        """The result of a node that has no response."""
        began = self._began[self.wiring.unit_of[node.id].index]
        latency = self.setting.clock() - began if began else 0.0
        return NodeResult(node.id, node.does, node.model, "failed", error=error, latency=latency)

    def warn(self, node: str, message: str) -> None:
        """Record a warning about a node and tell listeners."""
        self.warnings.append(f"{node}: {message}" if node else message)
        if tell := self.setting.tell:
            tell(Warned(self.setting.run, node, message))

    def _start(self, unit: Unit) -> None:
        self._state[unit.index] = FIRED
        self._tasks[unit.index] = self._group.create_task(self._work(unit))

    def _start_ready(self) -> None:
        ready, self._ready = self._ready, []
        for unit in ready:
            self._start(unit)

    async def _work(self, unit: Unit) -> None:
        """Fire a unit; then, in the same task, one of those that it made ready."""
        task = asyncio.current_task()
        assert task is not None
        following: Unit | None = unit
        while following is not None:
            current = following
            self._tasks[current.index] = task
            try:
                await self._fire(current)
            except asyncio.CancelledError:
                if self._state[current.index] != DISMISSED:
                    raise
                task.uncancel()
            following = self._ready.pop() if self._ready else None
            if self._ready:
                self._start_ready()

    async def _fire(self, unit: Unit) -> None:
        """Run a unit's nodes and settle them, whatever happens to them."""
        setting = self.setting
        began = self._began[unit.index] = setting.clock()
        if unit.hurried:
            self._set_deadlines(unit)
        if tell := setting.tell:
            for node in unit.nodes:
                tell(NodeStarted(setting.run, node.id, node.does, node.model, began))
        try:
            if unit.first.timeout is None:
                results = await self._produced(unit, began)
            else:
                async with asyncio.timeout(unit.first.timeout):
                    results = await self._produced(unit, began)
        except FATAL:
            raise
        except TimeoutError:
            error = BackendTimeoutError(
                f"`{unit.first.id}` took longer than its timeout of {unit.first.timeout:g} s"
            )
            results = [self.failed(node, error) for node in unit.nodes]
        except MoaError as error:
            results = [self.failed(node, error) for node in unit.nodes]
        except Exception as error:  # noqa: BLE001  the border of node failure: a plugin's own bug ends its node
            wrapped = MoaError(f"`{unit.first.id}` failed: {type(error).__name__}: {error}")
            wrapped.__cause__ = error
            results = [self.failed(node, wrapped) for node in unit.nodes]
        self._settle(unit, results)

    def _produced(self, unit: Unit, began: float) -> Awaitable[list[NodeResult]]:
        return self._choose(unit, began) if unit.first.select else Asking(self, unit).generate(began)

    async def _choose(self, unit: Unit, began: float) -> list[NodeResult]:
        node, heard = unit.first, self.heard(unit)
        assert node.select is not None
        candidates = [response for source in unit.sources for response in heard[source]]
        selector: Selector = SELECTORS.get(node.select.name).model_validate(node.select.options)
        context = _Choosing(self, unit)
        chosen = await selector.select(candidates, context)
        if not chosen:
            raise MoaError(f"the selector {node.select.name!r} of `{node.id}` kept nothing")
        if self.streams(unit) and (tell := self.setting.tell):
            tell(TextArrived(self.setting.run, node.id, chosen[0].text))
        result = NodeResult(
            node.id,
            node.does,
            node.model,
            "ok",
            responses=tuple(chosen),
            usage=context.usage,
            cost=context.cost,
            latency=self.setting.clock() - began,
            cached=context.asked > 0 and context.cached == context.asked,
            references=tuple(source for source in unit.sources if heard[source]),
            calls=context.asked,
            worth=context.worth,
            took=context.took,
        )
        return [result]

    def _settle(self, unit: Unit, results: Sequence[NodeResult]) -> None:
        """Record the results and see who can fire now."""
        if self._state[unit.index] == DISMISSED:
            return
        self._state[unit.index] = SETTLED
        for result in results:
            self._record(result)
            usable = result.usable
            if not usable and result.id != self.wiring.plan.answer:
                self.warn(result.id, f"no response: {result.error}")
            for consumer in self.wiring.consumers[result.id]:
                self._waiting[consumer.index] -= 1
                self._usable[consumer.index] += usable
        for index in unit.consumers:
            self._consider(self.wiring.units[index])

    def _record(self, result: NodeResult) -> None:
        self.results[result.id] = result
        if tell := self.setting.tell:
            error = str(result.error) if result.error else None
            now = self.setting.clock()
            tell(
                NodeFinished(
                    self.setting.run,
                    result.id,
                    result.state,
                    result.text,
                    result.cached,
                    result.usage,
                    now,
                    error,
                )
            )

    def _consider(self, unit: Unit) -> None:
        """Fire a waiting unit if it has what it needs; fail it as soon as it cannot get that any more."""
        index = unit.index
        if self._state[index] != WAITING:
            return
        usable, waiting = self._usable[index], self._waiting[index]
        if usable + waiting < unit.needed:
            self._give_up(unit)
        elif usable >= unit.needed and (waiting == 0 or unit.eager or index in self._overdue):
            self._state[index] = FIRED
            self._ready.append(unit)
            if waiting:
                self._dismiss_inputs(unit, "went on")

    def _give_up(self, unit: Unit) -> None:
        self._state[unit.index] = FIRED
        error = QuorumError(
            f"`{unit.first.id}` cannot have the {unit.needed} of {len(unit.sources)} inputs that it needs: "
            + "; ".join(self.reasons(unit))
        )
        self._dismiss_inputs(unit, "failed")
        self._settle(unit, [self.failed(node, error) for node in unit.nodes])

    def reasons(self, unit: Unit) -> list[str]:
        """Why inputs of a unit failed: each distinct reason once, with the first input that gave it."""
        seen: dict[str, str] = {}
        for source in unit.sources:
            result = self.results.get(source)
            if result is not None and result.error is not None:
                seen.setdefault(str(result.error), source)
        return [f"{source}: {reason}" for reason, source in seen.items()]

    def _set_deadlines(self, unit: Unit) -> None:
        """Start the clock of those who hear this unit when the first of their inputs begins."""
        for index in unit.consumers:
            consumer = self.wiring.units[index]
            if consumer.deadline is not None and index not in self._timers:
                loop = asyncio.get_running_loop()
                self._timers[index] = loop.call_later(consumer.deadline, self._deadline_passed, consumer)

    def _deadline_passed(self, unit: Unit) -> None:
        self._overdue.add(unit.index)
        self._consider(unit)
        self._start_ready()

    def _dismiss_inputs(self, unit: Unit, done: str) -> None:
        """Stop the inputs that nobody waits for any more, and what only they were waiting for."""
        for source in unit.sources:
            provider = self.wiring.unit_of[source]
            state = self._state[provider.index]
            if state >= SETTLED or any(self._state[index] == WAITING for index in provider.consumers):
                continue
            self._state[provider.index] = DISMISSED
            for node in provider.nodes:
                self._record(NodeResult(node.id, node.does, node.model, "cancelled"))
                self.warn(node.id, f"cancelled: `{unit.first.id}` {done} without it")
            if state == FIRED:
                self._tasks[provider.index].cancel()
            else:
                self._dismiss_inputs(provider, done)


class _Choosing:
    """What a selector may use while it chooses (`SelectContext`)."""

    def __init__(self, execution: Execution, unit: Unit) -> None:
        self.execution = execution
        self.unit = unit
        self.question = question_of(execution.setting.conversation)
        self.seed = _mixed_seed(execution.setting.seed, self.question, unit.first.id)
        self.usage = Usage()
        self.cost: float | None = 0.0
        self.worth: float | None = 0.0
        self.took = 0.0
        self.asked = 0
        self.cached = 0

    async def ask(self, responses: Sequence[Response]) -> Asked:
        """Show responses to the node's agent; raises the `BackendError` of a call that failed."""
        agent = self.unit.first.agent
        if agent is None or self.unit.endpoint is None:
            raise UsageError(
                f"the selector of `{self.unit.first.id}` asks an agent: give the node `agent` and `model`"
            )
        inputs = {reference_role(agent): responses}
        [drawn] = await Asking(self.execution, self.unit).ask(inputs, (self.unit.first.sample,))
        if isinstance(drawn, BackendError):
            raise drawn
        self._book(drawn)
        text = drawn.record.text.strip()
        given, logprobs = self.execution.setting.given, drawn.record.logprobs
        return Asked(text, read_reply(agent, text, len(responses), logprobs, given))

    async def embed(self, texts: Sequence[str], embedder: str) -> list[Sequence[float]]:
        """A vector for each text; raises the `BackendError` of a call that failed."""
        setting = self.execution.setting
        if setting.embedder is None:
            raise UsageError(
                f"the selector of `{self.unit.first.id}` needs embeddings, and nobody can make them here"
            )
        endpoint = setting.embedder(embedder)
        drawn = await embed(setting.sampler, endpoint, texts, self.unit.first.distance)
        for each in drawn.values():
            self._pay(endpoint, each.drawn)
        return [drawn[text].vector for text in texts]

    async def likelihood(self, model: str, prompt: str, text: str) -> Likely:
        """How probable a model finds a text; raises the `BackendError` of a call that failed."""
        setting = self.execution.setting
        if setting.endpoint is None:
            raise UsageError(
                f"the selector of `{self.unit.first.id}` needs `{model}`, and nobody can ask it here"
            )
        endpoint = setting.endpoint(model)
        messages = ({"role": "user", "content": prompt},)
        found = await likelihood(setting.sampler, endpoint, messages, text, self.unit.first.distance)
        for drawn in found.drawn:
            self._pay(endpoint, drawn)
        return Likely(found.logprob, found.tokens)

    async def score(
        self, question: str, answers: Sequence[str], scorer: str, how: ScoredBy = "classify"
    ) -> list[float]:
        """How good each answer is; raises the `BackendError` of a call that failed."""
        setting = self.execution.setting
        if setting.scorer is None:
            raise UsageError(
                f"the selector of `{self.unit.first.id}` needs `{scorer}`, and nobody can ask it here"
            )
        endpoint = setting.scorer(scorer, how)
        found = await score(setting.sampler, endpoint, how, question, answers, self.unit.first.distance)
        for each in found.values():
            self._pay(endpoint, each.drawn)
        return [found[answer].score for answer in answers]

    def _book(self, drawn: Drawn) -> None:
        self.asked += 1
        self.cached += drawn.cached
        assert self.unit.endpoint is not None
        self._pay(self.unit.endpoint, drawn)

    def _pay(self, endpoint: Endpoint, drawn: Drawn) -> None:
        self.usage += drawn.record.usage
        worth = cost_of(endpoint, drawn.record.usage)
        self.cost = _sum(self.cost, 0.0 if drawn.cached else worth)
        self.worth = _sum(self.worth, worth)
        self.took += drawn.record.latency

    def warn(self, message: str) -> None:
        """Report something that the user should know about this choice."""
        self.execution.warn(self.unit.first.id, message)


def _sum(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else first + second


def _mixed_seed(seed: int, question: str, node: str) -> int:
    digest = hashlib.sha256(f"{seed}\0{node}\0{question}".encode()).digest()
    return int.from_bytes(digest[:8], "big")


def first_of(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one error to report of those that ended a run together."""
    first = failures.exceptions[0]
    return first_of(first) if isinstance(first, BaseExceptionGroup) else first
