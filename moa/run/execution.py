"""One question on its way through a plan: nodes fire when their inputs are there."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from moa.backends.base import Delta, Emit, Message, Usage
from moa.errors import (
    BackendError,
    BackendTimeoutError,
    BudgetExceededError,
    ContextOverflowError,
    EmptyReplyError,
    MoaError,
    QuorumError,
    SpecError,
    StoreError,
    UsageError,
)
from moa.graph.plan import PlanNode
from moa.nodes.prompt import question_of, render_messages
from moa.nodes.read import read_reply
from moa.nodes.response import Response
from moa.nodes.selector import Asked, Selector
from moa.run.endpoint import RETRY_NOTICE, Endpoint
from moa.run.events import (
    CallFinished,
    CallRetried,
    CallStarted,
    Event,
    NodeFinished,
    NodeStarted,
    State,
    TextArrived,
    Warned,
)
from moa.run.fit import Fitted, Fitting, Inputs
from moa.run.keys import Written
from moa.run.reply import NodeResult
from moa.run.sampler import Draw, Drawn, Sampler
from moa.run.store import Record
from moa.run.wiring import Unit, Wiring
from moa.spec.registry import SELECTORS

FATAL = (BudgetExceededError, SpecError, StoreError, UsageError)
"""Errors that end the run at once instead of counting as a failed node."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What all nodes of one question share."""

    run: int
    conversation: tuple[Message, ...]
    sampler: Sampler
    reuse: bool
    tell: Callable[[Event], None] | None
    stream_answer: bool = False
    seed: int = 0
    clock: Callable[[], float] = time.monotonic


