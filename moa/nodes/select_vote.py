"""The majority vote over short answers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Literal

from pydantic import field_validator, model_validator

from moa.nodes.answers import AnswerMode, extract_answer
from moa.nodes.response import Response
from moa.nodes.selector import SelectContext, Selector

UNREAD = "unread"
"""The label of a response that was kept although no answer could be read."""


class Majority(Selector):
    """The response with the most frequent answer (self-consistency: Wang et al. 2022, arXiv:2203.11171).

    `answer` says how the short answer is read (`moa.nodes.answers`), and `pattern` is the regular
    expression of `regex`. A reply without a readable answer has no vote. `ties` go to the answer that
    came `first`, or to a `random` one of those in front (seeded).
    """

    answer: AnswerMode = "auto"
    pattern: str | None = None
    ties: Literal["first", "random"] = "first"

    @field_validator("pattern")
    @classmethod
    def _is_expression(cls, pattern: str | None) -> str | None:
        try:
            groups = re.compile(pattern or "()").groups
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from None
        if not groups:
            raise ValueError("needs a group `(...)` round the answer")
        return pattern

    @model_validator(mode="after")
    def _pattern_belongs_to_regex(self) -> Majority:
        if (self.answer == "regex") != (self.pattern is not None):
            raise ValueError("`answer: regex` and `pattern` belong together")
        return self

    async def select(self, responses: Sequence[Response], context: SelectContext) -> list[Response]:
        """The first response that gives the winning answer, labelled with it and scored with its share of votes."""
        answers = [extract_answer(response.text, self.answer, self.pattern) for response in responses]
        votes = Counter(answer for answer in answers if answer is not None)
        if not votes:
            context.warn(f"no answer could be read in any of {len(responses)} responses; kept the first")
            return [responses[0].labelled(UNREAD).scored(0.0)]
        _warn_of_weak_votes(votes, len(responses), context)
        winner = self._winner(votes, context)
        share = votes[winner] / votes.total()
        return [responses[answers.index(winner)].labelled(winner).scored(share)]

    def _winner(self, votes: Counter[str], context: SelectContext) -> str:
        """The answer with the most votes; a counter keeps its keys in the order in which they came."""
        most = max(votes.values())
        in_front = [answer for answer, count in votes.items() if count == most]
        return Random(context.seed).choice(in_front) if self.ties == "random" else in_front[0]

    def kept(self, count: int) -> int:
        return min(1, count)


def _warn_of_weak_votes(votes: Counter[str], responses: int, context: SelectContext) -> None:
    if votes.total() < responses:
        context.warn(f"{responses - votes.total()} of {responses} responses gave no answer and have no vote")
    if votes.total() > 1 and max(votes.values()) == 1:
        context.warn(f"no two of {votes.total()} answers agree; the vote decides nothing")
