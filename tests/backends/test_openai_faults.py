"""Everything that a server can do wrong ends in an error with a name."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from moa.errors import (
    AuthenticationError,
    BackendError,
    BackendTimeoutError,
    BadRequestError,
    ConnectionFailedError,
    ContentFilteredError,
    ContextOverflowError,
    InvalidReplyError,
    ModelNotFoundError,
    RateLimitedError,
    ServerFailedError,
)
from tests.support.asking import BOTH, answer, ask, failure
from tests.support.faults import (
    Exchange,
    Step,
    cut_before_body,
    cut_mid_body,
    error_in_200,
    error_mid_stream,
    half_sse,
    invalid_utf8,
    raw,
    sse,
    stall,
    status,
    truncated,
)

# Faults

FAULTS: list[tuple[str, Step, type[BackendError], bool]] = [
    ("cut-before", cut_before_body(), ConnectionFailedError, True),
    ("cut-amid", cut_mid_body(), ConnectionFailedError, True),
    ("invalid-utf8", invalid_utf8(), InvalidReplyError, True),
    ("truncated", truncated(), InvalidReplyError, True),
    ("empty-body", raw(b""), InvalidReplyError, True),
    ("not-an-object", raw(b"[1]"), InvalidReplyError, True),
    ("no-choices", raw(b'{"choices": []}'), InvalidReplyError, True),
    ("odd-choice", raw(b'{"choices": [3]}'), InvalidReplyError, True),
    (
        "odd-content",
        raw(b'{"choices": [{"message": {"content": "a"}, "finish_reason": []}]}'),
        InvalidReplyError,
        True,
    ),
    ("page", raw(b"<html><title>Welcome</title></html>", "text/html"), InvalidReplyError, True),
    ("stall", stall(), BackendTimeoutError, True),
    ("429", status(429), RateLimitedError, True),
    ("500", status(500), ServerFailedError, True),
    ("503", status(503), ServerFailedError, True),
    ("501", status(501), ServerFailedError, False),
    ("529", status(529, type="overloaded_error"), ServerFailedError, True),
    ("408", status(408), BackendTimeoutError, True),
    ("409", status(409), ServerFailedError, True),
    ("425", status(425), ServerFailedError, True),
    ("400", status(400), BadRequestError, False),
    ("401", status(401), AuthenticationError, False),
    ("402", status(402), BadRequestError, False),
    ("403", status(403), AuthenticationError, False),
    ("404", status(404, "no route"), BadRequestError, False),
    (
        "404-model",
        status(404, "The model `m` does not exist", code="model_not_found"),
        ModelNotFoundError,
        False,
    ),
    ("400-model", status(400, "m is not a valid model ID"), BadRequestError, False),
    ("413", status(413), BadRequestError, False),
    ("422", status(422), BadRequestError, False),
    ("quota", status(429, code="insufficient_quota"), RateLimitedError, False),
    ("moderated", status(403, "Your input was flagged"), ContentFilteredError, False),
    ("policy", status(400, code="content_policy_violation"), ContentFilteredError, False),
    ("200-error-429", error_in_200(code=429), RateLimitedError, True),
    ("200-error-quota", error_in_200(code="insufficient_quota"), RateLimitedError, False),
    ("200-error-key", error_in_200(type="authentication_error"), AuthenticationError, False),
    ("200-error-server", error_in_200(type="server_error"), ServerFailedError, True),
    ("200-error-unknown", error_in_200(), ServerFailedError, True),
    ("should-retry", status(400, headers={"x-should-retry": "true"}), BadRequestError, True),
    ("should-not-retry", status(503, headers={"x-should-retry": "false"}), ServerFailedError, False),
    ("redirect", status(308, headers={"location": "https://new/v1"}), BadRequestError, False),
]


@BOTH
@pytest.mark.parametrize(
    ("step", "kind", "retryable"), [row[1:] for row in FAULTS], ids=[row[0] for row in FAULTS]
)
async def test_every_fault_has_a_name(
    step: Step, kind: type[BackendError], retryable: bool, streamed: bool
) -> None:
    found = await failure(step, streamed=streamed, options={"stall": 0.2})
    assert isinstance(found, kind)
    assert found.retryable is retryable


async def test_half_an_event_is_an_invalid_reply() -> None:
    assert isinstance(await failure(half_sse(), streamed=True), InvalidReplyError)


async def test_an_error_in_a_stream_is_named() -> None:
    found = await failure(error_mid_stream("slow down", code="rate_limit_exceeded"), streamed=True)
    assert isinstance(found, RateLimitedError) and "slow down" in str(found)


async def test_a_stream_that_just_ends_is_not_an_answer() -> None:
    async def step(exchange: Exchange) -> None:
        await exchange.stream([sse({"choices": [{"index": 0, "delta": {"content": "The answer is not"}}]})])

    assert isinstance(await failure(step, streamed=True), InvalidReplyError)


async def test_a_stream_that_has_finished_needs_no_done() -> None:
    async def step(exchange: Exchange) -> None:
        await exchange.stream(
            [sse({"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": "stop"}]}).rstrip()]
        )

    assert (await answer(step, ask(), streamed=True)).choices[0].text == "a"


async def test_a_stream_that_is_over_does_not_wait_for_the_connection() -> None:
    async def step(exchange: Exchange) -> None:
        end = {"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": "stop"}]}
        await exchange.stream([sse(end), sse("[DONE]")], finished=False)
        await asyncio.sleep(60)

    async with asyncio.timeout(5):
        assert (await answer(step, ask(), streamed=True)).choices[0].text == "a"


@pytest.mark.parametrize(
    "chunk",
    [
        b"data: 3\n\n",
        b"data: {oops\n\n",
        b'data: {"choices": 3}\n\n',
        b'data: {"choices": [3]}\n\n',
        b'data: {"choices": [{"delta": {"reasoning": 5}}]}\n\n',
        b'data: {"choices": [{"delta": {"tool_calls": [{"index": 1000000000}]}}]}\n\n',
    ],
)
async def test_nonsense_in_a_stream_is_an_invalid_reply(chunk: bytes) -> None:
    async def step(exchange: Exchange) -> None:
        await exchange.stream([chunk, sse("[DONE]")])

    assert isinstance(await failure(step, streamed=True), InvalidReplyError)


async def test_an_error_inside_a_choice_is_an_error() -> None:
    reply = {
        "choices": [
            {
                "message": {"content": "half"},
                "finish_reason": "error",
                "error": {"code": 502, "message": "upstream"},
            }
        ]
    }
    found = await failure(raw(json.dumps(reply).encode()))
    assert isinstance(found, ServerFailedError) and found.status == 502


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "3"}, 3.0),
        ({"retry-after-ms": "120"}, 0.12),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"x-ratelimit-reset-requests": "1s", "x-ratelimit-remaining-requests": "0"}, 1.0),
        ({"x-ratelimit-reset-tokens": "6m0s"}, 360.0),
        ({}, None),
    ],
)
async def test_the_servers_wish_is_kept(headers: dict[str, str], seconds: float | None) -> None:
    found = await failure(status(429, headers=headers))
    assert found.retry_after == seconds and found.status == 429


async def test_a_wish_in_the_body_is_kept() -> None:
    body = [{"error": {"code": 429, "message": "quota", "details": [{"@type": "x"}, {"retryDelay": "39s"}]}}]
    found = await failure(status(429, body=body))
    assert found.retry_after == 39.0 and found.retryable


async def test_resets_do_not_delay_after_a_server_error() -> None:
    found = await failure(status(500, headers={"x-ratelimit-reset-tokens": "6m0s"}))
    assert found.retry_after is None


OVERFLOWS = [
    (
        "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.",
        8192,
    ),
    (
        "This model's maximum context length is 16384 tokens. However, you requested 122946 tokens (1 in the messages)",
        16384,
    ),
    (
        "'max_tokens' or 'max_completion_tokens' is too large: 4096. This model's maximum context length is 2048 tokens",
        2048,
    ),
    ("The decoder prompt (length 5000) is longer than the maximum model length of 2048.", 2048),
    ("request (3000 tokens) exceeds the available context size (2048 tokens), try increasing it", 2048),
    (
        "`inputs` tokens + `max_new_tokens` must be <= 8193. Given: 9000 `inputs` tokens and 512 `max_new_tokens`",
        8193,
    ),
    ("prompt is too long: 205000 tokens > 200000 maximum", 200000),
    ("input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000", 200000),
    ("Prompt contains 40000 tokens, too large for model with 32768 maximum context length", 32768),
    ("The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).", 1048576),
    ("Input tokens exceed the configured limit of 272,000 tokens.", 272000),
    ("The prompt is too long: 140000, model maximum context length: 131071", 131071),
    ("Requested tokens (2285) exceed context window of 2048", 2048),
    ("the input length exceeds the context length", None),
    ("Please reduce the length of the messages or completion.", None),
]


@pytest.mark.parametrize(("message", "limit"), OVERFLOWS)
async def test_overflows_are_recognised(message: str, limit: int | None) -> None:
    found = await failure(status(400, message))
    assert isinstance(found, ContextOverflowError) and found.limit == limit and not found.retryable


async def test_llama_cpp_says_its_window_beside_the_message() -> None:
    fields: dict[str, Any] = {"type": "exceed_context_size_error", "n_prompt_tokens": 1407, "n_ctx": 256}
    found = await failure(status(500, "the request exceeds the available context size.", **fields))
    assert isinstance(found, ContextOverflowError) and found.limit == 256


@pytest.mark.parametrize(
    "message",
    [
        "max_completion_tokens must be less than or equal to 40960, the maximum value for it is less than the context_window for this model",
        "n must be at least 1",
    ],
)
async def test_other_refusals_are_no_overflow(message: str) -> None:
    assert not isinstance(await failure(status(400, message)), ContextOverflowError)


async def test_web_pages_are_shown_in_one_line() -> None:
    page = (
        b"<html><head><title>502 Bad\n Gateway</title><style>x{}</style></head><body>" + b"<p>nginx</p>" * 500
    )
    found = await failure(status(502, body=page, headers={"content-type": "text/html"}))
    assert str(found).endswith("(HTTP 502: 502 Bad Gateway)")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"error": "Unauthorized"}, "Unauthorized"),
        ({"detail": "no"}, "no"),
        ({"detail": [{"loc": ["body", "stop"], "msg": "bad", "type": "value_error"}]}, "stop: bad"),
        ({"object": "error", "message": "old vLLM"}, "old vLLM"),
        (
            {"error": {"message": "Provider returned error", "metadata": {"raw": "inner words"}}},
            "inner words",
        ),
        ([{"error": {"message": "listed"}}], "listed"),
        (b"plain words", "plain words"),
        (b"\xff\xfe", "HTTP 401"),
        (b"", "HTTP 401"),
    ],
)
async def test_errors_in_every_shape(body: Any, words: str) -> None:
    assert words in str(await failure(status(401, body=body)))


async def test_long_messages_are_shortened() -> None:
    assert len(str(await failure(status(400, "word " * 1000)))) < 500
