"""Spans of real runs, as OpenTelemetry's SDK exports them."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

import moa
from moa.errors import MissingExtraError, QuorumError
from tests.support.backends import Scripted, in_turn
from tests.support.faults import FaultServer, status

QUESTION = "Why is the secret sky blue?"
KEY = "sk-proj-abcdefghijklmnop1234567890"


class Spans:
    """What was exported, by name."""

    def __init__(self, *, content: bool = False) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.listener = moa.Telemetry(provider, content=content)

    @property
    def all(self) -> tuple[ReadableSpan, ...]:
        return self._exporter.get_finished_spans()

    def called(self, start: str) -> list[ReadableSpan]:
        return [span for span in self.all if span.name.startswith(start)]

    def one(self, start: str) -> ReadableSpan:
        (span,) = self.called(start)
        return span

    def node(self, id: str) -> ReadableSpan:
        (span,) = [span for span in self.all if about(span).get("gen_ai.agent.id") == id]
        return span

    @property
    def text(self) -> str:
        return "\n".join(span.to_json() for span in self.all)


def about(span: ReadableSpan) -> Mapping[str, Any]:
    return span.attributes or {}


def parent(span: ReadableSpan) -> int | None:
    return span.parent.span_id if span.parent else None


def number(span: ReadableSpan) -> int:
    assert span.context is not None
    return int(span.context.span_id)


def within(inner: ReadableSpan, outer: ReadableSpan) -> bool:
    times = (outer.start_time, inner.start_time, inner.end_time, outer.end_time)
    assert None not in times
    return list(times) == sorted(times)  # type: ignore[type-var]


class Asked(NamedTuple):
    reply: moa.Reply
    spans: Spans


async def asked(graph: moa.Graph, *, content: bool = False, **runner: Any) -> Asked:
    spans = Spans(content=content)
    async with moa.Runner(listeners=[spans.listener], retry=moa.RetryPolicy(3, 0.001), **runner) as running:
        return Asked(await running.attempt(graph, QUESTION), spans)


def ensemble(*models: str, samples: int = 1, **fields: Any) -> moa.Graph:
    graph = moa.Graph("duo")
    drafts = graph.agent("proposer", models=list(models), samples=samples, name="drafts")
    graph.answer = graph.agent("aggregator", model=models[0], inputs=drafts, **fields)
    return graph


async def test_a_question_is_a_tree_of_spans() -> None:
    async with FaultServer() as server:
        model = f"{server.url}#vendor/writer"
        reply, spans = await asked(ensemble(model, samples=2))
    run = spans.one("invoke_workflow")
    agents, chats = spans.called("invoke_agent"), spans.called("chat")
    assert (len(agents), len(chats), len(spans.all)) == (3, 2, 6), "two equal samples are one request"
    assert run.name == "invoke_workflow duo"
    assert parent(run) is None
    assert {parent(span) for span in agents} == {number(run)}
    assert [parent(span) for span in chats] == [number(spans.node("drafts[0]")), number(spans.node("answer"))]
    assert len({span.context.trace_id for span in spans.all if span.context}) == 1
    assert all(within(span, run) for span in agents)
    assert within(chats[0], spans.node("drafts[0]")) and within(chats[1], spans.node("answer"))
    assert {span.kind for span in chats} == {SpanKind.CLIENT}
    assert {span.kind for span in (run, *agents)} == {SpanKind.INTERNAL}
    assert {span.status.status_code for span in spans.all} == {StatusCode.UNSET}
    assert reply.ok


async def test_attributes_are_those_of_the_conventions() -> None:
    async with FaultServer() as server:
        reply, spans = await asked(ensemble(f"{server.url}#vendor/writer", samples=2))
    first, last = spans.called("chat")
    host, _, port = server.root.removeprefix("http://").partition(":")
    told = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "vendor/writer",
        "server.address": host,
        "server.port": int(port),
    }
    assert first.name == last.name == "chat vendor/writer"
    assert {key: about(first)[key] for key in told} == {key: about(last)[key] for key in told} == told
    assert about(first)["gen_ai.request.choice.count"] == 2
    assert "gen_ai.request.choice.count" not in about(last)
    for kind in ("input", "output"):
        key = f"gen_ai.usage.{kind}_tokens"
        spent = getattr(reply.usage, f"{kind}_tokens")
        assert about(first)[key] + about(last)[key] == spent > 0
        own = [about(span)[f"gen_ai.aggregated_usage.{kind}_tokens"] for span in spans.called("invoke_agent")]
        assert sum(own) == spent
    assert about(spans.one("invoke_workflow")) == {
        "gen_ai.operation.name": "invoke_workflow",
        "gen_ai.workflow.name": "duo",
    }
    answer = about(spans.node("answer"))
    assert answer["gen_ai.operation.name"] == "invoke_agent"
    assert answer["gen_ai.agent.name"] == "aggregator"
    assert (answer["moa.node.state"], answer["moa.node.cached"]) == ("ok", False)


@pytest.mark.parametrize(
    "name, told",
    [
        ("sim:skill=1", {"gen_ai.provider.name": "sim", "gen_ai.request.model": "skill=1"}),
        ("mine", {"gen_ai.request.model": "mine"}),
    ],
)
async def test_models_that_no_server_answers_have_no_address(name: str, told: dict[str, str]) -> None:
    graph = moa.Graph()
    graph.answer = graph.agent("proposer", model=name)
    _, spans = await asked(graph, backends={"mine": Scripted()})
    chat = about(spans.one("chat"))
    wanted = {"gen_ai.provider.name", "gen_ai.request.model", "server.address", "server.port"}
    assert {key: value for key, value in chat.items() if key in wanted} == told


@pytest.mark.parametrize("content", [False, True])
async def test_content_is_recorded_only_where_it_is_wished_for(content: bool) -> None:
    backend = Scripted(lambda request: 'A "hidden" word; I rank nothing')
    graph = moa.Graph()
    drafts = graph.agent("proposer", model="m", samples=2, name="drafts")
    graph.answer = graph.select("top-k", agent="ranker", model="m", inputs=drafts)
    reply, spans = await asked(graph, content=content, backends={"m": backend})
    assert any("hidden" in warning for warning in reply.warnings), "a warning quotes the ranker"
    assert ("hidden" in spans.text) is content
    assert "secret" not in spans.text
    messages = about(spans.node("drafts[0]")).get("gen_ai.output.messages")
    if messages is None:
        assert not content
        return
    assert json.loads(messages) == [
        {
            "role": "assistant",
            "parts": [{"type": "text", "content": 'A "hidden" word; I rank nothing'}],
            "finish_reason": "stop",
        }
    ]


async def test_warnings_are_events_of_their_node() -> None:
    graph = moa.Graph()
    drafts = graph.agent("proposer", model="m", samples=2, name="drafts")
    graph.answer = graph.select("top-k", agent="ranker", model="m", inputs=drafts)
    _, spans = await asked(graph, backends={"m": Scripted(lambda request: "it's 'odd', isn't it")})
    (event,) = spans.node("answer").events
    assert event.name == "warning"
    assert event.attributes == {"message": "the agent's reply '…' could not be read; kept the first 1 of 2"}


async def test_every_error_has_its_span_and_its_type() -> None:
    async with FaultServer(always=status(500)) as server:
        reply, spans = await asked(ensemble(f"{server.url}#a", f"{server.url}#b"))
    assert isinstance(reply.error, QuorumError)
    run = spans.one("invoke_workflow")
    assert run.status.status_code is StatusCode.ERROR
    assert about(run)["error.type"] == "QuorumError"
    drafts = spans.called("invoke_agent")
    assert [about(span)["error.type"] for span in drafts] == ["failed", "failed"], "the answer never began"
    assert {span.status.status_code for span in drafts} == {StatusCode.ERROR}
    assert {about(span)["error.type"] for span in spans.called("chat")} == {"ServerFailedError"}
    assert len(spans.called("chat")) == 2, "an aggregator that cannot be asked sends nothing"
    retries = [[event.name for event in span.events] for span in spans.called("chat")]
    assert retries == [["retry", "retry"]] * 2
    event = spans.called("chat")[0].events[1]
    assert event.attributes is not None
    assert event.attributes["attempt"] == 2 and event.attributes["delay"] >= 0  # type: ignore[operator]


async def test_one_failure_of_several_is_no_failure_of_the_run() -> None:
    backends = {"m": Scripted(), "bad": Scripted(in_turn([moa.BackendError("no such model")]))}
    reply, spans = await asked(ensemble("m", "bad"), backends=backends)
    assert reply.ok
    failed = [span.name for span in spans.all if span.status.status_code is StatusCode.ERROR]
    assert sorted(failed) == ["chat bad", "invoke_agent proposer"]
    warned = [event for span in spans.all for event in span.events if event.name == "warning"]
    assert len(warned) == 1


async def test_whoever_is_cancelled_has_an_end_too() -> None:
    backends = {"m": Scripted(), "slow": Scripted(latency=60)}
    reply, spans = await asked(ensemble("m", "slow", quorum=1), backends=backends)
    assert reply.ok
    assert about(spans.node("drafts[1]"))["moa.node.state"] == "cancelled"
    assert about(spans.one("chat slow"))["error.type"] == "CancelledError"
    assert all(span.end_time for span in spans.all)
    _, spans = await asked(ensemble("slow"), backends=backends, timeout=0.05)
    assert about(spans.one("invoke_workflow"))["error.type"] == "DeadlineExceededError"
    assert about(spans.node("drafts"))["error.type"] == "cancelled"
    assert len(spans.all) == 3


async def test_a_selector_that_asks_several_times_at_once_has_a_span_for_each() -> None:
    graph = moa.Graph()
    drafts = graph.agent("proposer", model="m", samples=5, name="drafts")
    graph.answer = graph.select({"top-k": {"each": True}}, agent="scorer", model="judge", inputs=drafts)
    backends = {"m": Scripted(), "judge": Scripted(lambda request: "Score: 3/10", latency=0.01)}
    reply, spans = await asked(graph, backends=backends)
    chats = spans.called("chat judge")
    assert len(chats) == 5
    assert {parent(span) for span in chats} == {number(spans.node("answer"))}
    assert sum(about(span)["gen_ai.usage.input_tokens"] for span in chats) == 50
    assert all(span.end_time - span.start_time > 5e6 for span in chats if span.end_time and span.start_time)
    assert about(spans.node("answer"))["gen_ai.agent.name"] == reply.node("answer").agent


async def test_what_is_stored_is_not_asked_and_has_no_span(tmp_path: Path) -> None:
    store = tmp_path / "store.sqlite"
    await asked(ensemble("m"), backends={"m": Scripted()}, store=store)
    _, spans = await asked(ensemble("m"), backends={"m": Scripted()}, store=store, reuse=True)
    assert spans.called("chat") == []
    assert about(spans.node("drafts"))["moa.node.cached"] is True


async def test_questions_that_run_together_have_traces_of_their_own() -> None:
    spans = Spans()
    async with moa.Runner(listeners=[spans.listener], backends={"m": Scripted(latency=0.005)}) as runner:
        async for _, reply in runner.map(ensemble("m", samples=2), [f"Question {n}" for n in range(8)]):
            assert reply.ok
    traces: dict[int, list[str]] = {}
    for span in spans.all:
        assert span.context is not None
        traces.setdefault(span.context.trace_id, []).append(span.name.partition(" ")[0])
    assert len(traces) == 8
    assert {tuple(sorted(names)) for names in traces.values()} == {
        ("chat", "chat", "invoke_agent", "invoke_agent", "invoke_agent", "invoke_workflow")
    }


@pytest.mark.parametrize("code", [401, 500])
async def test_no_key_is_ever_recorded(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some servers repeat the key in their error; `content` makes no difference."""
    monkeypatch.setenv("MY_KEY", KEY)
    async with FaultServer(always=status(code, f"Incorrect API key provided: {KEY}")) as server:
        spec = moa.ModelSpec(base_url=server.url, model="m", key_env="MY_KEY")
        _, spans = await asked(ensemble("mine"), content=True, models={"mine": spec})
        assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert spans.called("chat mine")
    assert KEY not in spans.text
    assert "abcdefghijkl" not in spans.text


def test_without_opentelemetry_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(MissingExtraError, match="otel"):
        moa.Telemetry()


async def test_without_a_provider_it_uses_the_process_s_own_and_does_no_harm() -> None:
    async with moa.Runner(listeners=[moa.Telemetry()], backends={"m": Scripted()}) as runner:
        assert (await runner.run(ensemble("m"), QUESTION)).ok
