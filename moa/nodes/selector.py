"""The protocol of selectors: keep, order or label responses, asking no model or asking through an agent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from moa.backends.base import ScoredBy
from moa.graph.measured import Candidate, Measured
from moa.nodes.response import Response
from moa.spec.agent import AgentSpec, Spec


class Asked(NamedTuple):
    """What an agent answered to a selector: its text, and what was read from it (None: unreadable)."""

    text: str
    value: Any


class Likely(NamedTuple):
    """How probable a model finds a text: the natural logarithm, over so many tokens."""

    logprob: float
    tokens: int

    @property
    def per_token(self) -> float:
        """The mean over the tokens; minus the logarithm of the perplexity."""
        return self.logprob / max(1, self.tokens)


class SelectContext(Protocol):
    """What the engine lends a selector while it works."""

    question: str
    """The latest user turn."""
    seed: int
    """For every random choice: the run's seed mixed with the question and the node."""

    async def ask(self, responses: Sequence[Response]) -> Asked:
        """Show `responses` to the node's agent and read its reply; only where the node names one."""
        ...

    async def embed(self, texts: Sequence[str], embedder: str) -> list[Sequence[float]]:
        """A vector for each text, by the embedding model `embedder`; each text is embedded once."""
        ...

    async def likelihood(self, model: str, prompt: str, text: str) -> Likely:
        """How probable `model` finds `text` as its answer to `prompt`; only models that vLLM runs tell it."""
        ...

    async def score(
        self, question: str, answers: Sequence[str], scorer: str, how: ScoredBy = "classify"
    ) -> list[float]:
        """How good each answer is, by the reward model, reranker or embedding model `scorer`: the higher the better."""
        ...

    def warn(self, message: str) -> None:
        """Report something that the user should know about this choice."""
        ...


class Selector(Spec):
    """Base of selectors: the options are its fields, so a wrong one is refused with its position.

    Subclass, implement `select`, and register it: `moa.register_selector("mine", Mine)`, or an
    entry point in the group `moa.selectors`.
    """

    async def select(self, responses: Sequence[Response], context: SelectContext) -> list[Response]:
        """Some of `responses` (or labelled copies), in the order in which they are handed on; never empty."""
        raise TypeError(f"{type(self).__name__} must implement `select`")

    def calls(self, count: int) -> int:
        """Agent calls that a choice among `count` responses takes."""
        return 0

    def kept(self, count: int) -> int:
        """Responses handed on of `count`, at most."""
        return count

    def asks(self) -> Mapping[str, str]:
        """The models that it asks itself, each by the option that names it; slots among them are bound."""
        return {}

    def measures(self, question: int, candidates: Sequence[Candidate]) -> Sequence[Measured]:
        """What it asks those models for, so that `moa plan` counts it.

        `question` is its tokens, and all candidates are taken to differ.
        """
        return ()

    def needs_agent(self) -> bool:
        """Whether the node must name an agent and a model."""
        return False

    def lacks(self) -> str | None:
        """What must be added before it can choose at all; None where nothing is missing."""
        return None

    def refuses(self, agent: AgentSpec) -> str | None:
        """Why this agent's replies are of no use to the choice; None where they are."""
        return None
