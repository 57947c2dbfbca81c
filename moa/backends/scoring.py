"""How good an answer is, in the eyes of a reward model, a reranker or an embedding model.

A scorer stands behind the same seam as a model that chats: a request's messages are the question and the
answer, and the reply's text is the number. So scores are limited, retried, paid for and stored like
everything else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple, Protocol

from moa.backends.base import Backend, Request, ScoredBy
from moa.backends.pooling import PoolingApi, pooling_api
from moa.backends.together import Answers, Together
from moa.errors import BackendError, BadRequestError, InvalidReplyError, ModelNotFoundError, UsageError
from moa.spec.model import ModelSpec

MOST_PAIRS = 64
"""Of one batch."""
_NO_SUCH_PART = (HTTPStatus.NOT_FOUND, HTTPStatus.NOT_IMPLEMENTED)


class Pair(NamedTuple):
    """A question and an answer to it."""

    question: str
    answer: str


class Scores(NamedTuple):
    """A number for each pair, the higher the better, and the tokens that were read in all."""

    numbers: Sequence[float]
    tokens: int


class Scorer(Protocol):
    """Something that scores answers."""

    async def score(self, pairs: Sequence[Pair]) -> Scores:
        """A finite number for each pair, and the tokens that were read."""
        ...

    async def aclose(self) -> None:
        """Release connections and memory; the scorer is not used afterwards."""
        ...


class ApiScorer:
    """A pooling model of vLLM, or any server with Jina's `/v1/rerank`; one attempt per call.

    `classify` and `pooling` send one conversation, which vLLM writes by the model's own chat template, and
    ask for the number as it is, without the sigmoid in which great rewards become equal. `score` sends pairs,
    `rerank` one question with its answers.
    """

    def __init__(self, spec: ModelSpec, how: ScoredBy, api: PoolingApi) -> None:
        self.spec = spec
        self.how = how
        self._api = api

    async def score(self, pairs: Sequence[Pair]) -> Scores:
        """Send all pairs in one request; raises `InvalidReplyError` for a reply without a score for each."""
        way = _WAYS[self.how]
        body = {"model": await self._api.model_id(), **way.body(pairs), **self.spec.body}
        payload = await self._asked(way.path, body)
        try:
            numbers = _in_order(payload[way.rows], len(pairs), way.number)
        except (LookupError, TypeError, ValueError) as error:
            why = str(error) if isinstance(error, _WrongShapeError) else "it has another shape"
            raise InvalidReplyError(
                f"{self._api.name}: the reply of `{way.path}` holds no score for each of {len(pairs)} answers: {why}"
            ) from None
        return Scores(numbers, _tokens(payload))

    async def _asked(self, path: str, body: Mapping[str, Any]) -> Any:
        try:
            return await self._api.ask(path, body)
        except ModelNotFoundError:
            raise
        except BackendError as error:
            if error.status not in _NO_SUCH_PART:
                raise
            status = error.status
        raise BadRequestError(
            f"{self._api.name}: the server has no `{path}` for this model: choose another `how` than `{self.how}`, "
            f"or serve a model that scores (HTTP {status})",
            status=status,
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._api.aclose()


class _WrongShapeError(ValueError):
    """A reply that says something else than asked."""


class _Way(NamedTuple):
    """One part of the API: where it is, what it is sent, and where its reply has the numbers."""

    path: str
    body: Callable[[Sequence[Pair]], dict[str, Any]]
    rows: str
    number: Callable[[Mapping[str, Any]], object]
    most: int = MOST_PAIRS


def _conversation(pairs: Sequence[Pair]) -> dict[str, Any]:
    [pair] = pairs
    turns = zip(("user", "assistant"), pair, strict=True)
    messages = [{"role": role, "content": text} for role, text in turns]
    return {"messages": messages, "use_activation": False}


def _two_lists(pairs: Sequence[Pair]) -> dict[str, Any]:
    questions, answers = zip(*pairs, strict=True)
    return {"text_1": list(questions), "text_2": list(answers)}


def _one_question(pairs: Sequence[Pair]) -> dict[str, Any]:
    return {"query": pairs[0].question, "documents": [pair.answer for pair in pairs]}


def _only_class(row: Mapping[str, Any]) -> object:
    """The number of a model with a single class."""
    if len(row["probs"]) != 1:
        raise _WrongShapeError(f"{len(row['probs'])} classes, where a reward model has one")
    return row["probs"][0]


def _last_token(row: Mapping[str, Any]) -> object:
    """The number of the whole text, or that of its last token."""
    values = row["data"]
    last = values[-1] if isinstance(values[-1], list) else values
    if len(last) != 1:
        raise _WrongShapeError(f"{len(last)} numbers, where a reward is one")
    return last[0]


_WAYS: Mapping[ScoredBy, _Way] = {
    "classify": _Way("/classify", _conversation, "data", _only_class, most=1),
    "pooling": _Way("/pooling", _conversation, "data", _last_token, most=1),
    "score": _Way("/score", _two_lists, "data", lambda row: row["score"]),
    "rerank": _Way("rerank", _one_question, "results", lambda row: row["relevance_score"]),
}


def _in_order(rows: Any, count: int, number: Callable[[Mapping[str, Any]], object]) -> list[float]:
    by_index = {row["index"]: finite(number(row)) for row in rows}
    if len(rows) != count or by_index.keys() != set(range(count)):
        raise _WrongShapeError(f"{len(rows)} rows")
    return [by_index[index] for index in range(count)]


def finite(number: object) -> float:
    """A number as a float; raises `ValueError` for what is none, infinite or not a number."""
    if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
        raise _WrongShapeError(f"{number!r} is no score")
    return float(number)


def _tokens(payload: Mapping[str, Any]) -> int:
    usage = payload.get("usage") or {}
    return int(usage.get("prompt_tokens") or usage.get("total_tokens") or 0)


def scorer_of(spec: ModelSpec, how: ScoredBy, lent: object = None) -> Scorer:
    """The scorer of a model; `lent` is a backend of the user's own, with a method `score`."""
    if lent is not None:
        if not callable(getattr(lent, "score", None)):
            raise UsageError(f"{spec.name} scores no answers: its backend has no method `score`")
        return lent  # type: ignore[return-value]
    if (api := pooling_api(spec)) is not None:
        return ApiScorer(spec, how, api)
    raise UsageError(
        f"{spec.name} scores no answers: take a server's model, as in `http://host:port/v1#model` "
        "(`vllm serve MODEL --runner pooling`), or `vllm:MODEL` in this process"
    )


