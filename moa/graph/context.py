"""Whether prompts and replies fit the context windows of the models, before any call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from moa.graph.mistake import Mistake
from moa.graph.plan import Plan, PlanNode
from moa.graph.size import filler
from moa.graph.traffic import longest_reply, pass_through
from moa.spec.model import ModelSpec


@dataclass(frozen=True, slots=True)
class ContextReport:
    """`mistakes` can never fit; `warnings` do not fit when every reply is as long as it may be."""

    mistakes: list[Mistake] = field(default_factory=list)
    warnings: list[Mistake] = field(default_factory=list)


def check_context(
    plan: Plan, lookup: Callable[[str], ModelSpec], *, prompt: str | None = None
) -> ContextReport:
    """Compare every node's prompt with its model's context window, where that is known.

    The least prompt is the question, the agent's own words, and one token of each reference. A reply
    keeps room for its `max_tokens`, or a quarter of the window where that is less: the rule by which
    the engine makes prompts fit. Tokens are estimated at four characters each. Without `prompt` the
    question counts as one token.
    """
    models = {name: lookup(name) for name in plan.models}
    question = prompt if prompt is not None else filler(1)
    least = pass_through(plan, question, lambda node, tokens: 1)
    most = pass_through(plan, question, lambda node, tokens: _longest(node, models))
    report = ContextReport()
    told: set[tuple[str, str | None]] = set()
    for node in plan.nodes:
        context = models[node.model].context if node.model else None
        if context is None or (node.group, node.model) in told:
            continue
        room = context - _reply_room(node, models, context)
        if least[node.id].prompt > room:
            message = f"at least {least[node.id].prompt:,} tokens of prompt"
            report.mistakes.append(_finding(node, message, room, context, "use a model with a larger window"))
        elif most[node.id].prompt > room:
            message = f"up to {most[node.id].prompt:,} tokens of prompt"
            remedy = f"`overflow: {node.overflow}` decides what then happens"
            report.warnings.append(_finding(node, message, room, context, remedy))
        else:
            continue
        told.add((node.group, node.model))
    return report


def _longest(node: PlanNode, models: dict[str, ModelSpec]) -> int:
    return (longest_reply(node, models[node.model]) if node.model else None) or 1


def _reply_room(node: PlanNode, models: dict[str, ModelSpec], context: int) -> int:
    assert node.model is not None
    model = models[node.model]
    wanted = node.sampling.over(model.sampling).max_tokens or context
    return min(wanted, max(1, context // 4))


def _finding(node: PlanNode, prompt: str, room: int, context: int, remedy: str) -> Mistake:
    message = f"`{node.id}`: {prompt}, but {node.model} has room for {room:,} of {context:,}: {remedy}"
    return Mistake(("nodes", node.group), message)
