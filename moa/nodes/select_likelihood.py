"""Choosing by how probable models find texts, which takes no further words of theirs (vLLM only)."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from moa.errors import UsageError
from moa.graph.measured import Candidate, Measured
from moa.graph.size import PER_MESSAGE, text_tokens
from moa.nodes.answers import AnswerMode, extract_answer
from moa.nodes.response import Response
from moa.nodes.select_vote import UNREAD
from moa.nodes.selector import Likely, SelectContext, Selector
from moa.nodes.weibull import kept

BACKWARDS = "Write the question that the following text answers.\n\n{answer}"
"""Our own words for asking a model backwards."""


class QueryLikelihood(Selector):
    """The response from which the question follows best: log P(question | response).

    Time-reversed scoring (TRLM-Ba: Varun et al. 2024, arXiv:2412.02626, with a forward model that is asked
    backwards). `model` scores; without it each response is scored by the model that wrote it.
    """

    model: str | None = None

    async def select(self, responses: Sequence[Response], context: SelectContext) -> list[Response]:
        """The most likely one, scored with the log-probability of the question per token."""
        found = await together(
            [
                context.likelihood(
                    _scorer(response, self.model), BACKWARDS.format(answer=response.text), context.question
                )
                for response in responses
            ]
        )
        return _best(responses, [likely.per_token for likely in found])

    def asks(self) -> Mapping[str, str]:
        return {} if self.model is None else {"model": self.model}

    def measures(self, question: int, candidates: Sequence[Candidate]) -> Sequence[Measured]:
        frame = text_tokens(BACKWARDS)
        return tuple(
            _reads(_Read(_reader(one, self.model), frame + one.tokens, question) for one in candidates)
        )

    def kept(self, count: int) -> int:
        return min(1, count)


class DensityRatio(Selector):
    """The response that `strong` finds more probable than `weak` does, by the most: log p_s(y|x) - log p_w(y|x).

    The density ratio of Xu et al. 2024, arXiv:2411.02481: the two models differ in their alignment, such as a
    tuned model and its base.
    """

    strong: str
    weak: str

    async def select(self, responses: Sequence[Response], context: SelectContext) -> list[Response]:
        """The one with the highest ratio, scored with its logarithm."""
        asked = [
            context.likelihood(model, context.question, response.text)
            for model in (self.strong, self.weak)
            for response in responses
        ]
        found = await together(asked)
        strong, weak = found[: len(responses)], found[len(responses) :]
        return _best(
            responses, [one.logprob - other.logprob for one, other in zip(strong, weak, strict=True)]
        )

    def asks(self) -> Mapping[str, str]:
        return {"strong": self.strong, "weak": self.weak}

    def measures(self, question: int, candidates: Sequence[Candidate]) -> Sequence[Measured]:
        models = dict.fromkeys((self.strong, self.weak))
        asked = (_Read(model, question, one.tokens) for model in models for one in candidates)
        return tuple(_reads(asked, one_prompt=True))

    def kept(self, count: int) -> int:
        return min(1, count)


class PerplexityConsistency(Selector):
    """The answer whose distinct reasoning paths are the most probable together: a vote by probability.

    Zhou et al. 2025, arXiv:2502.00511: equal texts count once, and the confidence in an answer is the sum of
    p(path | question) over its paths. With `prune`, paths have no say that more likely belong to the low one of two
    Weibull distributions of the probabilities (see `moa.nodes.weibull`). `model` scores; without it, the writer of
    each path.
    """

    answer: AnswerMode = "auto"
    model: str | None = None
    prune: bool = False

    async def select(self, responses: Sequence[Response], context: SelectContext) -> list[Response]:
        """The most probable path to the winning answer, labelled with it and scored with its share."""
        paths = list({response.text: response for response in reversed(responses)}.values())[::-1]
        read = [(path, extract_answer(path.text, self.answer, None)) for path in paths]
        voting = [(path, answer) for path, answer in read if answer is not None]
        if len(voting) < len(read):
            context.warn(f"{len(read) - len(voting)} of {len(read)} paths gave no answer and have no vote")
        if not voting:
            return [responses[0].labelled(UNREAD).scored(0.0)]
        found = await together(
            [context.likelihood(_scorer(path, self.model), context.question, path.text) for path, _ in voting]
        )
        weights = _weights([likely.logprob for likely in found], prune=self.prune)
        return [_winner(voting, weights)]

    def asks(self) -> Mapping[str, str]:
        return {} if self.model is None else {"model": self.model}

    def measures(self, question: int, candidates: Sequence[Candidate]) -> Sequence[Measured]:
        asked = (_Read(_reader(one, self.model), question, one.tokens) for one in candidates)
        return tuple(_reads(asked, one_prompt=True))

    def kept(self, count: int) -> int:
        return min(1, count)


class _Read(NamedTuple):
    """A text whose probability a model is asked for, after a prompt; both in tokens."""

    model: str | None
    prompt: int
    text: int


def _reader(candidate: Candidate, model: str | None) -> str | None:
    return model or candidate.model


def _reads(asked: Iterable[_Read], *, one_prompt: bool = False) -> Iterator[Measured]:
    """Each text is one read after its prompt, and each different prompt is one more, for where the text begins."""
    by_model: dict[str, list[_Read]] = {}
    for read in asked:
        if read.model is not None:
            by_model.setdefault(read.model, []).append(read)
    for model, reads in by_model.items():
        prompts = reads[:1] if one_prompt else reads
        tokens = sum(read.prompt + PER_MESSAGE for read in prompts)
        tokens += sum(read.prompt + read.text + 2 * PER_MESSAGE for read in reads)
        calls = len(prompts) + len(reads)
        yield Measured("likelihood", model, calls, tokens, calls)


def _weights(logprobs: Sequence[float], *, prune: bool) -> list[float]:
    """Probabilities in proportion, the largest 1: products of many tokens are too small for themselves."""
    most = max(logprobs)
    weights = [math.exp(logprob - most) for logprob in logprobs]
    if not prune:
        return weights
    return [weight if stays else 0.0 for weight, stays in zip(weights, kept(logprobs), strict=True)]


def _winner(voting: Sequence[tuple[Response, str]], weights: Sequence[float]) -> Response:
    votes: dict[str, float] = {}
    for (_, answer), weight in zip(voting, weights, strict=True):
        votes[answer] = votes.get(answer, 0.0) + weight
    winner = max(votes, key=lambda answer: votes[answer])
    ways = [at for at, (_, answer) in enumerate(voting) if answer == winner]
    path = voting[max(ways, key=lambda at: weights[at])][0]
    return path.labelled(winner).scored(votes[winner] / sum(votes.values()))


def _scorer(response: Response, model: str | None) -> str:
    scorer = model or response.model
    if scorer is None:
        raise UsageError(f"nobody knows which model wrote `{response.node}`: give the selector a `model`")
    return scorer


def _best(responses: Sequence[Response], scores: Sequence[float]) -> list[Response]:
    """The response with the highest score; of equal ones the earlier."""
    at = max(range(len(scores)), key=lambda index: scores[index])
    return [responses[at].scored(scores[at])]


async def together(asked: Sequence[Awaitable[Likely]]) -> list[Likely]:
    """All of them at once; the first error of any ends all."""

    async def one(awaited: Awaitable[Likely]) -> Likely:
        return await awaited

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(awaited)) for awaited in asked]
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]
