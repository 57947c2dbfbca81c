"""Asking one unit's model: render what was heard, make it fit, draw the samples, and read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from moa.backends.base import LABELS, Delta, Message, Usage
from moa.errors import BackendError, ContextOverflowError, EmptyReplyError, QuorumError
from moa.graph.plan import PlanNode
from moa.nodes.preference import labels_in
from moa.nodes.prompt import render_messages
from moa.nodes.read import read_reply
from moa.nodes.response import Response
from moa.run.endpoint import Endpoint
from moa.run.events import CallFinished, CallRetried, CallStarted, PromptMade, State, TextArrived
from moa.run.fit import Fitted, Fitting, Inputs
from moa.run.keys import Written
from moa.run.reply import NodeResult
from moa.run.sampler import Draw, Drawn
from moa.run.store import Record
from moa.run.wiring import Unit

if TYPE_CHECKING:
    from moa.run.execution import Execution

FITS = 4
"""How often a prompt is fitted anew when the server finds it too long after all."""


class Asking:
    """One unit's requests; the sampler tells it when they start, end and arrive (`Watcher`)."""

    __slots__ = ("agent", "endpoint", "execution", "shared", "unit")

    def __init__(self, execution: Execution, unit: Unit) -> None:
        assert unit.endpoint is not None and unit.first.agent is not None
        self.execution = execution
        self.unit = unit
        self.endpoint: Endpoint = unit.endpoint
        self.agent = unit.first.agent
        self.shared: object = None
        """What the prompt is known as to other units that hear the same."""

    async def generate(self, began: float) -> list[NodeResult]:
        """A result for each node of the unit."""
        execution, unit = self.execution, self.unit
        heard = execution.heard(unit)
        inputs: Inputs = {role: [r for node in nodes for r in heard[node]] for role, nodes in unit.roles}
        references = tuple([node for node, responses in heard.items() if responses])
        self._check_inputs(inputs)
        self.shared = (unit.words, references)
        stream = execution.streams(unit)
        samples = await self.ask(inputs, unit.samples, stream)
        latency = execution.setting.clock() - began
        return [
            execution.failed(node, sample)
            if isinstance(sample, BackendError)
            else self._result(node, sample, inputs, references, latency)
            for node, sample in zip(unit.nodes, samples, strict=True)
        ]

    def _check_inputs(self, inputs: Inputs) -> None:
        """Refuse to ask with an input that failures have left too few responses for."""
        for role, arity in self.agent.inputs.items():
            if len(inputs.get(role, ())) < arity.min:
                raise QuorumError(
                    f"`{self.unit.first.id}` needs {arity} response{'s' * (arity.min > 1)} as `{role}`: "
                    + "; ".join(self.execution.reasons(self.unit))
                )

    async def ask(
        self, inputs: Inputs, samples: tuple[int, ...], stream: bool = False
    ) -> list[Drawn | BackendError]:
        """Samples for these inputs, each drawn or failed."""
        if not self.endpoint.ready:
            await self.endpoint.prepare()
        setting, window, params = self.execution.setting, self.endpoint.context, self._params()
        for attempt in range(FITS):
            if window is None:
                fitted = Fitted(self._render(inputs), params)
            else:
                fitting = Fitting(self.endpoint, self.unit.first.overflow, self._render, window)
                fitted = await fitting.fit(inputs, params)
            if tell := setting.tell:
                tell(PromptMade(setting.run, self.unit.ids, fitted.messages.value))
            draw = self._draw(fitted, samples, stream)
            drawn = await setting.sampler.draw(draw, reuse=setting.reuse)
            overflow = _overflow_among(drawn)
            if overflow is None or attempt == FITS - 1:
                break
            window = self._smaller(window, overflow, fitted)
            if window is None:
                break
        if fitted.note:
            self.execution.warn(self.unit.first.id, fitted.note)
        return drawn

    def _params(self) -> Written[Mapping[str, Any]]:
        """The request's fields; where a preference is read, with the labels whose probabilities matter."""
        if self.agent.reads != "preference":
            return self.unit.params
        labels = labels_in(self.agent, self.execution.setting.given)
        return Written({**self.unit.params.value, LABELS: list(labels)})

    def _draw(self, fitted: Fitted, samples: tuple[int, ...], stream: bool) -> Draw:
        watch = self if self.execution.setting.tell is not None else None
        return Draw(
            self.endpoint, fitted.messages, fitted.params, samples, self.unit.first.distance, watch, stream
        )

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
        prompts, key = self.execution.prompts, self.shared
        self.shared = None  # from the second time on the references are shortened ones
        prompt = prompts.get(key) if key is not None else None
        if prompt is None:
            setting, vars = self.execution.setting, self.unit.first.vars
            prompt = Written(render_messages(self.agent, setting.conversation, inputs, vars, setting.given))
            if key is not None:
                prompts[key] = prompt
        return prompt

    def _result(
        self, node: PlanNode, sample: Drawn, inputs: Inputs, references: tuple[str, ...], latency: float
    ) -> NodeResult:
        record, cached = sample.record, sample.cached
        text = record.text.strip()
        value = None
        if self.agent.reads != "text" or self.agent.pattern is not None:
            count, given = len(next(iter(inputs.values()), ())), self.execution.setting.given
            value = read_reply(self.agent, text, count, record.logprobs, given)
        state, error = self._state_of(node, record, value)
        worth = cost_of(self.endpoint, record.usage)
        return NodeResult(
            node.id,
            self.agent.name,
            node.model,
            state,
            (Response(text, node.id, node.model, value=value),) if error is None else (),
            record.usage,
            0.0 if cached else worth,
            latency,
            cached,
            references,
            record.finish_reason,
            record.reasoning,
            record.tool_calls,
            record.logprobs,
            error,
            calls=1,
            worth=worth,
            took=record.latency,
        )

    def _state_of(
        self, node: PlanNode, record: Record, value: object
    ) -> tuple[State, EmptyReplyError | None]:
        """Name what kind of reply this is, and warn of one that is less than whole."""
        if self.agent.reads == "preference" and value is not None:
            return "ok", None  # One token is enough, and its alternatives speak where it says nothing.
        if not record.text.strip() and not record.tool_calls:
            return "empty", _empty_error(node, record.finish_reason)
        if self.agent.reads != "text" and value is None:
            self.execution.warn(node.id, f"the reply could not be read as a {self.agent.reads}")
            return "unparsed", None
        if record.finish_reason == "length":
            limit = self.unit.params.value.get("max_tokens", "the model's limit")
            self.execution.warn(node.id, f"the reply was cut off at max_tokens ({limit})")
            return "truncated", None
        if record.finish_reason == "content_filter":
            self.execution.warn(node.id, "the reply was cut off by the provider's content filter")
            return "truncated", None
        return "ok", None

    def started(self) -> None:
        """A request is about to be sent."""
        setting = self.execution.setting
        if setting.tell is not None:
            setting.tell(CallStarted(setting.run, self.unit.ids, self.endpoint.name, setting.clock()))

    def ended(self, usage: Usage, error: BaseException | None) -> None:
        """A request has ended."""
        setting = self.execution.setting
        if setting.tell is not None:
            named = type(error).__name__ if error else None
            setting.tell(
                CallFinished(setting.run, self.unit.ids, self.endpoint.name, usage, setting.clock(), named)
            )

    def retried(self, attempt: int, delay: float, error: BackendError) -> None:
        """A request failed and will be sent again."""
        setting = self.execution.setting
        if setting.tell is not None:
            ids, now = self.unit.ids, setting.clock()
            setting.tell(CallRetried(setting.run, ids, self.endpoint.name, attempt, delay, str(error), now))

    def arrived(self, delta: Delta) -> None:
        """A piece of a streamed reply has arrived."""
        setting = self.execution.setting
        if setting.tell is not None:
            node = self.unit.nodes[delta.index].id
            setting.tell(TextArrived(setting.run, node, delta.text, delta.restart, delta.reasoning))


def cost_of(endpoint: Endpoint, usage: Usage) -> float | None:
    """US dollars for a call; None where the price is unknown and something was spent."""
    if usage.total_tokens == 0:
        return 0.0
    price = endpoint.price
    return price.of(usage.input_tokens, usage.output_tokens, usage.cached_tokens) if price else None


def _overflow_among(drawn: Sequence[Drawn | BackendError]) -> ContextOverflowError | None:
    for sample in drawn:
        if isinstance(sample, ContextOverflowError):
            return sample
    return None


def _empty_error(node: PlanNode, finish_reason: str | None) -> EmptyReplyError:
    if finish_reason == "length":
        return EmptyReplyError(
            f"`{node.id}`: {node.model} was cut off before it wrote any text; raise `max_tokens`"
        )
    return EmptyReplyError(f"`{node.id}`: {node.model} answered without any text")
