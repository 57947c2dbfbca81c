"""Every fault of a server through a whole graph with retries: a right answer or a named error, nothing lost.

The graph has three proposers and an aggregator, whose answer streams. The server's answers depend on what is
asked alone, so an answer is right if it is the server's answer to a prompt that holds the references.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import NamedTuple

import pytest

import moa
from moa.errors import (
    BackendTimeoutError,
    ConnectionFailedError,
    ContentFilteredError,
    EmptyReplyError,
    InvalidReplyError,
    QuorumError,
    RateLimitedError,
    ServerFailedError,
)
from moa.run.events import CallRetried, Event, TextArrived
from moa.run.reply import Reply
from tests.support.faults import (
    Exchange,
    FaultServer,
    Step,
    cut_before_body,
    cut_mid_body,
    empty_content,
    error_in_200,
    error_mid_stream,
    half_sse,
    huge_line,
    ignore_n,
    invalid_utf8,
    no_usage,
    ok,
    refuse_n,
    stall,
    status,
    truncated,
)

PATIENT = moa.RetryPolicy(attempts=3, base=0.002)
STALL = 0.2
PROPOSERS = "abc"
CLOSING = "Write one answer."
Role = Callable[[Exchange], bool]


def is_answer(exchange: Exchange) -> bool:
    return CLOSING in str(exchange.seen.body["messages"][0]["content"])


def is_draft(exchange: Exchange) -> bool:
    return bool(exchange.seen.body["model"] == "b") and not is_answer(exchange)


ROLES = {"a proposer": is_draft, "the aggregator": is_answer}


def times(count: int, fault: Step, role: Role) -> Step:
    """`fault` for the first `count` requests in this role; everything else is answered well."""
    left = [count]

    async def step(exchange: Exchange) -> None:
        hit = role(exchange) and left[0] > 0
        left[0] -= hit
        await (fault if hit else ok())(exchange)

    return step


def ensemble() -> moa.Graph:
    aggregator = moa.AgentSpec.model_validate(
        {
            "name": "aggregator",
            "inputs": {"references": "1+"},
            "system": f"{CLOSING}\n{{% for r in references %}}{{{{ loop.index }}}}. {{{{ r.text }}}}\n{{% endfor %}}",
        }
    )
    graph = moa.Graph("faulty")
    drafts = graph.agent("proposer", models=list(PROPOSERS), name="drafts")
    graph.answer = graph.agent(aggregator, model="z", inputs=drafts)
    return graph


class Outcome(NamedTuple):
    """What came of a question, and what was streamed of it."""

    reply: Reply
    streamed: str
    events: list[Event]
    server: FaultServer


async def ask(always: Step, graph: moa.Graph | None = None, question: str = "Why?") -> Outcome:
    heard: list[Event] = []
    pieces: list[str] = []
    async with FaultServer(always=always) as server:
        models = {
            name: moa.ModelSpec(name=name, base_url=server.url, model=name, options={"stall": STALL})
            for name in [*PROPOSERS, "z"]
        }
        async with moa.Runner(models=models, retry=PATIENT, listeners=[heard.append]) as runner:
            stream = runner.stream(graph or ensemble(), question)
            try:
                async for piece in stream:
                    if piece.restart:
                        pieces.clear()
                    pieces.append(piece)
            except moa.MoaError as error:
                assert error is stream.reply.error
            outcome = Outcome(stream.reply, "".join(pieces), heard, server)
    check_accounts(outcome)
    return outcome


def check_accounts(outcome: Outcome) -> None:
    """Every proposal was heard, or its loss was told; an answer is the server's answer to what was heard."""
    reply = outcome.reply
    *drafts, answer = reply.nodes
    for draft in drafts:
        if draft.usable:
            assert draft.text.strip() and not draft.error
        else:
            assert draft.error is not None and draft.text == ""
            assert any(warning.startswith(f"{draft.id}: ") for warning in reply.warnings)
    if not reply.ok:
        assert reply.error is not None and str(reply.error) and "\n" not in str(reply.error)
        return
    usable = [draft for draft in drafts if draft.usable]
    assert list(answer.references) == [draft.id for draft in usable]
    [*_, asked] = [body for body in outcome.server.bodies if CLOSING in str(body["messages"][0]["content"])]
    listed = "".join(f"{number}. {draft.text}\n" for number, draft in enumerate(usable, 1))
    assert asked["messages"][0]["content"].strip() == f"{CLOSING}\n{listed}".strip()
    if len(reply.text) < 1000:
        assert reply.text == outcome.server.answer(asked["messages"], asked["seed"], "z", 1)[0]
    assert outcome.streamed.strip() == reply.text


def ids(cases: Sequence[tuple[object, ...]]) -> list[str]:
    return [str(case[0]) for case in cases]


