"""What a server does not take is learnt once: the second call sends no doomed request."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from moa.backends.base import Completion, Request
from moa.backends.failures import Told
from moa.backends.openai import OpenAICompatible
from moa.backends.providers import PRESETS
from moa.backends.quirks import Quirks
from moa.errors import BadRequestError, ContextOverflowError, ServerFailedError
from moa.spec.model import ModelSpec
from tests.support.asking import BOTH, QUESTION, Listener, ask, asking
from tests.support.faults import (
    FaultServer,
    Step,
    delay,
    deterministic,
    ignore_n,
    ok,
    refuse,
    refuse_n,
    status,
)

NO_N = [
    refuse_n(),
    refuse("n", "Invalid value"),
    refuse_n("Only one completion choice is allowed"),
    refuse_n("Only one completion choice is allowed", 500),
    refuse_n("n must equal 1 (multi-choice is not supported)"),
    refuse_n("`n` should be 1", 422),
    refuse_n("This model does not support multiple choices"),
]


def texts(completion: Completion) -> list[str]:
    return [choice.text for choice in completion.choices]


@BOTH
@pytest.mark.parametrize("step", NO_N)
async def test_n_refused(step: Step, streamed: bool) -> None:
    listener = Listener()
    async with FaultServer(always=step) as server, asking(server) as backend:
        first = await backend.complete(ask(n=3), listener if streamed else None)
        assert texts(first) == deterministic(QUESTION, 7, "m", 3)
        assert [body.get("n") for body in server.bodies] == [3, None, None, None]
        assert sorted(body["seed"] for body in server.bodies[1:]) == [7, 8, 9]
        await backend.complete(ask(n=3))
        assert len(server.bodies) == 7 and all("n" not in body for body in server.bodies[4:])
        assert backend.most({}) == 1
    if streamed:
        assert [listener.text(index) for index in range(3)] == texts(first)


@BOTH
async def test_n_ignored_keeps_what_came(streamed: bool) -> None:
    listener = Listener()
    async with FaultServer(always=ignore_n()) as server, asking(server) as backend:
        first = await backend.complete(ask(n=4), listener if streamed else None)
        assert texts(first) == deterministic(QUESTION, 7, "m", 4)
        assert (server.bodies[0]["n"], server.bodies[0]["seed"]) == (4, 7)
        assert sorted(body["seed"] for body in server.bodies[1:]) == [8, 9, 10]
        # Each request was billed for its prompt.
        assert first.usage.input_tokens == 20
        await backend.complete(ask(n=2))
        assert len(server.bodies) == 6 and all("n" not in body for body in server.bodies[1:])
    if streamed:
        assert [listener.text(index) for index in range(4)] == texts(first)


async def test_a_server_that_takes_a_few_is_asked_for_a_few() -> None:
    async with FaultServer(always=ignore_n(2)) as server, asking(server) as backend:
        assert texts(await backend.complete(ask(n=5))) == deterministic(QUESTION, 7, "m", 5)
        assert sorted((body["seed"], body.get("n")) for body in server.bodies) == [(7, 5), (9, 2), (11, None)]


async def test_the_bound_that_a_refusal_names_is_kept() -> None:
    async def at_most_two(exchange: Any) -> None:
        words = "Invalid 'n': integer above maximum value. Expected a value <= 2, but got 3 instead."
        await (status(400, words, param="n") if exchange.seen.n > 2 else ok())(exchange)

    async with FaultServer(always=at_most_two) as server, asking(server) as backend:
        assert texts(await backend.complete(ask(n=3))) == deterministic(QUESTION, 7, "m", 3)
        assert sorted(body.get("n", 1) for body in server.bodies) == [1, 2, 3]


async def test_vllm_refuses_equal_samples_only() -> None:
    async def greedy(exchange: Any) -> None:
        refused = exchange.seen.n > 1 and exchange.seen.body.get("temperature") == 0
        words = "n must be 1 when using greedy sampling, got 2."
        await (status(400, words) if refused else ok())(exchange)

    async with FaultServer(always=greedy) as server, asking(server) as backend:
        await backend.complete(ask(n=2, temperature=0))
        await backend.complete(ask(n=2, temperature=0))
        await backend.complete(ask(n=2, temperature=0.5))
        assert [body.get("n") for body in server.bodies] == [2, None, None, None, None, 2]


async def test_the_others_are_asked_side_by_side() -> None:
    async with FaultServer(always=delay(0.05)) as server:
        backend = OpenAICompatible(
            ModelSpec(name="o", provider="ollama", model="m", base_url=server.url), environ={}
        )
        await backend.complete(ask(n=5))
        assert server.peak == 5
        await backend.aclose()


async def test_one_failure_cancels_the_others_and_is_the_error() -> None:
    steps = [ignore_n(), status(503, "busy"), delay(30), delay(30)]
    async with FaultServer(*steps) as server, asking(server) as backend:
        async with asyncio.timeout(5):
            with pytest.raises(ServerFailedError, match="busy"):
                await backend.complete(ask(n=4))
            await server.left.wait()


async def test_a_filtered_reply_counts_as_a_choice_that_came() -> None:
    filtered = ok(texts=(None,), finish="content_filter")
    async with FaultServer(filtered, always=ignore_n()) as server, asking(server) as backend:
        first, second = (await backend.complete(ask(n=2))).choices
        assert (first.text, first.finish_reason) == ("", "content_filter")
        assert second.text == deterministic(QUESTION, 8, "m", 1)[0]
        assert len(server.bodies) == 2


@BOTH
async def test_max_tokens_renamed(streamed: bool) -> None:
    words = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    step = refuse("max_tokens", words, code="unsupported_parameter")
    async with FaultServer(always=step) as server, asking(server) as backend:
        for _ in range(2):
            await backend.complete(ask(max_tokens=9), Listener() if streamed else None)
        sent = [(body.get("max_tokens"), body.get("max_completion_tokens")) for body in server.bodies]
        assert sent == [(9, None), (None, 9), (None, 9)]
        assert backend.notes() == ()


async def test_max_completion_tokens_renamed() -> None:
    async with FaultServer(always=refuse("max_completion_tokens")) as server, asking(server) as backend:
        await backend.complete(ask(max_completion_tokens=9))
        assert [body.get("max_tokens") for body in server.bodies] == [None, 9]


async def test_a_server_that_takes_neither_name_refuses() -> None:
    async def neither(exchange: Any) -> None:
        name = next(name for name in exchange.seen.body if name.startswith("max_"))
        await refuse(name)(exchange)

    async with FaultServer(always=neither) as server, asking(server) as backend:
        with pytest.raises(BadRequestError, match="max_completion_tokens"):
            await backend.complete(ask(max_tokens=9))
        assert len(server.bodies) == 2


@pytest.mark.parametrize("name", ["seed", "temperature", "top_p", "top_k", "presence_penalty"])
async def test_sampling_fields_are_left_out_with_a_note(name: str) -> None:
    async with FaultServer(always=refuse(name)) as server, asking(server) as backend:
        request = Request(QUESTION, {} if name == "seed" else {name: 0.5}, seed=7)
        for _ in range(2):
            await backend.complete(request)
        assert [name in body for body in server.bodies] == [True, False, False]
        (note,) = backend.notes()
        assert note == f"mine does not take `{name}`, so it is asked without"


async def test_several_quirks_are_learnt_in_one_call() -> None:
    async def strict(exchange: Any) -> None:
        body = exchange.seen.body
        for name in ("max_tokens", "temperature", "seed"):
            if name in body:
                return await refuse(name)(exchange)
        return await refuse_n()(exchange)

    async with FaultServer(always=strict) as server, asking(server) as backend:
        request = ask(n=2, max_tokens=5, temperature=0.5)
        assert len((await backend.complete(request)).choices) == 2
        assert len(server.bodies) == 6
        await backend.complete(request)
        assert len(server.bodies) == 8
        assert len(backend.notes()) == 2


async def test_calls_at_once_learn_from_each_other() -> None:
    async with FaultServer(always=refuse("temperature")) as server, asking(server) as backend:
        async with asyncio.TaskGroup() as group:
            for _ in range(5):
                group.create_task(backend.complete(ask(temperature=0.1)))
        assert len(server.bodies) <= 10 and len(backend.notes()) == 1


async def test_stream_options_are_left_out_silently() -> None:
    async with FaultServer(always=refuse("stream_options")) as server, asking(server) as backend:
        for _ in range(2):
            completion = await backend.complete(ask(), Listener())
        assert completion.usage.estimated and backend.notes() == ()
        assert ["stream_options" in body for body in server.bodies] == [True, False, False]


@pytest.mark.parametrize(
    "name", ["response_format", "logprobs", "top_logprobs", "tools", "stop", "reasoning_effort"]
)
async def test_what_changes_the_meaning_is_an_error(name: str) -> None:
    async with FaultServer(always=refuse(name)) as server, asking(server) as backend:
        with pytest.raises(BadRequestError, match=name):
            await backend.complete(Request(QUESTION, {name: ["x"]}))
        assert len(server.bodies) == 1


@pytest.mark.parametrize(
    "words",
    [
        "temperature must be between 0 and 2",
        "`temperature` and `top_p` cannot both be specified",
        "max_tokens is too large: 100000. This model supports at most 4096 completion tokens",
    ],
)
async def test_a_mistaken_value_is_an_error(words: str) -> None:
    async with FaultServer(always=status(400, words)) as server, asking(server) as backend:
        with pytest.raises(BadRequestError):
            await backend.complete(ask(temperature=3, max_tokens=9))
        assert len(server.bodies) == 1


async def test_a_long_prompt_is_not_taken_for_a_quirk() -> None:
    words = "'max_tokens' or 'max_completion_tokens' is too large: 4096. This model's maximum context length is 2048 tokens"
    async with FaultServer(always=status(400, words)) as server, asking(server) as backend:
        with pytest.raises(ContextOverflowError):
            await backend.complete(ask(max_tokens=4096))
        assert len(server.bodies) == 1


async def test_log_probabilities_that_do_not_come_are_noted() -> None:
    async with FaultServer() as server, asking(server) as backend:
        await backend.complete(ask(logprobs=True))
        assert backend.notes() == ("mine does not return the log-probabilities that it is asked for",)


async def test_fastapi_names_the_field_in_its_own_way() -> None:
    problem = {"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}

    async def strict(exchange: Any) -> None:
        refused = "seed" in exchange.seen.body
        await (status(422, body={"detail": [problem]}) if refused else ok())(exchange)

    async with FaultServer(always=strict) as server, asking(server) as backend:
        await backend.complete(ask())
        assert len(server.bodies) == 2


@pytest.mark.parametrize(
    ("provider", "most", "body"),
    [
        ("openai", None, {"max_completion_tokens": 5, "seed": 1}),
        ("mistral", None, {"max_tokens": 5, "random_seed": 1}),
        ("groq", 1, {"max_tokens": 5, "seed": 1}),
        ("ollama", 1, {"max_tokens": 5, "seed": 1}),
    ],
)
def test_what_is_documented_needs_no_learning(provider: str, most: int | None, body: dict[str, int]) -> None:
    quirks = Quirks("x", PRESETS[provider])
    sent = {"max_tokens": 5, "seed": 1}
    quirks.adapt(sent)
    assert sent == body and quirks.most({}) == most


def test_another_server_behind_openais_name_is_asked_the_common_way() -> None:
    sent = {"max_tokens": 5}
    Quirks("x", PRESETS["openai"], official=False).adapt(sent)
    assert sent == {"max_tokens": 5}


@pytest.mark.parametrize("status_code", [401, 403, 404, 429, 503])
def test_other_statuses_teach_nothing(status_code: int) -> None:
    quirks = Quirks("x", PRESETS["together"])
    assert not quirks.learn(
        status_code, Told("Unsupported parameter: 'seed'", param="seed"), {"seed": 1, "n": 2}
    )
