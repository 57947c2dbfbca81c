"""How long a prompt will be: the agent's own templates, filled with placeholders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from moa.graph.plan import PlanNode
from moa.spec.template import render

CHARACTERS_PER_TOKEN = 4
PER_MESSAGE = 8
"""Tokens that a chat template spends on one message, at most in the common templates."""
_FILLER = "word "


@dataclass(frozen=True, slots=True)
class Placeholder:
    """A response that has not come yet, as a template sees it."""

    text: str
    node: str = "node"
    model: str = "model"
    label: str = "label"
    score: float = 0.5
    value: Any = None


def text_tokens(text: str) -> int:
    """About how many tokens a text has: four characters a token, at least one."""
    return max(1, -(-len(text) // CHARACTERS_PER_TOKEN))


def filler(tokens: int) -> str:
    """A text of about that many tokens."""
    length = max(1, tokens) * CHARACTERS_PER_TOKEN
    return (_FILLER * (length // len(_FILLER) + 1))[:length]


def prompt_tokens(node: PlanNode, question: str, heard: Mapping[str, Sequence[int]]) -> int:
    """Tokens of one request of `node`: the question, the agent's words, and what it hears.

    `heard` has, for each input, the tokens of each response that arrives there.
    """
    if node.agent is None:
        return 0
    texts = {role: [_filler(tokens) for tokens in sizes] for role, sizes in heard.items()}
    return sum(text_tokens(turn) + PER_MESSAGE for turn in prompt_texts(node, question, texts))


def prompt_texts(node: PlanNode, question: str, heard: Mapping[str, Sequence[str]]) -> list[str]:
    """The turns of one request of an agent's node, in the order in which the model reads them.

    Raises `SpecError` for a template that takes no placeholders.
    """
    agent = node.agent
    assert agent is not None
    variables: dict[str, Any] = dict.fromkeys(agent.inputs, ())
    variables |= node.vars
    variables |= {role: [_placeholder(text) for text in texts] for role, texts in heard.items()}
    variables |= dict.fromkeys(agent.given, question)
    variables["question"] = question
    system = [] if agent.system is None else [render(agent.system, variables, agent.name)]
    return [*system, question if agent.user is None else render(agent.user, variables, agent.name)]


_filler = lru_cache(maxsize=4096)(filler)


@lru_cache(maxsize=4096)
def _placeholder(text: str) -> Placeholder:
    return Placeholder(text)
