"""A plan asked for more: sampling of the caller's own, or several answers, where its answer is written."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from moa.errors import UsageError
from moa.graph.plan import Plan, PlanNode
from moa.spec.agent import Sampling


def writers(plan: Plan) -> tuple[PlanNode, ...]:
    """The nodes whose words may become the answer: the last agent, or those that a last selector chooses from."""
    found: dict[str, PlanNode] = {}
    waiting = [plan.answer]
    while waiting:
        node = plan.by_id[waiting.pop()]
        if node.select is None:
            found[node.id] = node
        else:
            waiting += (source for source in node.sources if source not in found)
    return tuple(node for node in plan.nodes if node.id in found)


def answer_ids(plan: Plan, count: int) -> tuple[str, ...]:
    """The ids of `count` answers in the plan that `answering` makes."""
    return (plan.answer, *(f"{plan.answer}@{number}" for number in range(1, count)))


def answering(plan: Plan, sampling: Sampling, count: int = 1) -> Plan:
    """The plan with `sampling` over that of its `writers`, and `count` samples of its answer.

    The other answers hear what the first one hears and are named `answer@1`, `answer@2`, ...: the panel is asked
    once. Raises `UsageError` for several answers of a selector, which would choose the same one again.
    """
    if count == 1 and sampling == Sampling():
        return plan
    last = plan.by_id[plan.answer]
    if count > 1 and last.select is not None:
        raise UsageError(f"{plan.name} chooses its answer among others and has only one")
    changed = {node.id: replace(node, sampling=sampling.over(node.sampling)) for node in writers(plan)}
    nodes = [changed.get(node.id, node) for node in plan.nodes]
    first = changed.get(plan.answer, last)
    ids = answer_ids(plan, count)
    nodes += [replace(first, id=id, sample=first.sample + n) for n, id in enumerate(ids) if n]
    asked = f"{plan.fingerprint}\0{sampling.model_dump_json()}\0{count}"
    return Plan(plan.name, tuple(nodes), plan.answer, hashlib.sha256(asked.encode()).hexdigest())
