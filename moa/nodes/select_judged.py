"""Dropping responses that an agent finds wanting."""

from __future__ import annotations

from collections.abc import Sequence

from moa.errors import UsageError
from moa.nodes.response import Response
from moa.nodes.select_rank import ask_each
from moa.nodes.selector import SelectContext, Selector
from moa.spec.agent import AgentSpec

NEEDS = "`judge-filter` needs an agent that reads a `score`"


class JudgeFilter(Selector):
    """The responses that the node's agent scores `threshold` or higher, in their own order, with their scores.

    The agent sees each response on its own (a call each). A response whose score cannot be read stays,
    with a warning: what the judge did not say is no verdict. Where no response reaches the threshold,
    those with the highest score stay: a filter never leaves the next agent without anything to hear.
    """

    threshold: float = 5.0

    async def select(self, responses: Sequence[Response], context: SelectContext) -> list[Response]:
        """At least one response."""
        scores: list[float | None] = []
        for asked in await ask_each(responses, context):
            if asked.value is not None and not isinstance(asked.value, int | float):
                raise UsageError(NEEDS)
            scores.append(asked.value)
        if unread := scores.count(None):
            context.warn(f"{unread} of {len(responses)} scores could not be read; kept those responses")
        least = self.threshold
        if None not in scores and max(known for known in scores if known is not None) < least:
            least = max(known for known in scores if known is not None)
            context.warn(f"no response reached {self.threshold:g}; kept the best, which had {least:g}")
        return [
            response if score is None else response.scored(float(score))
            for response, score in zip(responses, scores, strict=True)
            if score is None or score >= least
        ]

    def calls(self, count: int) -> int:
        return count

    def needs_agent(self) -> bool:
        return True

    def refuses(self, agent: AgentSpec) -> str | None:
        return None if agent.reads == "score" else f"{NEEDS}, not `{agent.reads}`"
