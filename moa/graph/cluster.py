"""What a drawing of a plan shows as one: nodes of one line of the graph, and the edges between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from moa.graph.plan import Plan, PlanNode

Role = Literal["proposer", "aggregator", "selector", "agent", "deceiver"]
ROLES: tuple[Role, ...] = ("proposer", "aggregator", "selector", "agent", "deceiver")
MOST_LINES = 40
"""Lines between two clusters that are drawn one by one; more of them become one thick line."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Nodes of one line of the graph that are equally far from the answer. Layer 0 fires first."""

    group: str
    layer: int
    nodes: tuple[PlanNode, ...]

    def __len__(self) -> int:
        return len(self.nodes)


class Hearing(NamedTuple):
    """One node hears another, `times` over, as `role`."""

    source: str
    target: str
    role: str
    times: int


@dataclass(frozen=True, slots=True)
class Link:
    """All edges from one cluster to another. `complete` says that each target hears each source."""

    source: int
    target: int
    hearings: tuple[Hearing, ...]
    complete: bool
    label: str

    @property
    def bundled(self) -> bool:
        """Whether one thick line stands for all of them."""
        return len(self.hearings) > MOST_LINES


def role_of(node: PlanNode) -> Role:
    """The colour of a node: who hears nothing proposes, who hears references aggregates, whom an attack sent deceives."""
    if node.deceives:
        return "deceiver"
    if node.select is not None:
        return "selector"
    if not node.inputs:
        return "proposer"
    return "aggregator" if any(edge.role == "references" for edge in node.inputs) else "agent"


def words_of(node: PlanNode) -> tuple[str, ...]:
    """The small type in a node: its agent or selector, and its model."""
    return tuple(word for word in (node.does, node.model) if word)


def clusters_of(plan: Plan) -> list[Cluster]:
    """The clusters of a plan, layer by layer, each in the plan's order.

    A node stands in the last layer in which it can: right before the first that hears it, so that the
    references of a sliding window stand beside the step that takes them.
    """
    depth = max(node.distance for node in plan.nodes)
    members: dict[tuple[int, str], list[PlanNode]] = {}
    for node in plan.nodes:
        members.setdefault((depth - node.distance, node.group), []).append(node)
    layers = sorted(members, key=lambda place: place[0])
    return [Cluster(group, layer, tuple(members[layer, group])) for layer, group in layers]


def links_of(plan: Plan, clusters: list[Cluster]) -> list[Link]:
    """Who hears whom, cluster by cluster."""
    home = {node.id: index for index, cluster in enumerate(clusters) for node in cluster.nodes}
    found: dict[tuple[int, int], list[Hearing]] = {}
    for node in plan.nodes:
        for (role, source), times in Counter(node.inputs).items():
            place = (home[source], home[node.id])
            found.setdefault(place, []).append(Hearing(source, node.id, role, times))
    return [_link(plan, clusters, place, hearings) for place, hearings in sorted(found.items())]


def _link(plan: Plan, clusters: list[Cluster], place: tuple[int, int], hearings: list[Hearing]) -> Link:
    source, target = place
    pairs = {(hearing.source, hearing.target) for hearing in hearings}
    complete = len(pairs) == len(clusters[source]) * len(clusters[target])
    return Link(source, target, tuple(hearings), complete, _label(plan.by_id, hearings))


def _label(nodes: Mapping[str, PlanNode], hearings: list[Hearing]) -> str:
    """The input that is filled, where the target has several, and how often a response repeats."""
    roles = list(dict.fromkeys(hearing.role for hearing in hearings))
    several = any(len({edge.role for edge in nodes[hearing.target].inputs}) > 1 for hearing in hearings)
    times = {hearing.times for hearing in hearings}
    words = [", ".join(roles)] if several else []
    if times != {1} and len(times) == 1:
        words.append(f"x {times.pop()}")
    return " ".join(words)
