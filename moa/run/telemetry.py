"""OpenTelemetry spans for graphs, nodes and calls, in the GenAI conventions.

Names are those of the `semantic-conventions-genai` repository (status: development): `invoke_workflow` for
a question, `invoke_agent` for a node, `chat` for a request. Content is left out unless asked for.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from moa.errors import MissingExtraError
from moa.run.events import (
    CallFinished,
    CallRetried,
    CallStarted,
    Event,
    NodeFinished,
    NodeStarted,
    RunFinished,
    RunStarted,
    Warned,
)

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer, TracerProvider

OPERATION = "gen_ai.operation.name"
PROVIDER = "gen_ai.provider.name"


class Telemetry:
    """A listener that turns events into spans: `Runner(listeners=[Telemetry()])`.

    Args:
        provider: a tracer provider; by default the process's own.
        content: whether the nodes' texts are recorded too.

    Raises `MissingExtraError` where opentelemetry is not installed.
    """

    def __init__(self, provider: TracerProvider | None = None, *, content: bool = False) -> None:
        try:
            from opentelemetry import trace
        except ImportError:
            raise MissingExtraError("telemetry", "otel") from None
        self._trace = trace
        self._tracer: Tracer = trace.get_tracer("moa", tracer_provider=provider)
        self._content = content
        self._runs: dict[int, Span] = {}
        self._nodes: dict[tuple[int, str], Span] = {}
        self._calls: dict[tuple[int, str], Span] = {}
        self._offset = time.time() - time.monotonic()

    def __call__(self, event: Event) -> None:
        """Take in one event."""
        match event:
            case RunStarted():
                self._runs[event.run] = self._span(f"invoke_workflow {event.graph}", event.time, None)
                self._runs[event.run].set_attributes(
                    {OPERATION: "invoke_workflow", "gen_ai.workflow.name": event.graph}
                )
            case RunFinished():
                self._close_open(event)
                self._end(self._runs.pop(event.run, None), event.time, event.error)
            case NodeStarted():
                self._start_node(event)
            case NodeFinished():
                self._finish_node(event)
            case CallStarted():
                self._start_call(event)
            case CallRetried():
                if span := self._calls.get((event.run, event.nodes[0])):
                    span.add_event(
                        "retry", {"attempt": event.attempt, "delay": event.delay, "error": event.error}
                    )
            case CallFinished():
                self._finish_call(event)
            case Warned():
                span = self._nodes.get((event.run, event.node)) or self._runs.get(event.run)
                if span:
                    span.add_event("warning", {"message": event.message})
            case _:
                pass

    def _start_node(self, event: NodeStarted) -> None:
        name = event.agent or event.node
        span = self._span(f"invoke_agent {name}", event.time, self._runs.get(event.run))
        span.set_attributes(
            {OPERATION: "invoke_agent", "gen_ai.agent.name": name, "gen_ai.agent.id": event.node}
        )
        self._nodes[event.run, event.node] = span

    def _finish_node(self, event: NodeFinished) -> None:
        span = self._nodes.pop((event.run, event.node), None)
        if span is None:
            return
        span.set_attributes({"moa.node.state": event.state, "moa.node.cached": event.cached})
        # Under names of their own: the same tokens are on the `chat` spans already.
        span.set_attributes(
            {
                "gen_ai.aggregated_usage.input_tokens": event.usage.input_tokens,
                "gen_ai.aggregated_usage.output_tokens": event.usage.output_tokens,
            }
        )
        if self._content:
            span.set_attribute("gen_ai.output.messages", event.text)
        self._end(span, event.time, event.error if event.state in ("failed", "empty") else None)

    def _start_call(self, event: CallStarted) -> None:
        provider, _, model = event.model.partition(":")
        span = self._span(
            f"chat {event.model}", event.time, self._nodes.get((event.run, event.nodes[0])), client=True
        )
        span.set_attributes(
            {OPERATION: "chat", PROVIDER: provider, "gen_ai.request.model": model or provider}
        )
        if len(event.nodes) > 1:
            span.set_attribute("gen_ai.request.choice.count", len(event.nodes))
        self._calls[event.run, event.nodes[0]] = span

    def _finish_call(self, event: CallFinished) -> None:
        span = self._calls.pop((event.run, event.nodes[0]), None)
        if span is None:
            return
        span.set_attributes(
            {
                "gen_ai.usage.input_tokens": event.usage.input_tokens,
                "gen_ai.usage.output_tokens": event.usage.output_tokens,
                "gen_ai.usage.cache_read.input_tokens": event.usage.cached_tokens,
                "gen_ai.usage.reasoning.output_tokens": event.usage.reasoning_tokens,
            }
        )
        self._end(span, event.time, event.error)

    def _close_open(self, event: RunFinished) -> None:
        """End the spans of what was still under way when the run ended."""
        for spans in (self._calls, self._nodes):
            for key in [key for key in spans if key[0] == event.run]:
                self._end(spans.pop(key), event.time, "cancelled")

    def _span(self, name: str, at: float, parent: Span | None, *, client: bool = False) -> Span:
        trace = self._trace
        context = trace.set_span_in_context(parent) if parent is not None else None
        kind = trace.SpanKind.CLIENT if client else trace.SpanKind.INTERNAL
        return self._tracer.start_span(name, context=context, kind=kind, start_time=self._nanoseconds(at))

    def _end(self, span: Span | None, at: float, error: str | None) -> None:
        if span is None:
            return
        if error:
            span.set_attribute("error.type", error.partition(":")[0])
            span.set_status(self._trace.StatusCode.ERROR, error)
        span.end(self._nanoseconds(at))

    def _nanoseconds(self, at: float) -> int:
        return int((at + self._offset) * 1e9)