class Execution:
    """Walks a plan once. `results` holds what became of each node, `warnings` what the user should know."""

    def __init__(self, wiring: Wiring, setting: Setting) -> None:
        self.wiring = wiring
        self.setting = setting
        self.results: dict[str, NodeResult] = {}
        self.warnings: list[str] = []
        self._ready: list[Unit] = []
        self.prompts: dict[object, Written[tuple[Message, ...]]] = {}
        self._began: dict[int, float] = {}
        self._fired: set[int] = set()
        self._settled: set[int] = set()
        self._overdue: set[int] = set()
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self._dismissed: set[int] = set()
        self._group: asyncio.TaskGroup

    async def run(self) -> NodeResult:
        """The answer's result; raises the error of the answer's node, or one that ended the run."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                self._start(list(self.wiring.roots))
        except BaseExceptionGroup as failures:
            raise _first_of(failures) from None
        finally:
            for timer in self._timers.values():
                timer.cancel()
        answer = self.results[self.wiring.plan.answer]
        if answer.error is not None and not answer.usable:
            raise answer.error
        return answer

    def _start(self, units: Sequence[Unit]) -> None:
        for unit in units:
            self._fired.add(unit.index)
            self._tasks[unit.index] = self._group.create_task(self._work(unit))

    async def _work(self, unit: Unit) -> None:
        """Fire a unit; then, in the same task, one of those that it made ready."""
        following: Unit | None = unit
        while following is not None:
            current = following
            self._tasks[current.index] = self._current_task()
            try:
                await self._fire(current)
            except asyncio.CancelledError:
                if current.index not in self._dismissed:
                    raise
                self._current_task().uncancel()
            ready, self._ready = self._ready, []
            following = ready.pop() if ready else None
            if following is not None:
                self._fired.add(following.index)
            self._start(ready)

    @staticmethod
    def _current_task() -> asyncio.Task[None]:
        task = asyncio.current_task()
        assert task is not None
        return task

    async def _fire(self, unit: Unit) -> None:
        """Run a unit's nodes and settle them, whatever happens to them."""
        began = self._began[unit.index] = self.setting.clock()
        self._set_deadlines(unit)
        if tell := self.setting.tell:
            for node in unit.nodes:
                tell(NodeStarted(self.setting.run, node.id, _agent_name(node), node.model, began))
        try:
            if unit.first.timeout is None:
                results = await self._produce(unit)
            else:
                async with asyncio.timeout(unit.first.timeout):
                    results = await self._produce(unit)
        except FATAL:
            raise
        except TimeoutError:
            error = BackendTimeoutError(
                f"`{unit.first.id}` took longer than its timeout of {unit.first.timeout:g} s"
            )
            results = [self._failed(node, error) for node in unit.nodes]
        except MoaError as error:
            results = [self._failed(node, error) for node in unit.nodes]
        except Exception as error:  # noqa: BLE001  the border of node failure: a plugin's own bug ends its node
            wrapped = MoaError(f"`{unit.first.id}` failed: {type(error).__name__}: {error}")
            wrapped.__cause__ = error
            results = [self._failed(node, wrapped) for node in unit.nodes]
        self._settle(unit, results)

    async def _produce(self, unit: Unit) -> list[NodeResult]:
        if unit.first.select is not None:
            return [await self._choose(unit)]
        return await self._generate(unit)

    async def _generate(self, unit: Unit) -> list[NodeResult]:
        heard = self._heard(unit)
        agent = unit.first.agent
        assert agent is not None and unit.endpoint is not None
        inputs = {role: [r for node in nodes for r in heard[node]] for role, nodes in unit.roles}
        known_as = (unit.words, unit.roles, tuple(map(bool, heard.values())))
        asking = _Asking(self, unit, known_as)
        samples = await asking.ask(inputs, unit.samples, self._streaming(unit))
        references = tuple(node for node in unit.sources if heard[node])
        return [
            self._result(unit, node, sample, references)
            for node, sample in zip(unit.nodes, samples, strict=True)
        ]

    def _result(
        self, unit: Unit, node: PlanNode, sample: Drawn | BackendError, references: tuple[str, ...]
    ) -> NodeResult:
        if isinstance(sample, BackendError):
            return self._failed(node, sample)
        record, agent, endpoint = sample.record, node.agent, unit.endpoint
        assert agent is not None and endpoint is not None
        text = record.text.strip()
        value = read_reply(agent, text, len(references)) if agent.reads != "text" else None
        state, error = self._state_of(unit, node, record, value)
        return NodeResult(
            node.id,
            agent.name,
            node.model,
            state,
            (Response(text, node.id, node.model, value=value),) if error is None else (),
            record.usage,
            0.0 if sample.cached else endpoint_cost(endpoint, record.usage),
            self._elapsed(unit),
            sample.cached,
            references,
            record.finish_reason,
            record.reasoning,
            record.tool_calls,
            record.logprobs,
            error,
        )

    def _state_of(
        self, unit: Unit, node: PlanNode, record: Record, value: object
    ) -> tuple[State, EmptyReplyError | None]:
        """Name what kind of reply this is, and warn of one that is less than whole."""
        if not record.text.strip() and not record.tool_calls:
            return "empty", _empty_error(node, record.finish_reason)
        reads = node.agent.reads if node.agent else "text"
        if reads != "text" and value is None:
            self.warn(node.id, f"the reply could not be read as a {reads}")
            return "unparsed", None
        if record.finish_reason == "length":
            limit = unit.params.value.get("max_tokens", "the model's limit")
            self.warn(node.id, f"the reply was cut off at max_tokens ({limit})")
            return "truncated", None
        return "ok", None

    async def _choose(self, unit: Unit) -> NodeResult:
        node, heard = unit.first, self._heard(unit)
        assert node.select is not None
        candidates = [response for source in unit.sources for response in heard[source]]
        selector: Selector = SELECTORS.get(node.select.name).model_validate(node.select.options)
        context = _Choosing(self, unit)
        chosen = await selector.select(candidates, context)
        if not chosen:
            raise MoaError(f"the selector {node.select.name!r} of `{node.id}` kept nothing")
        if self._streaming(unit):
            self._tell_text(node.id, Delta(0, chosen[0].text))
        return NodeResult(
            node.id,
            node.select.name,
            node.model,
            "ok",
            responses=tuple(chosen),
            usage=context.usage,
            cost=context.cost,
            latency=self._elapsed(unit),
            cached=context.asked > 0 and context.cached == context.asked,
            references=tuple(source for source in unit.sources if heard[source]),
        )

    def _heard(self, unit: Unit) -> dict[str, tuple[Response, ...]]:
        """What each input says so far, in the plan's order: the order of arrival never matters."""
        return {source: self._responses(source) for source in unit.sources}

    def _responses(self, source: str) -> tuple[Response, ...]:
        result = self.results.get(source)
        return result.responses if result is not None and result.usable else ()

    def _streaming(self, unit: Unit) -> bool:
        return self.setting.stream_answer and unit.first.id == self.wiring.plan.answer

    def _failed(self, node: PlanNode, error: MoaError) -> NodeResult:
        latency = self._elapsed(self.wiring.unit_of[node.id])
        return NodeResult(node.id, _agent_name(node), node.model, "failed", error=error, latency=latency)

    def _elapsed(self, unit: Unit) -> float:
        now = self.setting.clock()
        return now - self._began.get(unit.index, now)

    def _settle(self, unit: Unit, results: Sequence[NodeResult]) -> None:
        """Record the results, tell the world, and see who can fire now."""
        if unit.index in self._dismissed:
            return
        self._settled.add(unit.index)
        for result in results:
            self._record(result)
            if not result.usable and result.id != self.wiring.plan.answer:
                self.warn(result.id, f"no response: {result.error}")
        affected = {c.index: c for node in unit.nodes for c in self.wiring.consumers[node.id]}
        for consumer in affected.values():
            self._consider(consumer)

    def _record(self, result: NodeResult) -> None:
        self.results[result.id] = result
        if tell := self.setting.tell:
            tell(_finished(self.setting.run, result, self.setting.clock()))

    def _consider(self, unit: Unit) -> None:
        """Fire a waiting unit if it has what it needs; fail it as soon as it cannot get that any more."""
        if unit.index in self._fired or unit.index in self._settled:
            return
        results = [self.results.get(source) for source in unit.sources]
        usable = sum(result is not None and result.usable for result in results)
        waiting = sum(result is None for result in results)
        if usable + waiting < unit.needed:
            self._give_up(unit)
        elif usable >= unit.needed and (waiting == 0 or unit.eager or unit.index in self._overdue):
            self._fired.add(unit.index)
            self._ready.append(unit)
            if waiting:
                self._dismiss_inputs(unit, "went on")

    def _give_up(self, unit: Unit) -> None:
        self._fired.add(unit.index)
        error = QuorumError(
            f"`{unit.first.id}` cannot have the {unit.needed} of {len(unit.sources)} inputs that it needs: "
            + "; ".join(self._reasons(unit))
        )
        self._dismiss_inputs(unit, "failed")
        self._settle(unit, [self._failed(node, error) for node in unit.nodes])

    def _reasons(self, unit: Unit) -> list[str]:
        """Each distinct reason once, with the first input that gave it."""
        seen: dict[str, str] = {}
        for source in unit.sources:
            result = self.results.get(source)
            if result is not None and result.error is not None:
                seen.setdefault(str(result.error), source)
        return [f"{source}: {reason}" for reason, source in seen.items()]

    def _set_deadlines(self, unit: Unit) -> None:
        """Start the clock of those who hear this unit when the first of their inputs begins."""
        for node in unit.nodes:
            for consumer in self.wiring.consumers[node.id]:
                if consumer.deadline is not None and consumer.index not in self._timers:
                    loop = asyncio.get_running_loop()
                    timer = loop.call_later(consumer.deadline, self._deadline_passed, consumer)
                    self._timers[consumer.index] = timer

    def _deadline_passed(self, unit: Unit) -> None:
        self._overdue.add(unit.index)
        self._consider(unit)
        ready, self._ready = self._ready, []
        self._start(ready)

    def _dismiss_inputs(self, unit: Unit, done: str) -> None:
        """Stop the inputs that nobody waits for any more, and what only they were waiting for."""
        for source in unit.sources:
            provider = self.wiring.unit_of[source]
            if provider.index in self._settled or self._still_wanted(provider):
                continue
            started = provider.index in self._fired
            self._dismissed.add(provider.index)
            self._fired.add(provider.index)
            self._settled.add(provider.index)
            for node in provider.nodes:
                self._record(NodeResult(node.id, _agent_name(node), node.model, "cancelled"))
                self.warn(node.id, f"cancelled: `{unit.first.id}` {done} without it")
            if started:
                self._tasks[provider.index].cancel()
            else:
                self._dismiss_inputs(provider, done)

    def _still_wanted(self, provider: Unit) -> bool:
        return any(
            consumer.index not in self._fired
            for node in provider.nodes
            for consumer in self.wiring.consumers[node.id]
        )

    def warn(self, node: str, message: str) -> None:
        """Record a warning about a node and tell listeners."""
        self.warnings.append(f"{node}: {message}" if node else message)
        if tell := self.setting.tell:
            tell(Warned(self.setting.run, node, message))

    def _tell_text(self, node: str, delta: Delta) -> None:
        if tell := self.setting.tell:
            tell(TextArrived(self.setting.run, node, delta.text, delta.restart, delta.reasoning))


