"""The Doge election as a selector: references elect one of themselves by lots and supermajorities."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Literal

from pydantic import Field, model_validator

from moa.errors import UsageError
from moa.nodes.answers import AnswerMode, extract_answer
from moa.nodes.clusters import CLOSE
from moa.nodes.election import Election, elect
from moa.nodes.likeness import Likeness
from moa.nodes.response import Response
from moa.nodes.select_likeness import mean_similarities
from moa.nodes.select_rank import ask_all
from moa.nodes.selector import SelectContext
from moa.nodes.similarity import Matrix
from moa.spec.agent import AgentSpec

Approvals = list[list[bool]]
"""Whether the response of the row approves of that of the column; each approves of itself."""


class DogeElection(Likeness):
    """The response that the others elect by the Venetian protocol (moa.nodes.election), scored with its approvals.

    Responses are the members and the candidates. A response approves of another `by` their `similarity` (at
    least `approval`; by default the mean over all pairs), by an equal short `answer` (read as `majority` reads it; one
    without an answer approves of itself alone), or as the node's `agent` says, who sees the approving
    response and the other one and gives a `score` (at least `approval`, by default 5). `ballot: urn`
    is the historical last vote, name by name; `at-once` takes the most approved. `family: model` draws no two
    responses of one model at a lot where it can. `keep` hands on the `doge` alone, its `supporters` (all
    who approve of it, itself first), or the last `college`.
    """

    by: Literal["similarity", "answer", "agent"] = "similarity"
    answer: AnswerMode = "auto"
    approval: float | None = Field(None, ge=0)
    ballot: Literal["at-once", "urn"] = "at-once"
    deadlock: Literal["relax", "share", "redraw"] = "relax"
    family: Literal["none", "model"] = "none"
    keep: Literal["doge", "supporters", "college"] = "doge"

    @model_validator(mode="after")
    def _answers_can_be_read(self) -> DogeElection:
        if self.answer == "regex":
            raise ValueError("`answer: regex` has no pattern here: choose another way to read the answer")
        if self.by == "answer" and self.approval is not None:
            raise ValueError("`approval` is a similarity or a score: equal answers need none")
        return self

    async def select(self, responses: Sequence[Response], context: SelectContext) -> list[Response]:
        """The Doge, or those who go on with it; of equal texts the first stands for all."""
        if len(responses) == 1:
            return list(responses)
        approvals = await self._approvals(responses, context)
        first = {text: index for index, text in reversed(list(enumerate(r.text for r in responses)))}
        held = elect(
            len(responses),
            lambda elector, nominee: approvals[elector][nominee],
            Random(context.seed),
            candidates=sorted(first.values()),
            families=[response.model for response in responses] if self.family == "model" else None,
            deadlock=self.deadlock,
            at_once=self.ballot == "at-once",
        )
        if held.deadlock:
            context.warn(_deadlock(held))
        return self._kept(responses, held, approvals)

    def _kept(self, responses: Sequence[Response], held: Election, approvals: Approvals) -> list[Response]:
        doge = responses[held.doge].scored(held.approvals / len(held.college))
        if self.keep == "doge":
            return [doge]
        if self.keep == "college":
            return [responses[member] for member in sorted(held.college)]
        behind = [
            response
            for index, response in enumerate(responses)
            if index != held.doge and approvals[index][held.doge]
        ]
        return [doge, *behind]

    async def _approvals(self, responses: Sequence[Response], context: SelectContext) -> Approvals:
        texts = [response.text for response in responses]
        if self.by == "similarity":
            return similar(await self.compare(responses, context), self.approval)
        if self.by == "answer":
            answers = [extract_answer(text, self.answer) for text in texts]
            return [
                [i == j or (mine is not None and mine == other) for j, other in enumerate(answers)]
                for i, mine in enumerate(answers)
            ]
        return await self._asked(responses, context)

    async def _asked(self, responses: Sequence[Response], context: SelectContext) -> Approvals:
        """Ask for each two different texts whether the first approves of the second, all at once."""
        texts = [response.text for response in responses]
        size = range(len(texts))
        pairs = [(i, j) for i in size for j in size if texts[i] != texts[j]]
        replies = await ask_all([[responses[i], responses[j]] for i, j in pairs], context)
        approvals = [[True] * len(texts) for _ in texts]
        unread = 0
        for (elector, nominee), reply in zip(pairs, replies, strict=True):
            score = reply.value
            if score is not None and not isinstance(score, int | float):
                raise UsageError(NEEDS)
            unread += score is None
            approvals[elector][nominee] = score is not None and score >= self._score()
        if unread:
            context.warn(f"{unread} of {len(pairs)} approvals could not be read and count as none")
        return approvals

    def _score(self) -> float:
        return 5.0 if self.approval is None else self.approval

    def compares(self, count: int) -> bool:
        return self.by == "similarity" and count > 1

    def calls(self, count: int) -> int:
        return count * (count - 1) if self.by == "agent" else 0

    def kept(self, count: int) -> int:
        return min(1, count) if self.keep == "doge" else count

    def needs_agent(self) -> bool:
        return self.by == "agent"

    def refuses(self, agent: AgentSpec) -> str | None:
        return None if agent.reads == "score" else f"{NEEDS}, not `{agent.reads}`"


NEEDS = "`doge-election` with `by: agent` needs an agent that reads a `score`"


def similar(matrix: Matrix, least: float | None = None) -> Approvals:
    """Who approves of whom: similarities of at least `least`, or of the mean over all pairs."""
    means = mean_similarities(matrix)
    needed = round(sum(means) / len(means) if least is None else least, CLOSE)
    return [
        [i == j or round(likeness, CLOSE) >= needed for j, likeness in enumerate(row)]
        for i, row in enumerate(matrix)
    ]


def _deadlock(held: Election) -> str:
    college = len(held.college)
    return (
        f"the election was deadlocked: nobody had {held.threshold} of {college} approvals; "
        f"elected with {held.approvals}"
    )
