"""Random graphs compile to plans that say exactly what the lines of the graph say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import networkx as nx
from hypothesis import given, settings
from hypothesis import strategies as st

from moa.graph.bind import Bindings
from moa.graph.compile import compile_graph
from moa.graph.plan import Plan
from moa.spec.graph import GraphSpec
from tests.graph.sketch import agents

Nodes = dict[str, dict[str, Any]]


@st.composite
def dags(draw: st.DrawFn) -> Nodes:
    """Lines that hear earlier lines only; the answer hears whatever nobody else does."""
    nodes: Nodes = {}
    for index in range(draw(st.integers(1, 7))):
        heard = [name for name in nodes if draw(st.booleans())]
        models = draw(st.lists(st.sampled_from("abc"), min_size=1, max_size=3))
        kind = {"agent": "aggregator", "inputs": heard} if heard else {"agent": "proposer"}
        nodes[f"n{index}"] = {**kind, "models": models, "samples": draw(st.integers(1, 3))}
    loose = [name for name in nodes if not any(name in other.get("inputs", ()) for other in nodes.values())]
    nodes["answer"] = {"agent": "aggregator", "model": "a", "inputs": loose}
    return nodes


def plan_of(nodes: Nodes, *options: str) -> Plan:
    return compile_graph(GraphSpec.model_validate({"nodes": nodes}), Bindings.parse(options), agents=agents)


def graph_of(plan: Plan) -> nx.DiGraph[str]:
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(node.id for node in plan.nodes)
    graph.add_edges_from((source, node.id) for node in plan.nodes for source in node.sources)
    return graph


@settings(deadline=None)
@given(dags())
def test_every_member_hears_every_member_of_its_inputs_in_order(nodes: Nodes) -> None:
    plan = plan_of(nodes, "a=x:1", "x:2")
    members = {name: [node.id for node in plan.nodes if node.group == name] for name in nodes}
    for name, line in nodes.items():
        assert len(members[name]) == len(line.get("models", "a")) * line.get("samples", 1)
        expected = [id for heard in line.get("inputs", ()) for id in members[heard]]
        for id in members[name]:
            assert [edge.node for edge in plan.by_id[id].inputs] == expected


@settings(deadline=None)
@given(dags())
def test_plans_are_acyclic_in_topological_order_with_the_longest_distances(nodes: Nodes) -> None:
    plan = plan_of(nodes, "x:y")
    graph = graph_of(plan)
    assert nx.is_directed_acyclic_graph(graph)
    seen: set[str] = set()
    for node in plan.nodes:
        assert seen.issuperset(node.sources)
        seen.add(node.id)
    assert len(seen) == len(plan.nodes)
    distances = {plan.answer: 0}
    for id in reversed(list(nx.topological_sort(graph))):
        if id != plan.answer:
            distances[id] = 1 + max(distances[hearer] for hearer in graph.successors(id))
    assert distances == {node.id: node.distance for node in plan.nodes}


@settings(deadline=None)
@given(dags())
def test_equal_requests_are_numbered_without_gaps(nodes: Nodes) -> None:
    numbers: dict[object, list[int]] = {}
    for node in plan_of(nodes, "x:y").nodes:
        request = (node.agent.name if node.agent else None, node.model, node.inputs)
        numbers.setdefault(request, []).append(node.sample)
    assert all(sorted(drawn) == list(range(len(drawn))) for drawn in numbers.values())


@settings(deadline=None)
@given(dags(), st.permutations(range(8)))
def test_neither_order_nor_names_of_slots_change_a_plan(nodes: Nodes, order: list[int]) -> None:
    names = list(nodes)
    shuffled = {names[index]: nodes[names[index]] for index in order if index < len(names)}
    plan, turned = plan_of(nodes, "a=x:1", "x:2"), plan_of(shuffled, "a=x:1", "x:2")
    assert (turned.nodes, turned.fingerprint) == (plan.nodes, plan.fingerprint)
    rename: Callable[[str], str] = {"a": "p", "b": "q", "c": "r"}.__getitem__
    renamed = {
        name: {key: _renamed(key, value, rename) for key, value in line.items()}
        for name, line in nodes.items()
    }
    assert plan_of(renamed, "p=x:1", "x:2").fingerprint == plan.fingerprint


def _renamed(key: str, value: Any, rename: Callable[[str], str]) -> Any:
    if key == "models":
        return [rename(name) for name in value]
    return rename(value) if key == "model" else value