PASSING: list[tuple[str, Step, type[moa.BackendError]]] = [
    ("429", status(429), RateLimitedError),
    ("429 in seconds", status(429, headers={"retry-after": "0.05"}), RateLimitedError),
    ("429 in milliseconds", status(429, headers={"retry-after-ms": "50"}), RateLimitedError),
    ("429 with a reset", status(429, headers={"x-ratelimit-reset-requests": "50ms"}), RateLimitedError),
    ("429 in a 200", error_in_200(code=429), RateLimitedError),
    ("500", status(500), ServerFailedError),
    ("503", status(503), ServerFailedError),
    ("503 in seconds", status(503, headers={"retry-after": "0.05"}), ServerFailedError),
    ("cut before the body", cut_before_body(), ConnectionFailedError),
    ("cut amid the body", cut_mid_body(), ConnectionFailedError),
    ("half of it", truncated(), InvalidReplyError),
    ("invalid UTF-8", invalid_utf8(), InvalidReplyError),
    ("a stall", stall(), BackendTimeoutError),
]
STREAMED: list[tuple[str, Step, type[moa.BackendError]]] = [
    ("half an event", half_sse(), InvalidReplyError),
    ("an error amid the stream", error_mid_stream(type="server_error"), ServerFailedError),
]
BY_ROLE = pytest.mark.parametrize("role", ROLES.values(), ids=ROLES)


@BY_ROLE
@pytest.mark.parametrize(("name", "fault", "kind"), PASSING, ids=ids(PASSING))
async def test_a_fault_that_passes_leaves_no_trace_in_the_answer(
    name: str, fault: Step, kind: type[moa.BackendError], role: Role
) -> None:
    outcome = await ask(times(2, fault, role))
    assert outcome.reply.ok and outcome.reply.warnings == ()
    assert len(outcome.server.requests) == 4 + 2
    retried = [event for event in outcome.events if isinstance(event, CallRetried)]
    assert [event.attempt for event in retried] == [1, 2]


@pytest.mark.parametrize(("name", "fault", "kind"), PASSING, ids=ids(PASSING))
async def test_a_proposer_whose_fault_stays_is_missed_with_a_warning(
    name: str, fault: Step, kind: type[moa.BackendError]
) -> None:
    outcome = await ask(times(99, fault, is_draft))
    reply = outcome.reply
    assert reply.ok and len(reply.warnings) == 1
    lost = reply.node("drafts[1]")
    assert lost.state == "failed" and isinstance(lost.error, kind)
    assert f"drafts[1]: no response: {lost.error}" in reply.warnings
    assert len(outcome.server.requests) == PATIENT.attempts + 3


@pytest.mark.parametrize(("name", "fault", "kind"), PASSING + STREAMED, ids=ids(PASSING + STREAMED))
async def test_an_aggregator_whose_fault_stays_is_a_named_error(
    name: str, fault: Step, kind: type[moa.BackendError]
) -> None:
    outcome = await ask(times(99, fault, is_answer))
    assert isinstance(outcome.reply.error, kind)
    assert [node.state for node in outcome.reply.nodes] == ["ok", "ok", "ok", "failed"]
    assert len(outcome.server.requests) == 3 + PATIENT.attempts


@pytest.mark.parametrize(("name", "fault", "kind"), STREAMED, ids=ids(STREAMED))
async def test_a_stream_that_broke_begins_again(name: str, fault: Step, kind: type[moa.BackendError]) -> None:
    outcome = await ask(times(1, fault, is_answer))
    assert outcome.reply.ok
    assert any(isinstance(event, TextArrived) for event in outcome.events)


async def test_without_half_of_the_proposals_there_is_no_answer() -> None:
    outcome = await ask(times(99, status(500), lambda exchange: exchange.seen.body["model"] in ("a", "b")))
    assert isinstance(outcome.reply.error, QuorumError)
    assert len(outcome.reply.warnings) == 2
    assert not any(is_closing(body) for body in outcome.server.bodies)


def is_closing(body: object) -> bool:
    return CLOSING in json.dumps(body)


@pytest.mark.parametrize(
    ("headers", "least"),
    [
        ({"retry-after": "0.3"}, 0.3),
        ({"retry-after-ms": "300"}, 0.3),
        ({"x-ratelimit-reset-tokens": "300ms", "x-ratelimit-remaining-tokens": "0"}, 0.3),
    ],
)
async def test_the_servers_wish_is_waited_for_and_not_much_longer(
    headers: dict[str, str], least: float
) -> None:
    began = time.monotonic()
    outcome = await ask(times(1, status(429, headers=headers), is_draft))
    assert least <= time.monotonic() - began < least + 0.5
    assert outcome.reply.ok


async def test_a_date_as_the_servers_wish() -> None:
    soon = datetime.now(UTC) + timedelta(seconds=2)
    wish = status(429, headers={"retry-after": format_datetime(soon, usegmt=True)})
    outcome = await ask(times(1, wish, is_draft))
    assert outcome.reply.ok and not outcome.reply.warnings
    assert datetime.now(UTC) >= soon.replace(microsecond=0)


