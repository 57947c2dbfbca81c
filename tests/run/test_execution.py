from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

import moa
from moa.backends.base import Request
from moa.errors import (
    BadRequestError,
    BudgetExceededError,
    ContextOverflowError,
    DeadlineExceededError,
    EmptyReplyError,
    QuorumError,
)
from moa.nodes.response import Response
from moa.nodes.selector import SelectContext
from moa.run.events import Event, NodeFinished, TextArrived
from tests.support.backends import Scripted

PROPOSER = moa.AgentSpec(name="proposer", sampling=moa.Sampling(temperature=0.7))
AGGREGATOR = moa.AgentSpec.model_validate(
    {
        "name": "aggregator",
        "inputs": {"references": "1+"},
        "system": "Responses:\n{% for r in references %}\n{{ loop.index }}. {{ r.text }}\n{% endfor %}",
    }
)


def ensemble(models: Sequence[str] = ("t:a", "t:b", "t:c"), **answer: Any) -> moa.Graph:
    graph = moa.Graph("test")
    drafts = graph.agent(PROPOSER, models=models, name="drafts")
    graph.answer = graph.agent(AGGREGATOR, model="t:z", inputs=drafts, **answer)
    return graph


def system_of(backend: Scripted) -> str:
    return str(backend.requests[-1].messages[0]["content"])


async def attempt(graph: moa.Graph, backends: Mapping[str, Scripted], **options: Any) -> moa.Reply:
    async with moa.Runner(backends=backends, retry=moa.RetryPolicy(attempts=1), **options) as runner:
        return await runner.attempt(graph, "why")


def panel(**scripts: Any) -> dict[str, Scripted]:
    """Models t:a, t:b, ... that say their letter unless told otherwise."""
    names = {*"abcdefz", *scripts}
    return {
        f"t:{name}": Scripted(scripts.get(name) or (lambda request, name=name: f"text of {name}"))
        for name in names
    }


async def test_the_aggregator_hears_the_references_numbered_in_the_order_of_the_graph() -> None:
    backends = panel(a=lambda r: 0.03, b=lambda r: 0.001)
    reply = await attempt(ensemble(), backends)
    assert reply.ok and reply.text == "text of z"
    assert system_of(backends["t:z"]) == "Responses:\n1. why #0\n2. why #0\n3. text of c"
    assert [node.id for node in reply.nodes] == ["drafts[0]", "drafts[1]", "drafts[2]", "answer"]
    assert reply.node("answer").references == ("drafts[0]", "drafts[1]", "drafts[2]")
    assert reply.usage.total_tokens == 4 * 15


async def test_one_model_in_several_places_gives_independent_samples_in_one_request() -> None:
    backends = {"t:a": Scripted(), "t:z": Scripted()}
    reply = await attempt(ensemble(["t:a"] * 3), backends)
    assert [node.text for node in reply.nodes[:3]] == ["why #0", "why #1", "why #2"]
    assert [request.n for request in backends["t:a"].requests] == [3]


async def test_a_failed_reference_is_reported_and_the_rest_goes_on() -> None:
    backends = panel(b=lambda r: BadRequestError("t:b is out of order"))
    reply = await attempt(ensemble(), backends)
    assert reply.ok
    assert system_of(backends["t:z"]) == "Responses:\n1. text of a\n2. text of c"
    assert reply.warnings == ("drafts[1]: no response: t:b is out of order",)
    assert reply.node("drafts[1]").state == "failed"
    assert reply.node("answer").references == ("drafts[0]", "drafts[2]")


async def test_fewer_than_half_of_the_references_is_an_error_that_names_each_reason_once() -> None:
    backends = panel(a=lambda r: BadRequestError("no"), b=lambda r: BadRequestError("no"))
    reply = await attempt(ensemble(), backends)
    assert isinstance(reply.error, QuorumError)
    assert str(reply.error) == "`answer` cannot have the 2 of 3 inputs that it needs: drafts[0]: no"
    assert not backends["t:z"].requests
    with pytest.raises(QuorumError):
        _ = reply.text
    assert reply.to_json()["answer"] is None


async def test_a_quorum_goes_on_at_once_and_really_cancels_the_rest() -> None:
    backends = panel(a=lambda r: 30.0)
    began = time.monotonic()
    reply = await attempt(ensemble(quorum=2), backends)
    assert time.monotonic() - began < 5
    assert reply.ok and backends["t:a"].cancelled == 1 and backends["t:a"].in_flight == 0
    assert reply.node("drafts[0]").state == "cancelled"
    assert reply.warnings == ("drafts[0]: cancelled: `answer` went on without it",)


