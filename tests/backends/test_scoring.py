"""Scores of answers: each part of a server's API, its faults, and what it sends back that is no score."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from itertools import product
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from moa.backends.base import Completion, Request, ScoredBy
from moa.backends.resolve import model_spec
from moa.backends.scoring import (
    MOST_PAIRS,
    ApiScorer,
    Pair,
    Scores,
    ScoringBackend,
    connector,
    read_score,
    scorer_of,
)
from moa.errors import (
    AuthenticationError,
    BackendError,
    BadRequestError,
    InvalidReplyError,
    ServerFailedError,
    UsageError,
)
from moa.spec.model import ModelSpec

HOWS: tuple[ScoredBy, ...] = ("classify", "pooling", "score", "rerank")
TURNS = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "good a"}]
SHAPELESS: list[Any] = [{}, [], {"data": [], "results": []}, {"data": None}]
USAGE = {"prompt_tokens": 9, "total_tokens": 9}


def worth(text: str) -> float:
    return text.count("good") - 0.25


class Server:
    """vLLM's pooling server that likes the word "good", in the shapes that vLLM 0.32 sends."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, Any]]] = []
        self.failures: list[int] = []
        self.spoilt: Any = None

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.seen.append((request.path, body))
        if self.failures:
            return web.json_response({"error": {"message": "scripted"}}, status=self.failures.pop(0))
        return web.json_response(self.told(request.path, body) if self.spoilt is None else self.spoilt)

    def told(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        if path == "/classify":
            probs = [worth(body["messages"][-1]["content"])]
            return rows({"label": "reward", "probs": probs, "num_classes": 1})
        if path == "/pooling":
            return rows({"object": "pooling", "data": [worth(body["messages"][-1]["content"])]})
        if path == "/score":
            return rows(*({"object": "score", "score": worth(text)} for text in body["text_2"]))
        found = [
            {"index": at, "document": {"text": text}, "relevance_score": worth(text)}
            for at, text in enumerate(body["documents"])
        ]
        return {"results": sorted(found, key=lambda row: -row["relevance_score"]), "usage": USAGE}


def rows(*found: dict[str, Any]) -> dict[str, Any]:
    return {"data": [{"index": at, **row} for at, row in enumerate(found)], "usage": USAGE}


@pytest.fixture
async def server() -> AsyncIterator[tuple[Server, str]]:
    told = Server()
    app = web.Application()
    for path in ("/classify", "/pooling", "/score", "/v1/rerank"):
        app.router.add_post(path, told.answer)
    async with TestServer(app) as running:
        yield told, str(running.make_url("/v1#rm"))


def asked(answer: str, question: str = "Q") -> Request:
    return Request(({"role": "user", "content": question}, {"role": "assistant", "content": answer}))


async def scored(url: str, how: ScoredBy, *answers: str) -> Scores:
    scorer = scorer_of(model_spec(url), how)
    try:
        return await scorer.score([Pair("Q", answer) for answer in answers])
    finally:
        await scorer.aclose()


async def together(backend: Any, *requests: Request) -> list[Completion]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(backend.complete(request)) for request in requests]
    await backend.aclose()
    return [task.result() for task in tasks]


@pytest.mark.parametrize(
    ("how", "path", "body"),
    [
        ("classify", "/classify", {"messages": TURNS, "use_activation": False}),
        ("pooling", "/pooling", {"messages": TURNS, "use_activation": False}),
        ("score", "/score", {"text_1": ["Q"], "text_2": ["good a"]}),
        ("rerank", "/v1/rerank", {"query": "Q", "documents": ["good a"]}),
    ],
)
async def test_each_way_asks_its_part_of_the_api(
    server: tuple[Server, str], how: ScoredBy, path: str, body: dict[str, Any]
) -> None:
    told, url = server
    assert await scored(url, how, "good a") == ([0.75], 9)
    assert told.seen == [(path, {"model": "rm", **body})]


@pytest.mark.parametrize("how", ["score", "rerank"])
async def test_scores_come_in_the_order_of_the_answers(server: tuple[Server, str], how: ScoredBy) -> None:
    _, url = server
    assert (await scored(url, how, "bad", "good good", "good")).numbers == [-0.25, 1.75, 0.75]


@pytest.mark.parametrize("how", HOWS)
async def test_however_it_is_asked_every_pair_has_its_score(
    server: tuple[Server, str], how: ScoredBy
) -> None:
    """What is asked at once travels in as few requests as the way allows, and shares the tokens."""
    told, url = server
    pairs = [("bad", "Q"), ("good", "Q"), ("good good", "Other")]
    backend = connector(how)(model_spec(url), None)
    replies = await together(backend, *(asked(*pair) for pair in pairs))
    assert [read_score(reply.choices[0].text) for reply in replies] == [-0.25, 0.75, 1.75]
    assert len(told.seen) == {"classify": 3, "pooling": 3, "score": 1, "rerank": 2}[how]
    assert sum(reply.usage.input_tokens for reply in replies) == 9 * len(told.seen)


