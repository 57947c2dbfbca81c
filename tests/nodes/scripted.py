"""Responses and a selector's context, written by hand."""

from __future__ import annotations

from collections.abc import Sequence

from moa.backends.base import ScoredBy
from moa.nodes.read import read_reply
from moa.nodes.response import Response
from moa.nodes.selector import Asked, Likely
from moa.spec.agent import AgentSpec


def said(*texts: str) -> list[Response]:
    """A response for each text, from the nodes `drafts[0]`, `drafts[1]`, ..."""
    return [Response(text, f"drafts[{index}]", f"sim:{index}") for index, text in enumerate(texts)]


class Context:
    """A `SelectContext` whose agent answers from a script, or with the texts it was shown."""

    def __init__(self, reads: str = "ranking", replies: Sequence[str] = (), seed: int = 0) -> None:
        self.question = "Which?"
        self.seed = seed
        self.agent = AgentSpec.model_validate(
            {"name": "judge", "reads": reads, "inputs": {"candidates": "1+"}}
        )
        self.replies = list(replies)
        self.shown: list[list[str]] = []
        self.warnings: list[str] = []
        self.vectors: dict[str, Sequence[float]] = {}
        """What `embed` says of each text."""
        self.embedders: list[str] = []
        self.likely: dict[tuple[str, str], Likely] = {}
        """What `likelihood` says of each text, by model."""
        self.rewards: dict[str, float] = {}
        """What `score` says of each text."""
        self.rewarded: list[tuple[str, str, str]] = []
        self.scored: list[tuple[str, str, str]] = []

    async def ask(self, responses: Sequence[Response]) -> Asked:
        self.shown.append([response.text for response in responses])
        reply = self.replies[len(self.shown) - 1]
        return Asked(reply, read_reply(self.agent, reply, len(responses)))

    async def embed(self, texts: Sequence[str], embedder: str) -> list[Sequence[float]]:
        self.embedders.append(embedder)
        return [self.vectors[text] for text in texts]

    async def likelihood(self, model: str, prompt: str, text: str) -> Likely:
        self.scored.append((model, prompt, text))
        return self.likely[model, text]

    async def score(
        self, question: str, answers: Sequence[str], scorer: str, how: ScoredBy = "classify"
    ) -> list[float]:
        self.rewarded.append((question, scorer, how))
        return [self.rewards[answer] for answer in answers]

    def warn(self, message: str) -> None:
        self.warnings.append(message)