class _Asking:
    """Asks one unit's model: renders, fits, draws, and fits again if the server says it was too long."""

    def __init__(self, execution: Execution, unit: Unit, known_as: object = None) -> None:
        assert unit.endpoint is not None and unit.first.agent is not None
        self._known_as = known_as
        self.execution = execution
        self.unit = unit
        self.setting = execution.setting
        self.endpoint: Endpoint = unit.endpoint
        self.agent = unit.first.agent

    async def ask(
        self, inputs: Inputs, samples: tuple[int, ...], stream: bool = False
    ) -> list[Drawn | BackendError]:
        """Samples for these inputs, each drawn or failed."""
        if not self.endpoint.ready:
            await self.endpoint.prepare()
        window = self.endpoint.context
        for attempt in range(4):
            fitting = Fitting(self.endpoint, self.unit.first.overflow, self._render, window)
            fitted = await fitting.fit(inputs, self.unit.params)
            drawn = await self._draw(fitted, samples, stream)
            overflow = next((d for d in drawn if isinstance(d, ContextOverflowError)), None)
            if overflow is None or attempt == 3:
                break
            window = self._smaller(window, overflow, fitted)
            if window is None:
                break
        if fitted.note:
            self.execution.warn(self.unit.first.id, fitted.note)
        return drawn

    def _smaller(self, window: int | None, overflow: ContextOverflowError, fitted: Fitted) -> int | None:
        """The window to fit next, after a refusal that our own count did not foresee."""
        if self.unit.first.overflow == "error" or not self.unit.sources:
            return None
        if overflow.limit and (window is None or overflow.limit < window):
            self.endpoint.context = overflow.limit
            return overflow.limit
        size = sum(len(str(message.get("content"))) for message in fitted.messages.value) // 4
        return int((window or size) * 0.75)

    def _render(self, inputs: Inputs) -> Written[tuple[Message, ...]]:
        """The prompt; members of a layer who hear the same share one, written once."""
        prompts, key = self.execution.prompts, self._known_as
        self._known_as = None  # from the second time on the references are shortened ones
        prompt = prompts.get(key) if key is not None else None
        if prompt is None:
            vars = self.unit.first.vars
            prompt = Written(render_messages(self.agent, self.setting.conversation, inputs, vars))
            if key is not None:
                prompts[key] = prompt
        return prompt

    async def _draw(
        self, fitted: Fitted, samples: tuple[int, ...], stream: bool
    ) -> list[Drawn | BackendError]:
        unit, setting = self.unit, self.setting
        hooks = self._hooks() if setting.tell else (None, None)
        draw = Draw(
            self.endpoint,
            fitted.messages,
            fitted.params,
            samples,
            unit.first.distance,
            None,
            self._emit() if stream else None,
            *hooks,
        )
        return await setting.sampler.draw(draw, reuse=setting.reuse)

    def _hooks(self) -> tuple[Callable[[], None], Callable[[Usage, BaseException | None], None]]:
        tell, clock, run = self.setting.tell, self.setting.clock, self.setting.run
        assert tell is not None
        nodes, model = tuple(node.id for node in self.unit.nodes), self.endpoint.name

        def retried(attempt: int, delay: float, error: BackendError) -> None:
            tell(CallRetried(run, nodes, model, attempt, delay, str(error), clock()))

        def started() -> None:
            RETRY_NOTICE.set(retried)
            tell(CallStarted(run, nodes, model, clock()))

        def ended(usage: Usage, error: BaseException | None) -> None:
            tell(CallFinished(run, nodes, model, usage, clock(), type(error).__name__ if error else None))

        return started, ended

    def _emit(self) -> Emit:
        node = self.unit.first.id

        def emit(delta: Delta) -> None:
            self.execution._tell_text(node, delta)

        return emit


