"""The order of clusters inside each layer: the barycentre heuristic, which keeps crossings few."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import combinations, pairwise
from typing import NamedTuple

from moa.graph.cluster import Link

SWEEPS = 12


class Slot(NamedTuple):
    """A place in a layer: a cluster, or the lane in which a long edge (`link`) passes by."""

    layer: int
    cluster: int
    link: tuple[int, int] | None = None


Neighbours = Mapping[Slot, list[Slot]]


def ordered_layers(layers: list[int], links: list[Link], width: Callable[[Slot], float]) -> list[list[Slot]]:
    """The slots of each layer from left to right.

    `layers` has the layer of each cluster, `width` the room that a slot takes. An edge that skips
    layers gets a lane in each of them (Sugiyama et al. 1981).
    """
    rows: list[list[Slot]] = [[] for _ in range(max(layers) + 1)]
    for cluster, layer in enumerate(layers):
        rows[layer].append(Slot(layer, cluster))
    above: dict[Slot, list[Slot]] = {}
    below: dict[Slot, list[Slot]] = {}
    for link in links:
        for upper, lower in _steps(layers, link, rows):
            below.setdefault(upper, []).append(lower)
            above.setdefault(lower, []).append(upper)
    return _fewest_crossings(rows, above, below, width)


def _steps(layers: list[int], link: Link, rows: list[list[Slot]]) -> list[tuple[Slot, Slot]]:
    ends = (link.source, link.target)
    lanes = [Slot(layer, link.target, ends) for layer in range(layers[ends[0]] + 1, layers[ends[1]])]
    for lane in lanes:
        rows[lane.layer].append(lane)
    way = [Slot(layers[ends[0]], ends[0]), *lanes, Slot(layers[ends[1]], ends[1])]
    return list(pairwise(way))


def _fewest_crossings(
    rows: list[list[Slot]], above: Neighbours, below: Neighbours, width: Callable[[Slot], float]
) -> list[list[Slot]]:
    best, fewest = [list(row) for row in rows], crossings(rows, below)
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        order = range(1, len(rows)) if down else range(len(rows) - 2, -1, -1)
        for layer in order:
            rows[layer] = _sorted_row(
                rows[layer], rows[layer + (-1 if down else 1)], above if down else below, width
            )
        found = crossings(rows, below)
        if found < fewest:
            best, fewest = [list(row) for row in rows], found
    return best


def _sorted_row(
    row: list[Slot], fixed: list[Slot], neighbours: Neighbours, width: Callable[[Slot], float]
) -> list[Slot]:
    """The row by the mean place of each slot's neighbours in the fixed one; slots without any stay in place."""
    beside, own = _places(fixed, width), _places(row, width)

    def barycentre(slot: Slot) -> float:
        places = [beside[other] for other in neighbours.get(slot, ()) if other in beside]
        return sum(places) / len(places) if places else own[slot]

    return sorted(row, key=barycentre)


def _places(row: list[Slot], width: Callable[[Slot], float]) -> dict[Slot, float]:
    """The middle of each slot, the middle of the row being 0."""
    x = -sum(map(width, row)) / 2
    places: dict[Slot, float] = {}
    for slot in row:
        places[slot] = x + width(slot) / 2
        x += width(slot)
    return places


def crossings(rows: list[list[Slot]], below: Neighbours) -> int:
    """How many pairs of edges between neighbouring layers cross."""
    total = 0
    for upper, lower in pairwise(rows):
        rank = {slot: index for index, slot in enumerate(lower)}
        edges = [(index, rank[other]) for index, slot in enumerate(upper) for other in below.get(slot, ())]
        total += sum((a - c) * (b - d) < 0 for (a, b), (c, d) in combinations(edges, 2))
    return total