async def test_the_reward_of_a_text_is_that_of_its_last_token(server: tuple[Server, str]) -> None:
    told, url = server
    told.spoilt = rows({"data": [[0.1], [0.2], [-3.5]]})
    assert (await scored(url, "pooling", "a")).numbers == [-3.5]


@pytest.mark.parametrize(
    ("how", "spoilt"),
    [
        *product(HOWS, SHAPELESS),
        ("classify", rows({"probs": [0.2, 0.8]})),
        ("classify", rows({"probs": []})),
        ("classify", rows({"probs": [None]})),
        ("classify", rows({"probs": [True]})),
        ("pooling", rows({"data": [0.1] * 384})),
        ("pooling", rows({"data": [[0.1, 0.9]]})),
        ("pooling", rows({"data": []})),
        ("pooling", rows({"data": "AAAA"})),
        ("score", rows({"score": "0.5"})),
        ("score", rows({"score": 0.5}, {"score": 0.5})),
        ("score", {"data": [{"index": 1, "score": 0.5}]}),
        ("score", {"data": [{"score": 0.5}]}),
        ("score", {"data": ["0.5"]}),
        ("rerank", {"results": [{"index": 0, "score": 0.5}]}),
        ("rerank", {"results": [{"index": 0, "relevance_score": float("nan")}]}),
    ],
)
async def test_a_reply_of_another_shape_is_an_error_not_a_zero(
    server: tuple[Server, str], how: ScoredBy, spoilt: Any
) -> None:
    told, url = server
    told.spoilt = spoilt
    with pytest.raises(InvalidReplyError, match="holds no score for each of 1 answers"):
        await scored(url, how, "a")


async def test_the_same_answer_twice_in_place_of_two_is_an_error(server: tuple[Server, str]) -> None:
    told, url = server
    told.spoilt = {"data": [{"index": 0, "score": 0.5}] * 2}
    with pytest.raises(InvalidReplyError, match="2 rows"):
        await scored(url, "score", "a", "b")


async def test_what_a_model_gives_in_place_of_a_reward_is_told(server: tuple[Server, str]) -> None:
    told, url = server
    told.spoilt = rows({"probs": [0.2, 0.8]})
    with pytest.raises(InvalidReplyError, match="2 classes, where a reward model has one"):
        await scored(url, "classify", "a")
    told.spoilt = rows({"data": [0.1] * 384})
    with pytest.raises(InvalidReplyError, match="384 numbers, where a reward is one"):
        await scored(url, "pooling", "a")


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize(
    ("status", "error"),
    [(401, AuthenticationError), (404, BadRequestError), (500, ServerFailedError)],
)
async def test_a_refusal_is_the_same_error_as_for_any_model(
    server: tuple[Server, str], how: ScoredBy, status: int, error: type[BackendError]
) -> None:
    told, url = server
    told.failures = [status]
    with pytest.raises(error):
        await scored(url, how, "a")


@pytest.mark.parametrize("status", [404, 501])
async def test_a_model_without_this_part_of_the_api_says_what_to_change(
    server: tuple[Server, str], status: int
) -> None:
    told, url = server
    told.failures = [status]
    with pytest.raises(BadRequestError, match="no `/classify` for this model: choose another `how`"):
        await scored(url, "classify", "a")


class Lent:
    """A scorer of the user's own."""

    def __init__(self, *numbers: float) -> None:
        self.batches: list[int] = []
        self.numbers = numbers

    async def score(self, pairs: Sequence[Pair]) -> Scores:
        self.batches.append(len(pairs))
        return Scores(self.numbers or [worth(pair.answer) for pair in pairs], 0)

    async def aclose(self) -> None:
        pass


async def test_a_lent_scorer_gets_batches_of_at_most_64() -> None:
    lent = Lent()
    await together(ScoringBackend(lent, "classify"), *(asked(f"{n}") for n in range(MOST_PAIRS + 6)))
    assert lent.batches == [64, 6]


@pytest.mark.parametrize("numbers", [(1.0, 2.0), (float("nan"),), (float("inf"),)])
async def test_a_lent_scorer_that_gives_something_else_is_an_error(numbers: tuple[float, ...]) -> None:
    with pytest.raises(InvalidReplyError, match=r"2 scores for 1 answers|is no score"):
        await ScoringBackend(Lent(*numbers), "score").complete(asked("a"))


def test_who_scores_nothing_is_refused_with_what_does() -> None:
    with pytest.raises(UsageError, match="sim: scores no answers: take a server's model, as in"):
        scorer_of(model_spec("sim:"), "classify")
    with pytest.raises(UsageError, match="has no method `score`"):
        scorer_of(model_spec("sim:"), "classify", object())


@pytest.mark.parametrize("how", HOWS)
def test_in_this_process_vllm_scores_however_it_is_asked(how: ScoredBy) -> None:
    """Nothing starts before the first score."""
    assert isinstance(scorer_of(ModelSpec(name="rm", provider="vllm", model="m"), how), ApiScorer)


@pytest.mark.parametrize("text", ["", "good", "nan", "inf"])
def test_a_stored_score_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidReplyError, match="a stored score is not one"):
        read_score(text)