async def test_samples_that_a_quorum_may_cancel_are_requests_of_their_own() -> None:
    def slow_third(request: Request) -> str | float:
        return 30.0 if request.seed == 2 else "text"

    backends = {"t:a": Scripted(slow_third), "t:z": Scripted()}
    reply = await attempt(ensemble(["t:a"] * 3, quorum=2), backends)
    assert reply.ok and backends["t:a"].cancelled == 1
    assert [request.n for request in backends["t:a"].requests] == [1, 1, 1]


async def test_a_quorum_that_cannot_be_reached_fails_at_once_and_cancels_the_rest() -> None:
    backends = panel(a=lambda r: BadRequestError("no"), b=lambda r: BadRequestError("no"), c=lambda r: 30.0)
    reply = await attempt(ensemble(quorum=2), backends)
    assert isinstance(reply.error, QuorumError)
    assert backends["t:c"].cancelled == 1


async def test_a_deadline_lets_a_quorum_suffice_only_after_it_has_passed() -> None:
    backends = panel(a=lambda r: 30.0, b=lambda r: 0.05)
    began = time.monotonic()
    reply = await attempt(ensemble(quorum=1, deadline=0.2), backends)
    assert 0.19 < time.monotonic() - began < 5
    assert reply.node("answer").references == ("drafts[1]", "drafts[2]")
    assert backends["t:a"].cancelled == 1


async def test_stragglers_of_stragglers_are_cancelled_too() -> None:
    graph = moa.Graph("deep")
    slow = graph.agent(PROPOSER, model="t:a", name="slow")
    late = graph.agent(AGGREGATOR, model="t:b", inputs=slow, name="late")
    quick = graph.agent(PROPOSER, model="t:c", name="quick")
    graph.answer = graph.agent(AGGREGATOR, model="t:z", inputs=[late, quick], quorum=1)
    backends = panel(a=lambda r: 30.0)
    reply = await attempt(graph, backends)
    assert reply.ok and backends["t:a"].cancelled == 1 and not backends["t:b"].requests
    assert [node.state for node in reply.nodes] == ["cancelled", "cancelled", "ok", "ok"] or {
        node.id: node.state for node in reply.nodes
    } == {"slow": "cancelled", "late": "cancelled", "quick": "ok", "answer": "ok"}


async def test_an_input_that_another_node_still_wants_is_not_cancelled() -> None:
    graph = moa.Graph("shared")
    drafts = graph.agent(PROPOSER, models=["t:a", "t:b"], name="drafts")
    hasty = graph.agent(AGGREGATOR, model="t:c", inputs=drafts, quorum=1, name="hasty")
    patient = graph.agent(AGGREGATOR, model="t:d", inputs=drafts, name="patient", quorum=2)
    graph.answer = graph.agent(AGGREGATOR, model="t:z", inputs=[hasty, patient])
    backends = panel(a=lambda r: 0.05)
    reply = await attempt(graph, backends)
    assert reply.ok and backends["t:a"].cancelled == 0
    assert reply.node("patient").references == ("drafts[0]", "drafts[1]")


async def test_an_empty_answer_is_a_named_error_and_an_empty_reference_a_warning() -> None:
    backends = panel(z=lambda r: " ")
    reply = await attempt(ensemble(), backends)
    assert isinstance(reply.error, EmptyReplyError)
    backends = panel(a=lambda r: "")
    reply = await attempt(ensemble(), backends)
    assert reply.ok and reply.node("drafts[0]").state == "empty"
    assert system_of(backends["t:z"]) == "Responses:\n1. text of b\n2. text of c"
    assert "drafts[0]" in reply.warnings[0]


async def test_a_node_that_takes_too_long_fails_by_name() -> None:
    backends = panel(z=lambda r: 30.0)
    reply = await attempt(ensemble(timeout=0.05), backends)
    assert "took longer than its timeout of 0.05 s" in str(reply.error)
    assert backends["t:z"].cancelled == 1


async def test_the_runs_own_limit_cancels_everything() -> None:
    backends = panel(a=lambda r: 30.0, b=lambda r: 30.0)
    reply = await attempt(ensemble(), backends, timeout=0.05)
    assert isinstance(reply.error, DeadlineExceededError)
    assert backends["t:a"].cancelled == backends["t:b"].cancelled == 1
    assert reply.node("drafts[2]").state == "ok" and reply.node("answer").state == "skipped"


