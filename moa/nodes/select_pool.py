"""Pooling what several agents have read: the verdicts of a jury, the grades of several graders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean, median
from typing import Literal

from moa.errors import UsageError
from moa.nodes.response import Response
from moa.nodes.selector import SelectContext, Selector

UNREAD = "unread"
"""The label of a response that was kept although no value could be read in any."""


class Pool(Selector):
    """One response that stands for all: the one nearest to the pooled value, which it carries as its own.

    The values are what the agents read: scores, or preferences between 0 and 1. `by` is their `mean`, their
    `median`, or, for preferences, a `majority` vote: 1 or 0, whichever side more of them lean to, and 0.5
    where the sides are even. A response in which nothing could be read takes no part.
    """

    by: Literal["mean", "median", "majority"] = "mean"

    async def select(self, responses: Sequence[Response], context: SelectContext) -> list[Response]:
        """The response nearest to the pooled value (the earlier of two), with that value and score."""
        read = [response for response in responses if isinstance(response.value, int | float)]
        if not read:
            context.warn(f"nothing could be read in any of {len(responses)} responses; there is no value")
            return [replace(responses[0], value=None, label=UNREAD)]
        if len(read) < len(responses):
            context.warn(f"{len(responses) - len(read)} of {len(responses)} responses could not be read")
        values = [float(response.value) for response in read]
        pooled = self._pooled(values)
        nearest = min(range(len(read)), key=lambda number: abs(values[number] - pooled))
        return [replace(read[nearest], value=pooled, score=pooled)]

    def _pooled(self, values: Sequence[float]) -> float:
        if self.by == "mean":
            return fmean(values)
        return median(values) if self.by == "median" else _vote(values)

    def kept(self, count: int) -> int:
        return min(1, count)


def _vote(values: Sequence[float]) -> float:
    if not all(0 <= value <= 1 for value in values):
        raise UsageError(
            "`pool` by `majority` counts preferences from 0 to 1; pool scores by `mean` or `median`"
        )
    first, second = sum(value > 0.5 for value in values), sum(value < 0.5 for value in values)
    return 0.5 if first == second else float(first > second)
