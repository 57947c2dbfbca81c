"""How long the responses on their way through a plan will be."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from moa.errors import SpecError
from moa.graph.measured import Candidate, Measured
from moa.graph.part import Selection
from moa.graph.plan import Plan, PlanNode
from moa.graph.size import PER_MESSAGE, prompt_tokens, text_tokens
from moa.spec.model import ModelSpec
from moa.spec.registry import SELECTORS

Heard = Mapping[str, Sequence[int]]
"""For each input, the tokens of every response that arrives there."""
Reply = Callable[[PlanNode, int], int]
"""Tokens of a reply, of a node and its prompt's tokens."""


class Passage(NamedTuple):
    """What passes through one node: its calls, the tokens of all their prompts, and of each reply."""

    calls: int
    prompt: int
    """Tokens of the longest single prompt."""
    prompts: int
    """Tokens of the prompts of all calls together."""
    reply: int
    candidates: tuple[Candidate, ...]
    """Each response handed on."""
    measured: tuple[Measured, ...] = ()
    """What a selector asks models for besides words."""

    @property
    def responses(self) -> tuple[int, ...]:
        """Tokens of each response handed on."""
        return tuple(candidate.tokens for candidate in self.candidates)


def pass_through(plan: Plan, question: str, reply: Reply) -> dict[str, Passage]:
    """Send a question through the plan with replies of the length that `reply` says."""
    passages: dict[str, Passage] = {}
    for node in plan.nodes:
        if node.select:
            candidates = [one for edge in node.inputs for one in passages[edge.node].candidates]
            passages[node.id] = _choose(node, question, candidates, reply)
            continue
        heard: dict[str, list[int]] = {}
        for edge in node.inputs:
            heard.setdefault(edge.role, []).extend(passages[edge.node].responses)
        passages[node.id] = _ask(node, question, heard, reply)
    return passages


def longest_reply(node: PlanNode, model: ModelSpec) -> int | None:
    """The most tokens that one reply can have; None where nothing limits it."""
    limits = [node.sampling.over(model.sampling).max_tokens, model.max_output, model.context]
    return min((limit for limit in limits if limit is not None), default=None)


def _ask(node: PlanNode, question: str, heard: Heard, reply: Reply) -> Passage:
    prompt = _prompt(node, question, heard)
    tokens = reply(node, prompt)
    return Passage(1, prompt, prompt, tokens, (Candidate(tokens, node.model),))


def _choose(node: PlanNode, question: str, heard: Sequence[Candidate], reply: Reply) -> Passage:
    """A selector hands on its longest candidates; its agent sees all of them at once, each, or two at a time."""
    assert node.select is not None
    selector: Selection = SELECTORS.get(node.select.name).model_validate(node.select.options)
    candidates = sorted(heard, key=lambda candidate: candidate.tokens, reverse=True)
    count = len(candidates)
    measured = tuple(selector.measures(text_tokens(question), candidates))
    kept = tuple(candidates[: selector.kept(count)])
    calls = selector.calls(count) if node.agent else 0
    if not calls:
        return Passage(0, 0, 0, 0, kept, measured)
    role = next(iter(node.agent.inputs), "") if node.agent else ""
    shown = count if calls == 1 else 1 if calls == count else min(2, count)
    prompt = _prompt(node, question, {role: [candidate.tokens for candidate in candidates[:shown]]})
    return Passage(calls, prompt, prompt * calls, reply(node, prompt), kept, measured)


def _prompt(node: PlanNode, question: str, heard: Heard) -> int:
    """Tokens of a prompt; a template that takes no placeholders counts as it stands, with all it hears."""
    try:
        return prompt_tokens(node, question, heard)
    except SpecError:
        words = [question, *((node.agent.system or "", node.agent.user or "") if node.agent else ())]
        return sum(text_tokens(text) + PER_MESSAGE for text in words) + sum(map(sum, heard.values()))
