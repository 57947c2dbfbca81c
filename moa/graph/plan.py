"""The frozen plan: what a graph becomes once its wiring is compiled and its slots are bound."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from moa.spec.agent import AgentSpec, Sampling
from moa.spec.graph import Overflow, Select


class Edge(NamedTuple):
    """An input of a node: the agent's name for it and the node that is heard.

    A node may be heard more than once: a window of Self-MoA-Seq repeats the synthesis so far.
    """

    role: str
    node: str


@dataclass(frozen=True, slots=True)
class PlanNode:
    """One concrete node. `id` is stable: `answer`, `drafts[2]`, `refined[0][2]` (round, then member)."""

    id: str
    group: str
    """The node's name in the graph file."""
    agent: AgentSpec | None
    select: Select | None
    model: str | None
    """The bound model's name; None for a selector that asks no model."""
    inputs: tuple[Edge, ...]
    sample: int
    """Which independent sample of an equal request this is: 0, 1, ..."""
    sampling: Sampling
    """The node's own values over the agent's; the model's defaults are still to come."""
    distance: int
    """Edges on the longest way to the answer."""
    quorum: int | None = None
    deadline: float | None = None
    timeout: float | None = None
    overflow: Overflow = "truncate"
    vars: dict[str, Any] = field(default_factory=dict)
    deceives: bool = False
    """Whether an attack put somebody else in the place of its own agent."""

    @property
    def does(self) -> str | None:
        """The name of the node's selector or agent."""
        if self.select is not None:
            return self.select.name
        return self.agent.name if self.agent else None

    @property
    def sources(self) -> tuple[str, ...]:
        """Ids of the nodes that are heard, each once, in order."""
        return tuple(dict.fromkeys(edge.node for edge in self.inputs))


@dataclass(frozen=True)
class Plan:
    """A compiled graph: nodes in topological order, and the one that answers."""

    name: str
    nodes: tuple[PlanNode, ...]
    answer: str
    fingerprint: str
    """SHA-256 of everything that decides the answer: agents, wiring, models, sampling."""

    @cached_property
    def by_id(self) -> dict[str, PlanNode]:
        return {node.id: node for node in self.nodes}

    @cached_property
    def consumers(self) -> dict[str, tuple[str, ...]]:
        """For each node, the ids of those that hear it, each once."""
        heard: dict[str, list[str]] = {node.id: [] for node in self.nodes}
        for node in self.nodes:
            for source in node.sources:
                heard[source].append(node.id)
        return {node: tuple(ids) for node, ids in heard.items()}

    @cached_property
    def models(self) -> tuple[str, ...]:
        """Names of the models that the plan asks, in order of first use."""
        return tuple(dict.fromkeys(node.model for node in self.nodes if node.model is not None))