class ScoringBackend(Together):
    """A scorer behind the seam of `moa.backends.base`: pairs travel together where its way takes several."""

    def __init__(self, scorer: Scorer, how: ScoredBy) -> None:
        super().__init__(_WAYS[how].most if isinstance(scorer, ApiScorer) else MOST_PAIRS)
        self._scorer = scorer
        self._how = how

    def kind(self, request: Request) -> Hashable:
        """The question, where a request of the server has just one."""
        return request.messages[0]["content"] if self._how == "rerank" else None

    async def answer(self, requests: Sequence[Request]) -> Answers:
        """The score of each request's pair, as text."""
        pairs = [Pair(*(str(message["content"]) for message in request.messages)) for request in requests]
        numbers, tokens = await self._scorer.score(pairs)
        if len(numbers) != len(pairs):
            raise InvalidReplyError(f"a scorer gave {len(numbers)} scores for {len(pairs)} answers")
        try:
            return Answers([repr(finite(number)) for number in numbers], tokens)
        except _WrongShapeError as error:
            raise InvalidReplyError(f"a scorer gave what is no score: {error}") from None

    async def aclose(self) -> None:
        """Close the scorer."""
        await self._scorer.aclose()


def read_score(text: str) -> float:
    """A stored score; raises `InvalidReplyError` for what is none."""
    try:
        return finite(float(text))
    except ValueError:
        raise InvalidReplyError("a stored score is not one") from None


def connector(how: ScoredBy) -> Callable[[ModelSpec, Backend | None], Backend]:
    """What makes the scorer of a model as a backend; nothing is sent before its first request."""
    return lambda spec, lent: ScoringBackend(scorer_of(spec, how, lent), how)
