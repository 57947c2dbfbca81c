"""OpenTelemetry spans for graphs, nodes and calls, in the GenAI conventions.

Names are those of the `semantic-conventions-genai` repository (status: development): `invoke_workflow` for
a question, `invoke_agent` for a node, `chat` for a request. Content is left out unless asked for.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from moa.backends.providers import endpoint
from moa.backends.resolve import is_http, model_spec
from moa.errors import MissingExtraError, UsageError
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
MODEL = "gen_ai.request.model"
CONVENTIONAL = {"gemini": "gcp.gemini", "mistral": "mistral_ai", "xai": "x_ai"}
"""Providers whom the conventions call otherwise than we do."""

_QUOTED = re.compile(r"""(?<!\w)(['"]).*\1(?!\w)""", re.DOTALL)

Call = tuple[int, str, object]
"""The run, the first node, and the task that asks: a selector may ask several times at once."""


class Telemetry:
    """A listener that turns events into spans: `Runner(listeners=[Telemetry()])`.

    Args:
        provider: a tracer provider; by default the process's own.
        content: whether the nodes' texts are recorded too; else whatever a message quotes is left out as well.

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
        self._calls: dict[Call, Span] = {}
        self._models: dict[str, dict[str, Any]] = {}
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
                if span := self._calls.get(_call(event)):
                    error = self._shown(event.error)
                    span.add_event("retry", {"attempt": event.attempt, "delay": event.delay, "error": error})
            case CallFinished():
                self._finish_call(event)
            case Warned():
                span = self._nodes.get((event.run, event.node)) or self._runs.get(event.run)
                if span:
                    span.add_event("warning", {"message": self._shown(event.message)})
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
        if self._content and event.text:
            span.set_attribute("gen_ai.output.messages", _messages(event))
        failed = event.error is not None and event.state in ("failed", "empty")
        self._end(span, event.time, f"{event.state}: {event.error}" if failed else None)

    def _start_call(self, event: CallStarted) -> None:
        asked = self._models.get(event.model)
        if asked is None:
            asked = self._models[event.model] = _asked(event.model)
        parent = self._nodes.get((event.run, event.nodes[0]))
        span = self._span(f"chat {asked.get(MODEL, '')}".rstrip(), event.time, parent, client=True)
        span.set_attributes({OPERATION: "chat", **asked})
        if len(event.nodes) > 1:
            span.set_attribute("gen_ai.request.choice.count", len(event.nodes))
        self._calls[_call(event)] = span

    def _finish_call(self, event: CallFinished) -> None:
        span = self._calls.pop(_call(event), None)
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
        for call in [call for call in self._calls if call[0] == event.run]:
            self._end(self._calls.pop(call), event.time, "cancelled")
        for node in [node for node in self._nodes if node[0] == event.run]:
            self._end(self._nodes.pop(node), event.time, "cancelled")

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
            span.set_status(self._trace.StatusCode.ERROR, self._shown(error))
        span.end(self._nanoseconds(at))

    def _shown(self, message: str) -> str:
        """A message without what it quotes, which may be what a model or a user said."""
        return message if self._content else _QUOTED.sub("'…'", message)

    def _nanoseconds(self, at: float) -> int:
        return int((at + self._offset) * 1e9)


def _messages(event: NodeFinished) -> str:
    """A node's text as the conventions write what a model said."""
    part = {"type": "text", "content": event.text}
    reason = "length" if event.state == "truncated" else "stop"
    return json.dumps([{"role": "assistant", "parts": [part], "finish_reason": reason}], ensure_ascii=False)


def _call(event: CallStarted | CallRetried | CallFinished) -> Call:
    try:
        task: object = asyncio.current_task()
    except RuntimeError:
        task = None
    return event.run, event.nodes[0], task


def _asked(name: str) -> dict[str, Any]:
    """What a model's name tells: its provider and id, and the server where there is one.

    Any server with the OpenAI API is `openai` in the conventions; its address says which one it is.
    """
    try:
        spec = model_spec(name)
        url = urlsplit(endpoint(spec).base_url) if is_http(spec) else None
    except UsageError:
        return {MODEL: name}  # a name of the user's own, from a models.yaml or a lent backend
    provider = spec.provider or "openai"
    model = spec.model or (name.partition(":")[2] or provider if url is None else "")
    asked: dict[str, Any] = {
        PROVIDER: CONVENTIONAL.get(provider, provider),
        **({MODEL: model} if model else {}),
    }
    if url is not None and url.hostname:
        port = url.port or (443 if url.scheme == "https" else 80)
        asked |= {"server.address": url.hostname, "server.port": port}
    return asked