class _Choosing:
    """What a selector may use while it chooses (`SelectContext`)."""

    def __init__(self, execution: Execution, unit: Unit) -> None:
        self.execution = execution
        self.unit = unit
        self.question = question_of(execution.setting.conversation)
        self.seed = _mixed_seed(execution.setting.seed, self.question, unit.first.id)
        self.usage = Usage()
        self.cost: float | None = 0.0
        self.asked = 0
        self.cached = 0

    async def ask(self, responses: Sequence[Response]) -> Asked:
        """Show responses to the node's agent; raises the `BackendError` of a call that failed."""
        agent = self.unit.first.agent
        if agent is None or self.unit.endpoint is None:
            raise UsageError(
                f"the selector of `{self.unit.first.id}` asks an agent: give the node `agent` and `model`"
            )
        role = next(iter(agent.inputs), "references")
        [drawn] = await _Asking(self.execution, self.unit).ask({role: responses}, (self.unit.first.sample,))
        if isinstance(drawn, BackendError):
            raise drawn
        self._book(drawn)
        text = drawn.record.text.strip()
        return Asked(text, read_reply(agent, text, len(responses)))

    def _book(self, drawn: Drawn) -> None:
        self.asked += 1
        self.cached += drawn.cached
        self.usage += drawn.record.usage
        assert self.unit.endpoint is not None
        cost = endpoint_cost(self.unit.endpoint, Usage() if drawn.cached else drawn.record.usage)
        self.cost = None if self.cost is None or cost is None else self.cost + cost

    def warn(self, message: str) -> None:
        """Report something that the user should know about this choice."""
        self.execution.warn(self.unit.first.id, message)