async def test_a_cancelled_run_leaves_nothing_behind() -> None:
    backends = panel(a=lambda r: 30.0)
    async with moa.Runner(backends=backends) as runner:
        task = asyncio.create_task(runner.attempt(ensemble(), "why"))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert backends["t:a"].in_flight == 0
    assert len(asyncio.all_tasks()) == 1


async def test_a_spent_budget_ends_the_run_with_its_name() -> None:
    reply = await attempt(ensemble(), panel(), budget=moa.Budget(tokens=40))
    assert isinstance(reply.error, BudgetExceededError)


async def test_a_selector_of_ones_own_chooses_and_its_bug_is_a_named_failure() -> None:
    class Last(moa.Selector):
        broken: bool = False

        def kept(self, count: int) -> int:
            return 1

        async def select(self, responses: Sequence[Response], context: SelectContext) -> list[Response]:
            if self.broken:
                raise ZeroDivisionError("oops")
            context.warn(f"asked {context.question!r}")
            return [responses[-1]]

    moa.register_selector("test-last", Last)
    graph = moa.Graph("own")
    drafts = graph.agent(PROPOSER, models=["t:a", "t:b"])
    graph.answer = graph.select("test-last", inputs=drafts)
    reply = await attempt(graph, panel())
    assert reply.text == "text of b" and reply.warnings == ("answer: asked 'why'",)
    graph = moa.Graph("broken")
    drafts = graph.agent(PROPOSER, models=["t:a", "t:b"])
    graph.answer = graph.select({"test-last": {"broken": True}}, inputs=drafts)
    reply = await attempt(graph, panel())
    assert str(reply.error) == "`answer` failed: ZeroDivisionError: oops"


async def test_streaming_gives_the_final_nodes_text_and_then_the_reply() -> None:
    backends = panel(z=lambda r: "one two three")
    async with moa.Runner(backends=backends) as runner:
        stream = runner.stream(ensemble(), "why")
        with pytest.raises(moa.MoaError, match="read to its end"):
            _ = stream.reply
        pieces = [piece async for piece in stream]
    assert pieces == ["one ", "two ", "three "]
    assert stream.reply.text == "one two three"


async def test_a_stream_that_is_left_early_cancels_the_run() -> None:
    backends = panel(a=lambda r: 30.0)
    async with moa.Runner(backends=backends) as runner:
        stream = aiter(runner.stream(ensemble(), "why"))
        waiting: asyncio.Task[str] = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0.05)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert backends["t:a"].cancelled == 1


async def test_events_tell_the_whole_story_in_order() -> None:
    events: list[Event] = []
    await attempt(ensemble(), panel(), listeners=[events.append])
    kinds = [type(event).__name__ for event in events]
    assert kinds[0] == "RunStarted" and kinds[-1] == "RunFinished"
    assert kinds.count("CallStarted") == kinds.count("CallFinished") == 4
    finished = [event for event in events if isinstance(event, NodeFinished)]
    assert finished[-1].node == "answer" and finished[-1].text == "text of z"
    assert not [event for event in events if isinstance(event, TextArrived)]


async def test_references_that_overflow_are_shortened_and_reported() -> None:
    backends = panel(a=lambda r: "long " * 2000, b=lambda r: "short")
    models = {"t:z": moa.ModelSpec(name="t:z", provider="custom", context=600)}

    class Windowed(Scripted):
        async def context_length(self) -> int:
            return 600

    backends["t:z"] = Windowed(lambda r: "done")
    reply = await attempt(ensemble(), backends, models=models)
    assert reply.ok
    heard = system_of(backends["t:z"])
    assert len(heard) < 600 * 4 and " […]" in heard and "2. short" in heard and "3. text of c" in heard
    assert reply.warnings == ("answer: 1 of 3 references shortened to fit the context window",)


async def test_the_overflow_policies_error_and_drop() -> None:
    class Windowed(Scripted):
        async def context_length(self) -> int:
            return 600

    def long(request: Request) -> str:
        return "long " * 2000

    backends = panel(c=long) | {"t:z": Windowed(lambda r: "done")}
    reply = await attempt(ensemble(overflow="error"), backends)
    assert isinstance(reply.error, ContextOverflowError) and "window of 600" in str(reply.error)
    reply = await attempt(ensemble(overflow="drop"), backends)
    assert system_of(backends["t:z"]) == "Responses:\n1. text of a\n2. text of b"
    assert reply.warnings == ("answer: dropped to fit the context window: drafts[2]",)


