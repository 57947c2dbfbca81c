"""Blocks of a graph: single nodes, and the parts that `rounds` repeats."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import networkx as nx

from moa.graph.mistake import Mistake
from moa.graph.part import Part


class Block(NamedTuple):
    """Nodes that fire together `times` times; from the second time on, `sink` stands in for `replace`."""

    nodes: tuple[str, ...]
    sink: str
    times: int = 1
    replace: str = ""


def group_graph(parts: Mapping[str, Part]) -> nx.DiGraph[str]:
    """Who hears whom: an edge from each node to those that hear it; inputs that do not exist are left out."""
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(parts)
    for name, part in parts.items():
        graph.add_edges_from((heard, name) for heard in _heard(part) if heard in parts)
    return graph


def canonical_order(parts: Mapping[str, Part], answer: str | None) -> list[str]:
    """All nodes, each after those it hears, in an order that the order of the file does not change.

    It is the order in which a walk back from the answer leaves them; those it does not reach follow.
    """
    hears: nx.DiGraph[str] = nx.DiGraph()
    for name, part in parts.items():
        hears.add_node(name)
        hears.add_edges_from((name, heard) for heard in _heard(part) if heard in parts)
    order: dict[str, None] = {}
    for start in [answer, *sorted(parts)]:
        if start in parts and start not in order:
            order.update(dict.fromkeys(nx.dfs_postorder_nodes(hears, start)))
    return list(order)


def rounds_block(parts: Mapping[str, Part], graph: nx.DiGraph[str], name: str) -> Block | Mistake:
    """The part that the rounds of `name` repeat: what lies between `replace` and it, itself included."""
    part = parts[name]
    rounds = part.spec.rounds
    assert rounds is not None
    replace = rounds.replace
    if replace is None:
        heard = list(dict.fromkeys(_heard(part)))
        if len(heard) != 1:
            message = f"`{name}` hears {len(heard)} nodes: say which one each round replaces, `replace: NODE`"
            return Mistake(("nodes", name, "rounds"), message)
        replace = heard[0]
    earlier: set[str] = nx.ancestors(graph, name)
    if replace not in earlier:
        message = f"`{name}` does not hear `{replace}`, directly or through others"
        return Mistake(("nodes", name, "rounds", "replace"), message)
    later: set[str] = nx.descendants(graph, replace)
    body = (later & earlier) | {name}
    return Block(tuple(sorted(body)), name, rounds.times, replace)


def blocks(parts: Mapping[str, Part], order: list[str]) -> tuple[list[Block], list[Mistake]]:
    """The graph as blocks, each after those it hears, and what is wrong with its rounds."""
    graph = group_graph(parts)
    found: list[Block] = []
    wrong: list[Mistake] = []
    for name in order:
        if parts[name].spec.rounds is not None:
            block = rounds_block(parts, graph, name)
            if isinstance(block, Mistake):
                wrong.append(block)
            else:
                found.append(block)
    wrong.extend(_overlaps(found))
    if wrong:
        return [], wrong
    return _sorted_blocks(graph, found, order)


def _sorted_blocks(
    graph: nx.DiGraph[str], repeated: list[Block], order: list[str]
) -> tuple[list[Block], list[Mistake]]:
    position = {name: index for index, name in enumerate(order)}
    block_of = {name: Block((name,), name) for name in order}
    for block in repeated:
        inner = Block(tuple(sorted(block.nodes, key=position.__getitem__)), *block[1:])
        block_of.update(dict.fromkeys(block.nodes, inner))
    contracted: nx.DiGraph[Any] = nx.DiGraph()
    contracted.add_nodes_from(block_of.values())
    edges = ((block_of[source], block_of[target]) for source, target in graph.edges)
    contracted.add_edges_from((source, target) for source, target in edges if source != target)
    if not nx.is_directed_acyclic_graph(contracted):
        names = " and ".join(f"`{block.sink}`" for block in repeated)
        message = f"the rounds of {names} hear each other's nodes: one must end before the next begins"
        return [], [Mistake(("nodes", repeated[-1].sink, "rounds"), message)]
    key = {block: min(position[name] for name in block.nodes) for block in contracted}
    return list(nx.lexicographical_topological_sort(contracted, key=key.__getitem__)), []


def _overlaps(found: list[Block]) -> Iterable[Mistake]:
    owner: dict[str, str] = {}
    for block in found:
        shared = [name for name in block.nodes if name in owner]
        owner.update(dict.fromkeys(block.nodes, block.sink))
        if shared:
            message = (
                f"the rounds of `{block.sink}` repeat `{shared[0]}`, which other rounds repeat already: "
                "rounds inside rounds are not supported"
            )
            yield Mistake(("nodes", block.sink, "rounds"), message)


def _heard(part: Part) -> list[str]:
    """Names of the nodes that are heard, inputs in alphabetical order, so that a file's order is no matter."""
    return [name for _, names in sorted(part.inputs.items()) for name in names]
