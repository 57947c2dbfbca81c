"""A graph as an evaluation's protocol wants it: other agents by place, and a part of the passage for each proposer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import JsonValue

from moa.graph.bind import Bindings
from moa.graph.compile import Agents, catalogue_agents, compile_graph
from moa.graph.layers import layers
from moa.graph.plan import Plan
from moa.spec.attack import Deception
from moa.spec.evaluation import ProtocolSpec, StandIn
from moa.spec.graph import GraphSpec, NodeSpec


def under_protocol(
    spec: GraphSpec,
    protocol: ProtocolSpec | None,
    bindings: Bindings | None = None,
    *,
    near: Path | None = None,
) -> GraphSpec:
    """The graph with the protocol's agents in the places of its own; nodes keep their models, wiring and sampling.

    The passage is divided among the proposers, layer by layer and model by model (Wolf et al. 2025, arXiv:2503.05856); each is told its
    `part` of how many `parts`. Comes before `defend` and `attacked`, so that a defence takes over the agent of the
    last step and an attack the places. `bindings` are needed where a slot stands for several models.
    """
    if protocol is None:
        return spec
    plan = compile_graph(spec.model_copy(update={"attack": {}}), bindings, near=near)
    nodes, agents = dict(spec.nodes), catalogue_agents(near)
    for group in dict.fromkeys(node.group for node in plan.nodes):
        stand_in = _stand_in(plan, group, protocol)
        if stand_in is not None:
            nodes[group] = _with(spec.nodes[group], stand_in, agents)
    cast = spec.model_copy(update={"nodes": nodes, "attack": in_roles(spec.attack, protocol)})
    if protocol.passage == "whole":
        return cast
    seats = [id for layer in layers(plan) for id in layer if _takes_part(nodes[plan.by_id[id].group], agents)]
    parts: dict[str, dict[str, JsonValue]] = {
        id: {"part": number, "parts": len(seats), **spec.vars.get(id, {})} for number, id in enumerate(seats)
    }
    return cast.model_copy(update={"vars": {**spec.vars, **parts}})


def in_roles(deceivers: Mapping[str, Deception], protocol: ProtocolSpec | None) -> dict[str, Deception]:
    """Deceivers as the protocol casts them; one for whom it has no words of its own stays."""
    roles = protocol.roles if protocol else {}
    return {
        node: _cast(deception, roles[deception.agent])
        if isinstance(deception.agent, str) and deception.agent in roles
        else deception
        for node, deception in deceivers.items()
    }


def _cast(deception: Deception, role: Deception) -> Deception:
    changes = {"agent": role.agent, "vars": {**role.vars, **deception.vars}}
    return deception.model_copy(update=changes)


def _stand_in(plan: Plan, group: str, protocol: ProtocolSpec) -> StandIn | None:
    """Who stands at the nodes of one line of the graph; None where its own agent stays."""
    nodes = [node for node in plan.nodes if node.group == group]
    if nodes[0].select is not None:
        return None
    if group == plan.by_id[plan.answer].group:
        return protocol.final
    return protocol.middle if any(node.inputs for node in nodes) else protocol.first


def _with(node: NodeSpec, stand_in: StandIn, agents: Agents) -> NodeSpec:
    """The line with another agent, which hears everything under the first of its own inputs."""
    agent = agents(stand_in.agent)
    heard = tuple(dict.fromkeys(name for names in node.input_groups().values() for name in names))
    own = {name: value for name, value in node.vars.items() if name in agent.vars}
    changes: dict[str, object] = {"agent": stand_in.agent}
    if heard:
        changes["inputs"] = heard if agent.inputs else ()
    if node.vars or stand_in.vars:
        changes["vars"] = {**stand_in.vars, **own}
    return node.model_copy(update=changes)


def _takes_part(node: NodeSpec, agents: Agents) -> bool:
    """Whether the line's agent is told which part of the passage is its own."""
    agent = agents(node.agent) if isinstance(node.agent, str) else node.agent
    return agent is not None and {"part", "parts"} <= agent.vars.keys()
