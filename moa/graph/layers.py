"""The layers of proposers of a plan, and the positions in them that an attack names."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from typing import NamedTuple

from moa.errors import UsageError
from moa.graph.plan import Plan
from moa.spec.attack import ROLES

_CODE = re.compile(r"[0-3]+(_[0-3]+)*")

Layers = tuple[tuple[str, ...], ...]
"""Ids of nodes, layer by layer, in the plan's order."""


class Seat(NamedTuple):
    """A node and the role that it is given."""

    node: str
    role: str


def layers(plan: Plan) -> Layers:
    """The nodes that ask a model, by how many of them stand before each at most; the final step is left out.

    A selector is no layer of its own, and the line of the graph that answers is no proposer's.
    """
    answering = plan.by_id[plan.answer].group
    depth: dict[str, int] = {}
    found: dict[int, list[str]] = {}
    for node in plan.nodes:
        own = node.select is None and node.group != answering
        depth[node.id] = max((depth[source] for source in node.sources), default=0) + own
        if own:
            found.setdefault(depth[node.id], []).append(node.id)
    return tuple(tuple(found[level]) for level in sorted(found))


def is_code(text: str) -> bool:
    """Whether this is a code such as `000_003`: a digit for each proposer, layers apart."""
    return _CODE.fullmatch(text) is not None


def read_code(text: str, among: Layers) -> list[Seat]:
    """The deceivers of a code of Wolf et al. 2025 (arXiv:2503.05856): 0 truthful, 1 deceiver, 2 promoter, 3 opposer.

    Raises `UsageError` where the code does not fit the layers.
    """
    rows = text.split("_")
    if [len(row) for row in rows] != [len(layer) for layer in among]:
        clean = "_".join("0" * len(layer) for layer in among) or "no proposers at all"
        raise UsageError(f"the code {text!r} does not fit the graph, whose proposers are {clean}")
    return [
        Seat(node, ROLES[digit])
        for row, layer in zip(rows, among, strict=True)
        for digit, node in zip(row, layer, strict=True)
        if digit != "0"
    ]


def sample_seats(counts: Sequence[tuple[int, str]], among: Layers, seed: int) -> list[Seat]:
    """That many nodes of each role, drawn from all layers without replacement.

    Raises `UsageError` for more deceivers than there are proposers.
    """
    nodes = [node for layer in among for node in layer]
    wanted = sum(count for count, _ in counts)
    if wanted > len(nodes):
        raise UsageError(f"{wanted} deceivers are more than the {len(nodes)} proposers of the graph")
    drawn = iter(random.Random(seed).sample(nodes, wanted))
    taken = {next(drawn): role for count, role in counts for _ in range(count)}
    return [Seat(node, taken[node]) for node in nodes if node in taken]
