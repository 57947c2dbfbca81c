"""Choosing through an agent (a ranking, the number of the best, or a score for each) or by a reward model."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from pydantic import Field, model_validator

from moa.backends.base import ScoredBy
from moa.errors import UsageError
from moa.graph.measured import Candidate, Measured
from moa.graph.size import PER_MESSAGE
from moa.nodes.response import Response
from moa.nodes.selector import Asked, SelectContext, Selector
from moa.spec.agent import AgentSpec

_EXCERPT = 60
UNRANKED = "unranked"
"""The label of a response that was kept although the agent's reply could not be read."""
NEEDS = {
    False: "`top-k` needs an agent that reads a `ranking` or a `choice` (or `each: true` and one that reads a `score`)",
    True: "`top-k` with `each: true` needs an agent that reads a `score`",
}
"""What the agent has to read, by `each`."""


class TopK(Selector):
    """The `k` best responses in the eyes of the node's agent, best first, labelled with their rank.

    An agent that reads a `ranking` or a `choice` sees all responses at once and is asked once. With
    `each`, an agent that reads a `score` is asked about every response on its own; the score goes on
    with the response, and of equal ones the earlier wins. A response that the agent leaves out, or whose score
    cannot be read, is not kept; where nothing can be read, the first `k` go on, with a warning and a
    label that say so.

    With `scorer`, a model that gives each response a number (a reward model, a reranker, an embedding model) ranks
    in the place of an agent, as `how` says; a response without a number is an error of the node, not a zero.
    """

    k: int = Field(1, ge=1)
    each: bool = False
    scorer: str | None = None
    how: ScoredBy | None = None

    @model_validator(mode="after")
    def _one_way(self) -> TopK:
        if self.scorer is not None and self.each:
            raise ValueError("`each` is for an agent, which a `scorer` replaces: remove one of them")
        if self.scorer is None and self.how is not None:
            raise ValueError("`how` says how a `scorer` is asked: name one")
        return self

    async def select(self, responses: Sequence[Response], context: SelectContext) -> list[Response]:
        """At most `k` responses; all of them, unasked, where there is just one."""
        if len(responses) == 1:
            return list(responses)
        if self.scorer is not None:
            return _labelled(await self._rewarded(responses, self.scorer, context), self.k)
        asked = await ask_each(responses, context) if self.each else [await context.ask(responses)]
        ranked = _by_score(responses, asked, context) if self.each else _by_rank(responses, asked[0])
        if not ranked:
            kept = list(responses[: self.k])
            context.warn(
                f"the agent's reply {_excerpt(asked[0].text)} could not be read; "
                f"kept the first {len(kept)} of {len(responses)}"
            )
            return [response.labelled(UNRANKED) for response in kept]
        if len(ranked) < min(self.k, len(responses)):
            context.warn(f"the agent ranked {len(ranked)} of {len(responses)} responses, fewer than {self.k}")
        return _labelled(ranked, self.k)

    async def _rewarded(
        self, responses: Sequence[Response], scorer: str, context: SelectContext
    ) -> list[Response]:
        answers = [response.text for response in responses]
        scores = await context.score(context.question, answers, scorer, self.how or "classify")
        return _best_first(response.scored(s) for response, s in zip(responses, scores, strict=True))

    def calls(self, count: int) -> int:
        if count <= 1 or self.scorer is not None:
            return 0
        return count if self.each else 1

    def asks(self) -> Mapping[str, str]:
        return {} if self.scorer is None else {"scorer": self.scorer}

    def measures(self, question: int, candidates: Sequence[Candidate]) -> Sequence[Measured]:
        if self.scorer is None or len(candidates) <= 1:
            return ()
        tokens = sum(question + candidate.tokens + 2 * PER_MESSAGE for candidate in candidates)
        return (Measured("scoring", self.scorer, len(candidates), tokens),)

    def kept(self, count: int) -> int:
        return min(self.k, count)

    def needs_agent(self) -> bool:
        return self.scorer is None

    def refuses(self, agent: AgentSpec) -> str | None:
        if agent.reads not in (("score",) if self.each else ("ranking", "choice")):
            return f"{NEEDS[self.each]}, not `{agent.reads}`"
        if agent.reads == "choice" and self.k > 1:
            return f"an agent that reads a `choice` names one response, not {self.k}: take one that reads a `ranking`"
        return None


def _by_rank(responses: Sequence[Response], asked: Asked) -> list[Response]:
    numbers = [asked.value] if isinstance(asked.value, int) else asked.value
    if numbers is None:
        return []
    if not isinstance(numbers, list | tuple):
        raise UsageError(NEEDS[False])
    valid = dict.fromkeys(number for number in numbers if 1 <= number <= len(responses))
    return [responses[number - 1] for number in valid]


def _by_score(
    responses: Sequence[Response], asked: Sequence[Asked], context: SelectContext
) -> list[Response]:
    scored: list[Response] = []
    for response, reply in zip(responses, asked, strict=True):
        if isinstance(reply.value, int | float):
            scored.append(response.scored(float(reply.value)))
        elif reply.value is not None:
            raise UsageError(NEEDS[True])
    if scored and len(scored) < len(responses):
        context.warn(f"{len(responses) - len(scored)} of {len(responses)} scores could not be read")
    return _best_first(scored)


def _best_first(scored: Iterable[Response]) -> list[Response]:
    return sorted(scored, key=lambda response: -(response.score or 0.0))


def _labelled(ranked: Sequence[Response], k: int) -> list[Response]:
    return [response.labelled(str(rank)) for rank, response in enumerate(ranked[:k], 1)]


async def ask_each(responses: Sequence[Response], context: SelectContext) -> list[Asked]:
    """Ask about every response on its own, as `ask_all` does."""
    return await ask_all([[response] for response in responses], context)


async def ask_all(shown: Sequence[Sequence[Response]], context: SelectContext) -> list[Asked]:
    """Show the agent each list of responses, all at once; the first error of any of them ends all."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(context.ask(responses)) for responses in shown]
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]


def _excerpt(text: str) -> str:
    """The end of a reply, where its verdict should stand."""
    words = " ".join(text.split())
    return repr(words if len(words) <= _EXCERPT else f"…{words[-_EXCERPT:]}")
