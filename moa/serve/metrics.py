"""GET /metrics: what the server does, in figures for Prometheus; never a text, a key or an address."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import Any

from aiohttp import web

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
    TextArrived,
)
from moa.serve.admission import Admission
from moa.serve.context import Context
from moa.serve.refusal import Refusal

SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60, 120, 300, 600)
"""Upper edges of the buckets of durations."""
UNKNOWN = "unknown"
"""Stands for whatever a caller made up: a model or an address that is not here."""
_MEMBER = re.compile(r"(\[\d+\])+$")


class _Run:
    """One question under way: when it began, and which of its nodes and calls have."""

    __slots__ = ("began", "calls", "first", "graph", "nodes")

    def __init__(self, graph: str, began: float) -> None:
        self.graph = graph
        self.began = began
        self.first = False
        self.nodes: dict[str, float] = {}
        self.calls = 0


class Figures:
    """The figures of one server, in a registry of its own; without prometheus-client there are none.

    Labels take few values: the ids of served models, names of nodes in their graphs, and the server's own addresses.
    """

    def __init__(self, models: frozenset[str], timer: Callable[[], float] = time.monotonic) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self._models = models
        self._timer = timer
        self._runs: dict[tuple[str, int], _Run] = {}
        self.registry = CollectorRegistry()

        def made(kind: Any, name: str, text: str, labels: tuple[str, ...] = (), **more: Any) -> Any:
            metric = kind(name, text, labels, registry=self.registry, **more)
            metric.labels = cache(metric.labels)  # they are looked up with each event, and are few
            return metric

        buckets = {"buckets": SECONDS}
        self._requests = made(Counter, "moa_http_requests", "HTTP requests.", ("method", "path", "status"))
        self._request_seconds = made(
            Histogram, "moa_http_request_seconds", "Seconds of HTTP requests.", ("path",), **buckets
        )
        self._answers = made(
            Histogram, "moa_answer_seconds", "Seconds of answers of a graph.", ("model",), **buckets
        )
        self._first = made(
            Histogram,
            "moa_first_text_seconds",
            "Seconds to the first text of a streamed answer.",
            ("model",),
            **buckets,
        )
        self._failed = made(
            Counter, "moa_answers_failed", "Questions that ended without an answer.", ("model",)
        )
        self._nodes = made(
            Histogram, "moa_node_seconds", "Seconds of a node of a graph.", ("model", "node"), **buckets
        )
        self._states = made(
            Counter, "moa_node_results", "What became of nodes.", ("model", "node", "state", "cached")
        )
        self._calls = made(Counter, "moa_calls", "Requests to models behind a graph.", ("model", "outcome"))
        self._retries = made(Counter, "moa_call_retries", "Requests that were sent again.", ("model",))
        self._tokens = made(Counter, "moa_tokens", "Tokens of calls behind a graph.", ("model", "kind"))
        self._cost = made(Counter, "moa_cost_usd", "US dollars, where prices are known.", ("model",))
        self._in_flight = made(Gauge, "moa_calls_in_flight", "Requests to models that are under way.")
        self._under_way = made(Gauge, "moa_questions_in_flight", "Questions in a graph.")
        self._places = made(
            Gauge, "moa_admission", "Questions that run, and that wait for a place.", ("state",)
        )
        self._errors = made(Counter, "moa_errors", "Failed calls, by what went wrong.", ("kind",))

    def hear(self, context: Context, event: Event) -> None:
        """Take an event of a request's question; what belongs to no question known here is passed over."""
        if isinstance(event, RunStarted):
            self._runs[context.id, event.run] = _Run(self._model(context), event.time)
            self._under_way.inc()
            return
        run = self._runs.get((context.id, event.run))
        if run is None:
            return
        if isinstance(event, TextArrived):  # by far the most
            if not run.first:
                self._note_first(run)
            return
        self._hear(run, event)
        if isinstance(event, RunFinished):
            self._leave((context.id, event.run))

    def _hear(self, run: _Run, event: Event) -> None:
        match event:
            case NodeStarted():
                run.nodes[event.node] = event.time
            case NodeFinished():
                self._note_node(run, event)
            case CallStarted():
                run.calls += 1
                self._in_flight.inc()
            case CallFinished():
                self._note_call(run, event)
            case CallRetried():
                self._retries.labels(run.graph).inc()
            case RunFinished():
                self._answers.labels(run.graph).observe(max(0.0, event.time - run.began))
                if event.error:
                    self._failed.labels(run.graph).inc()

    def _note_first(self, run: _Run) -> None:
        run.first = True
        self._first.labels(run.graph).observe(max(0.0, self._timer() - run.began))

    def _note_node(self, run: _Run, event: NodeFinished) -> None:
        node = _MEMBER.sub("", event.node)
        self._states.labels(run.graph, node, event.state, str(event.cached).lower()).inc()
        began = run.nodes.pop(event.node, None)
        if began is not None:
            self._nodes.labels(run.graph, node).observe(max(0.0, event.time - began))

    def _note_call(self, run: _Run, event: CallFinished) -> None:
        run.calls -= 1
        self._in_flight.dec()
        self._calls.labels(run.graph, "failed" if event.error else "ok").inc()
        if event.error:
            self._errors.labels(event.error).inc()
        for kind, count in (
            ("input", event.usage.input_tokens),
            ("output", event.usage.output_tokens),
            ("cached", event.usage.cached_tokens),
        ):
            if count:
                self._tokens.labels(run.graph, kind).inc(count)

    def ended(self, request: web.Request, context: Context, status: int, seconds: float) -> None:
        """A request is over, and with it whatever was under way for it."""
        path = _path(request)
        self._requests.labels(request.method if path != UNKNOWN else UNKNOWN, path, str(status)).inc()
        self._request_seconds.labels(path).observe(seconds)
        if context.cost:
            self._cost.labels(self._model(context)).inc(context.cost)
        for key in [key for key in self._runs if key[0] == context.id]:
            self._leave(key)

    def _leave(self, key: tuple[str, int]) -> None:
        """A question is over; what was under way for it when it was cancelled is so no more."""
        self._under_way.dec()
        self._in_flight.dec(self._runs.pop(key).calls)

    def text(self, admission: Admission) -> bytes:
        """Everything, in Prometheus' text format."""
        from prometheus_client import generate_latest

        self._places.labels("running").set(admission.running)
        self._places.labels("queued").set(admission.queued)
        return generate_latest(self.registry)

    def _model(self, context: Context) -> str:
        return context.model if context.model in self._models else UNKNOWN


def figures(models: frozenset[str], timer: Callable[[], float]) -> Figures | None:
    """The figures of a server; None where prometheus-client is not installed."""
    return Figures(models, timer) if find_spec("prometheus_client") else None


async def metrics(request: web.Request) -> web.Response:
    """All figures; 501 where the extra is missing."""
    from moa.serve.house import HOUSE

    house = request.app[HOUSE]
    if house.figures is None:
        raise Refusal(501, str(MissingExtraError("/metrics", "metrics")), code="not_installed")
    body = house.figures.text(house.admission)
    return web.Response(body=body, headers={"content-type": "text/plain; version=0.0.4; charset=utf-8"})


def _path(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else UNKNOWN