async def test_a_server_that_wants_an_hour_is_not_waited_for() -> None:
    outcome = await ask(times(99, status(429, headers={"retry-after": "3600"}), is_answer))
    assert isinstance(outcome.reply.error, RateLimitedError)
    assert len(outcome.server.requests) == 4


@pytest.mark.parametrize(
    "fault",
    [status(400), status(401), status(404), status(403, "Your input was flagged")],
    ids=["400", "401", "404", "filtered"],
)
async def test_what_cannot_succeed_is_not_sent_again(fault: Step) -> None:
    outcome = await ask(times(99, fault, is_answer))
    assert isinstance(outcome.reply.error, moa.BackendError)
    assert not outcome.reply.error.retryable
    assert len(outcome.server.requests) == 4


@BY_ROLE
async def test_two_megabytes_in_one_line(role: Role) -> None:
    outcome = await ask(times(1, huge_line(), role))
    node = outcome.reply.node("drafts[1]" if role is is_draft else "answer")
    assert outcome.reply.ok and node.text == "x" * 2_000_000


async def test_empty_content_that_passes() -> None:
    outcome = await ask(times(1, empty_content(), is_draft))
    assert outcome.reply.ok and not outcome.reply.warnings


async def test_empty_content_is_no_reference() -> None:
    outcome = await ask(times(99, empty_content(), is_draft))
    assert outcome.reply.ok and len(outcome.reply.warnings) == 1
    lost = outcome.reply.node("drafts[1]")
    assert lost.state == "empty" and isinstance(lost.error, EmptyReplyError)


@pytest.mark.parametrize("finish", ["stop", "length"])
async def test_empty_content_is_no_answer(finish: str) -> None:
    outcome = await ask(times(99, empty_content(finish), is_answer))
    assert isinstance(outcome.reply.error, EmptyReplyError)
    assert outcome.reply.node("answer").state == "empty"
    assert ("max_tokens" in str(outcome.reply.error)) is (finish == "length")


async def test_an_answer_that_was_filtered_away_is_a_named_error() -> None:
    outcome = await ask(times(99, empty_content("content_filter"), is_answer))
    assert isinstance(outcome.reply.error, ContentFilteredError)


async def test_an_answer_that_was_filtered_amid_says_so() -> None:
    outcome = await ask(times(1, ok(finish="content_filter"), is_answer))
    assert outcome.reply.ok and outcome.reply.node("answer").state == "truncated"
    assert "content filter" in outcome.reply.warnings[0]


async def test_an_answer_that_was_cut_off_says_so() -> None:
    outcome = await ask(times(1, ok(finish="length"), is_answer))
    assert outcome.reply.ok and outcome.reply.node("answer").state == "truncated"
    assert "cut off at max_tokens" in outcome.reply.warnings[0]


@BY_ROLE
async def test_missing_usage_is_estimated_and_marked(role: Role) -> None:
    outcome = await ask(times(1, no_usage(), role))
    node = outcome.reply.node("drafts[1]" if role is is_draft else "answer")
    assert outcome.reply.ok
    assert node.usage.estimated and node.usage.input_tokens > 0 and node.usage.output_tokens > 0
    assert outcome.reply.usage.estimated


def sampling() -> moa.Graph:
    """The same graph with three samples of one proposer."""
    graph = ensemble()
    spec = graph.spec.model_dump(exclude_defaults=True)
    spec["nodes"]["drafts"] |= {"models": None, "model": "b", "samples": 3}
    spec["nodes"]["drafts"].pop("models")
    return moa.Graph.from_spec(moa.GraphSpec.model_validate(spec))


@pytest.mark.parametrize(
    ("fault", "requests"),
    [(ignore_n(), 3), (ignore_n(2), 2), (refuse_n(), 4), (refuse_n(http=422), 4)],
    ids=["ignored", "two of three", "refused", "refused with 422"],
)
async def test_samples_are_whole_where_n_is_not(fault: Step, requests: int) -> None:
    async def step(exchange: Exchange) -> None:
        await (ok() if is_answer(exchange) else fault)(exchange)

    expected = await ask(ok(), sampling())
    outcome = await ask(step, sampling())
    texts = [node.text for node in outcome.reply.nodes[:3]]
    assert outcome.reply.ok and len(set(texts)) == 3
    assert texts == [node.text for node in expected.reply.nodes[:3]]
    assert outcome.reply.text == expected.reply.text
    assert len(outcome.server.requests) == requests + 1


@pytest.mark.parametrize("seed", range(40))
async def test_any_mixture_of_faults_ends_in_a_right_answer_or_a_named_error(seed: int) -> None:
    draw = random.Random(seed)
    faults = [fault for _, fault, _ in PASSING + STREAMED if fault is not PASSING[-1][1]]
    faults += [empty_content(), no_usage(), status(400), ok(finish="length")]

    async def step(exchange: Exchange) -> None:
        await (draw.choice(faults) if draw.random() < 0.4 else ok())(exchange)

    await ask(step)