async def test_a_refusal_by_the_server_for_length_is_fitted_again() -> None:
    def strict(request: Request) -> str | BaseException:
        size = len(str(request.messages[0]["content"]))
        return "done" if size < 2000 else ContextOverflowError("too long", status=400)

    backends = panel(a=lambda r: "long " * 800, z=strict)
    reply = await attempt(ensemble(), backends)
    assert reply.ok and "shortened" in reply.warnings[0]


async def test_map_answers_everything_and_a_failed_item_is_a_reply_with_its_error() -> None:
    def moody(request: Request) -> str | BaseException:
        return BadRequestError("no") if "7" in str(request.messages[-1]["content"]) else "fine"

    graph = moa.Graph("one")
    graph.answer = graph.agent(PROPOSER, model="t:a")
    async with moa.Runner(backends={"t:a": Scripted(moody, latency=0.001)}) as runner:
        items = [{"instruction": f"question {number}"} for number in range(20)]
        replies = {item["instruction"]: reply async for item, reply in runner.map(graph, items, in_flight=4)}
    assert len(replies) == 20
    assert [name for name, reply in replies.items() if not reply.ok] in (
        ["question 7", "question 17"],
        ["question 17", "question 7"],
    )


async def test_map_reads_its_items_only_as_they_are_needed() -> None:
    read = 0

    def items() -> Any:
        nonlocal read
        for number in range(1000):
            read += 1
            yield f"question {number}"

    graph = moa.Graph("one")
    graph.answer = graph.agent(PROPOSER, model="t:a")
    async with moa.Runner(backends={"t:a": Scripted()}) as runner:
        async for _ in runner.map(graph, items(), in_flight=5):
            assert read <= 20
            break


async def test_a_spent_budget_ends_a_map() -> None:
    graph = moa.Graph("one")
    graph.answer = graph.agent(PROPOSER, model="t:a")
    answered = 0
    async with moa.Runner(backends={"t:a": Scripted()}, budget=moa.Budget(tokens=100)) as runner:
        with pytest.raises(BudgetExceededError):
            async for _ in runner.map(graph, (f"q {n}" for n in range(100))):
                answered += 1
    assert 5 <= answered <= 7


@pytest.mark.parametrize(
    "question", ["", "  ", [], [{"role": "assistant", "content": "hi"}], [{"content": "x"}]]
)
async def test_what_is_not_a_question_is_refused(question: Any) -> None:
    graph = moa.Graph("one")
    graph.answer = graph.agent(PROPOSER, model="t:a")
    async with moa.Runner(backends={"t:a": Scripted()}) as runner:
        with pytest.raises(moa.UsageError):
            await runner.run(graph, question)


async def test_samples_that_different_nodes_wait_for_do_not_wait_for_each_other() -> None:
    graph = moa.Graph("seq")
    drafts = graph.agent(PROPOSER, model="t:a", samples=9, name="drafts")
    graph.answer = graph.agent(AGGREGATOR, model="t:z", inputs=drafts, window={"size": 6, "keep": 3})
    backends = panel()
    reply = await attempt(graph, backends)
    assert reply.ok
    assert [(request.n, request.seed) for request in backends["t:a"].requests] == [(6, 0), (3, 6)]


async def test_a_lent_backend_is_found_by_any_name() -> None:
    graph = moa.Graph("lent")
    graph.answer = graph.agent(PROPOSER, model="mine")
    async with moa.Runner(backends={"mine": Scripted(lambda r: "from mine")}) as runner:
        assert (await runner.run(graph, "why")).text == "from mine"


async def test_a_budget_is_overrun_by_one_reply_at_most() -> None:
    bounded = PROPOSER.model_copy(update={"sampling": moa.Sampling(max_tokens=50)})
    graph = moa.Graph("one")
    graph.answer = graph.agent(bounded, model="t:a")
    budget = moa.Budget(tokens=300)
    async with moa.Runner(backends={"t:a": Scripted(latency=0.01)}, budget=budget) as runner:
        with pytest.raises(BudgetExceededError):
            async for _ in runner.map(graph, (f"q {n}" for n in range(100))):
                pass
        assert 250 <= runner.ledger.usage.total_tokens <= 350