def endpoint_cost(endpoint: Endpoint, usage: Usage) -> float | None:
    """US dollars for a call; None where the price is unknown and something was spent."""
    if usage.total_tokens == 0:
        return 0.0
    price = endpoint.spec.price
    return price.of(usage.input_tokens, usage.output_tokens, usage.cached_tokens) if price else None


def _agent_name(node: PlanNode) -> str | None:
    if node.select is not None:
        return node.select.name
    return node.agent.name if node.agent else None


def _finished(run: int, result: NodeResult, now: float) -> NodeFinished:
    error = str(result.error) if result.error else None
    return NodeFinished(run, result.id, result.state, result.text, result.cached, result.usage, now, error)


def _empty_error(node: PlanNode, finish_reason: str | None) -> EmptyReplyError:
    if finish_reason == "length":
        return EmptyReplyError(
            f"`{node.id}`: {node.model} was cut off before it wrote any text; raise `max_tokens`"
        )
    return EmptyReplyError(f"`{node.id}`: {node.model} answered without any text")


def _mixed_seed(seed: int, question: str, node: str) -> int:
    digest = hashlib.sha256(f"{seed}\0{node}\0{question}".encode()).digest()
    return int.from_bytes(digest[:8], "big")


def _first_of(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one error to report of those that ended a run together."""
    first = failures.exceptions[0]
    return _first_of(first) if isinstance(first, BaseExceptionGroup) else first
