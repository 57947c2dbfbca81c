"""A plan as the scheduler needs it: units that fire together, and what waits for what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from moa.graph.plan import Plan, PlanNode
from moa.run.endpoint import Endpoint, Endpoints
from moa.run.keys import Written


@dataclass(frozen=True, slots=True)
class Unit:
    """Nodes that are one request: equal samples of one model, or a single node."""

    index: int
    nodes: tuple[PlanNode, ...]
    samples: tuple[int, ...]
    sources: tuple[str, ...]
    roles: tuple[tuple[str, tuple[str, ...]], ...]
    """For each input of the agent, the nodes that fill it, in order and with repeats."""
    needed: int
    """Usable inputs without which the unit cannot fire."""
    eager: bool
    """Whether it fires as soon as it has `needed` of them."""
    deadline: float | None
    endpoint: Endpoint | None
    params: Written[Mapping[str, Any]]
    words: int
    """Equal for units whose agents say the same when they hear the same."""
    first: PlanNode
    ids: tuple[str, ...]
    consumers: tuple[int, ...]
    """Indices of the units that hear this one, each once."""
    hurried: bool
    """Whether one of them has a deadline."""


@dataclass(frozen=True, slots=True)
class Wiring:
    """The units of a plan, who feeds whom, and which units start at once."""

    plan: Plan
    units: tuple[Unit, ...]
    unit_of: Mapping[str, Unit]
    consumers: Mapping[str, tuple[Unit, ...]]
    roots: tuple[Unit, ...]
    waiting: tuple[int, ...]
    """For each unit, how many nodes it hears."""


def wire(plan: Plan, endpoints: Endpoints) -> Wiring:
    """Group a plan's nodes into units and bind them to endpoints."""
    alone = _inputs_of_the_impatient(plan)
    groups: dict[object, list[PlanNode]] = {}
    for node in plan.nodes:
        groups.setdefault(_collapse_key(plan, node, alone), []).append(node)
    index_of = {node.id: index for index, nodes in enumerate(groups.values()) for node in nodes}
    words: dict[object, int] = {}
    units = tuple(
        _unit(plan, index, nodes, endpoints, words.setdefault(_words(nodes[0]), index), index_of)
        for index, nodes in enumerate(groups.values())
    )
    return Wiring(
        plan,
        units,
        {node.id: unit for unit in units for node in unit.nodes},
        {id: tuple(units[i] for i in _consumers(plan, [id], index_of)) for id in index_of},
        tuple(unit for unit in units if not unit.sources),
        tuple(len(unit.sources) for unit in units),
    )


def _consumers(plan: Plan, ids: Iterable[str], index_of: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(index_of[consumer] for id in ids for consumer in plan.consumers[id]))


def _inputs_of_the_impatient(plan: Plan) -> set[str]:
    """Nodes that somebody may stop waiting for: each must be a request of its own to be cancelled."""
    impatient = (node for node in plan.nodes if node.quorum is not None or node.deadline is not None)
    return {source for node in impatient for source in node.sources}


def _collapse_key(plan: Plan, node: PlanNode, alone: set[str]) -> object:
    """Equal for samples that share a request; those that different nodes wait for do not wait for each other."""
    if node.agent is None or node.select is not None or node.id in alone:
        return node.id
    content = (_words(node), node.sampling.model_dump_json())
    return (
        node.model,
        node.inputs,
        content,
        node.timeout,
        node.overflow,
        node.quorum,
        node.deadline,
        plan.consumers[node.id],
    )


def _words(node: PlanNode) -> object:
    """What decides an agent's prompt besides the conversation and the responses."""
    return (node.agent.model_dump_json() if node.agent else "", repr(sorted(node.vars.items())))


def _unit(
    plan: Plan,
    index: int,
    nodes: list[PlanNode],
    endpoints: Endpoints,
    words: int,
    index_of: Mapping[str, int],
) -> Unit:
    first = nodes[0]
    ids = tuple(node.id for node in nodes)
    hearers = [plan.by_id[consumer] for id in ids for consumer in plan.consumers[id]]
    sources = first.sources
    roles: dict[str, list[str]] = {}
    for edge in first.inputs:
        roles.setdefault(edge.role, []).append(edge.node)
    endpoint = endpoints.get(first.model) if first.model is not None else None
    return Unit(
        index=index,
        nodes=tuple(nodes),
        samples=tuple(node.sample for node in nodes),
        sources=sources,
        roles=tuple((role, tuple(ids)) for role, ids in roles.items()),
        needed=first.quorum or (len(sources) + 1) // 2,
        eager=first.quorum is not None and first.deadline is None,
        deadline=first.deadline,
        endpoint=endpoint,
        params=Written(endpoint.params(first.sampling) if endpoint else {}),
        words=words,
        first=first,
        ids=ids,
        consumers=_consumers(plan, ids, index_of),
        hurried=any(node.deadline is not None for node in hearers),
    )
