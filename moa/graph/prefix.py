"""How much of what models read they have read before: what a prefix cache can save."""

from __future__ import annotations

from bisect import bisect, insort
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from moa.errors import SpecError
from moa.graph.plan import Plan, PlanNode
from moa.graph.size import CHARACTERS_PER_TOKEN, filler, prompt_texts
from moa.graph.traffic import Passage

BLOCK = 16
"""Tokens that a cache keeps or drops together, as in vLLM."""


class Prefixes(NamedTuple):
    """Tokens of one question's requests, and how many of them begin like an earlier request to the same model."""

    prompt_tokens: int
    cached_tokens: int

    @property
    def share(self) -> float:
        """From 0 to 1."""
        return self.cached_tokens / self.prompt_tokens if self.prompt_tokens else 0.0


def prefixes(plan: Plan, question: str, passages: Mapping[str, Passage]) -> Prefixes:
    """What can be cached of a question that follows others, where nothing falls out of the cache.

    Equal samples are one request. Of a prompt counts the longest beginning that an earlier prompt has, of this
    question or of the one before, in whole blocks. What selectors hand on is taken for new.
    """
    seen: dict[str, list[str]] = {}  # sorted: of all texts, a neighbour begins most alike
    for earlier in (f"1 {question}", f"2 {question}"):
        total = cached = 0
        for node, prompt in _requests(plan, earlier, passages):
            known = seen.setdefault(node.model or "", [])
            total += len(prompt) // CHARACTERS_PER_TOKEN
            place = bisect(known, prompt)
            cached += max(
                (_shared(prompt, other) for other in known[max(0, place - 1) : place + 1]), default=0
            )
            insort(known, prompt)
    return Prefixes(total, cached)


def _requests(plan: Plan, question: str, passages: Mapping[str, Passage]) -> list[tuple[PlanNode, str]]:
    requests: dict[tuple[str | None, str], PlanNode] = {}
    for node in plan.nodes:
        if node.agent is None or node.select is not None:
            continue
        heard: dict[str, list[str]] = {}
        for edge in node.inputs:
            heard.setdefault(edge.role, []).extend(_texts(edge.node, question, passages[edge.node]))
        prompt = "\n\n".join(_turns(node, question, heard))
        requests.setdefault((node.model, prompt), node)
    return [(node, prompt) for (_, prompt), node in requests.items()]


def _turns(node: PlanNode, question: str, heard: Mapping[str, Sequence[str]]) -> list[str]:
    """The turns of a request; a template that takes no placeholders shares nothing."""
    try:
        return prompt_texts(node, question, heard)
    except SpecError:
        return [node.id, question, *(text for texts in heard.values() for text in texts)]


def _texts(node: str, question: str, passage: Passage) -> Sequence[str]:
    """Texts in the place of a node's responses, no two of which begin alike."""
    return [
        f"{node}.{index} {question[:1]} {filler(tokens)}" for index, tokens in enumerate(passage.responses)
    ]


def _shared(left: str, right: str) -> int:
    """Tokens of whole blocks that both begin with."""
    same, longest = 0, min(len(left), len(right))
    while same < longest:
        middle = (same + longest + 1) // 2
        same, longest = (middle, longest) if left[same:middle] == right[same:middle] else (same, middle - 1)
    return same // CHARACTERS_PER_TOKEN // BLOCK * BLOCK
