"""Who hears whom in a plan, in words."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moa.graph.plan import Edge, Plan, PlanNode


def wiring_json(plan: Plan) -> dict[str, Any]:
    """The concrete nodes, and whom each hears under which of its agent's inputs."""
    nodes = [
        {
            "id": node.id,
            "group": node.group,
            "agent": node.agent.name if node.agent else None,
            "select": node.select.name if node.select else None,
            "model": node.model,
            "hears": [edge._asdict() for edge in node.inputs],
        }
        for node in plan.nodes
    ]
    return {"answer": plan.answer, "nodes": nodes}


def wiring_lines(plan: Plan) -> list[str]:
    """A heading, and a line for each node: its id, what it is, its model, and whom it hears."""
    rows = [(node.id, _what(node), node.model or "", _hears(node.inputs)) for node in plan.nodes]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]).rstrip()
        for row in rows
    ]
    count = f"{len(rows)} nodes" if len(rows) > 1 else "1 node"
    return [f"{count}, of which `{plan.answer}` answers:", *(f"  {line}" for line in lines)]


def _what(node: PlanNode) -> str:
    agent = (node.agent.name or "agent written here") if node.agent else ""
    return f"{node.select.name} {agent}".rstrip() if node.select else agent


def _hears(edges: tuple[Edge, ...]) -> str:
    """`<- drafts[0..5], critic as critique`: neighbours in one, the input's name where there are several."""
    if not edges:
        return ""
    roles = dict.fromkeys(edge.role for edge in edges)
    groups = [(role, runs([edge.node for edge in edges if edge.role == role])) for role in roles]
    if len(groups) == 1:
        return f"<- {groups[0][1]}"
    return "<- " + "; ".join(f"{role}: {nodes}" for role, nodes in groups)


@dataclass(slots=True)
class _Run:
    """Neighbours in a list of ids: `drafts[0..5]`, or one id several times over."""

    stem: str
    first: int | None
    last: int | None
    times: int = 1

    def takes(self, other: _Run) -> bool:
        """Take in the next id, where it continues this run."""
        if other.stem != self.stem:
            return False
        if self.first == self.last == other.first:
            self.times += 1
            return True
        if self.times > 1 or self.last is None or other.first != self.last + 1:
            return False
        self.last = other.last
        return True

    def __str__(self) -> str:
        numbers = "" if self.first is None else f"[{self.first}]"
        if self.first != self.last:
            numbers = f"[{self.first}..{self.last}]"
        return f"{self.times} x {self.stem}{numbers}" if self.times > 1 else f"{self.stem}{numbers}"


def runs(ids: Iterable[str]) -> str:
    """`a[0], a[1], a[2], b` as `a[0..2], b`; `b, b` as `2 x b`."""
    runs: list[_Run] = []
    for run in map(_run, ids):
        if not runs or not runs[-1].takes(run):
            runs.append(run)
    return ", ".join(map(str, runs))


def _run(node: str) -> _Run:
    match = re.fullmatch(r"(.+)\[(\d+)\]", node)
    return _Run(match[1], int(match[2]), int(match[2])) if match else _Run(node, None, None)
