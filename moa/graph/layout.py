"""Where everything in a picture of a plan stands: layers from top to bottom, few crossings, nothing overlapping."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from typing import Literal, NamedTuple

from moa.errors import UsageError
from moa.graph.cluster import ROLES, Cluster, Link, Role, clusters_of, links_of, role_of, words_of
from moa.graph.lettering import fitted, width_of
from moa.graph.ordering import Slot, ordered_layers
from moa.graph.plan import Plan, PlanNode

MOST_NODES = 600
"""Nodes in a picture, at most; Mermaid and DOT take more."""
COLUMNS = 10
"""Nodes beside each other in one cluster, at most."""
NAME, SMALL, TITLE = 13.0, 10.5, 19.0
"""Sizes of type: a node's id, everything small, the title."""
_LEAST_BOX, _MOST_BOX = 92.0, 176.0
_INSET = 9.0
_GAP, _ROW_GAP, _CLUSTER_GAP, _LANE = 14.0, 12.0, 34.0, 18.0
_FRAME, _MOST_TITLE = 12.0, 90.0
_LAYER_GAP, _BUSY_GAP, _BUSY, _MARGIN = 54.0, 88.0, 12, 28.0
_ARROW = 9.0
_HEAD, _LEGEND, _MARK_GAP, _SWATCH = 62.0, 38.0, 22.0, 24.0


class Box(NamedTuple):
    """A node: a rounded rectangle with its id and small type under it."""

    id: str
    x: float
    y: float
    width: float
    height: float
    role: Role
    name: str
    small: tuple[str, ...]
    answers: bool


class Frame(NamedTuple):
    """A rectangle round the nodes of one cluster, with its title at the left, where no edge passes."""

    x: float
    y: float
    width: float
    height: float
    title: tuple[str, str]
    """The name of the line in the graph, and how many nodes it became."""


class Point(NamedTuple):
    x: float
    y: float


class Curve(NamedTuple):
    """An edge through `points`, drawn vertically at each; `thick` stands for many edges, `dashed` for only some."""

    points: tuple[Point, ...]
    thick: bool
    dashed: bool
    label: str
    label_at: Point
    source: str
    target: str


class Mark(NamedTuple):
    """An entry of the legend at the bottom: a swatch or a piece of line, and its meaning."""

    x: float
    y: float
    kind: Role | Literal["thick", "dashed"]
    word: str


class Picture(NamedTuple):
    """Everything that is drawn, in units of one pixel at normal size."""

    width: float
    height: float
    title: str
    subtitle: str
    boxes: tuple[Box, ...]
    frames: tuple[Frame, ...]
    curves: tuple[Curve, ...]
    legend: tuple[Mark, ...]


def lay_out(plan: Plan) -> Picture:
    """Lay out a plan; raises `UsageError` for one that is too large for a picture."""
    if len(plan.nodes) > MOST_NODES:
        raise UsageError(
            f"{len(plan.nodes):,} nodes are too many for a picture (at most {MOST_NODES}): use --format mermaid or dot"
        )
    return _Layout(plan).picture()


@dataclass(frozen=True, slots=True)
class _Sizes:
    """The size of every box: one for the whole picture, wide enough for what most of them say."""

    width: float
    height: float
    lines: int

    @classmethod
    def of(cls, plan: Plan) -> _Sizes:
        room = _MOST_BOX - 2 * _INSET
        joined = [" · ".join(words_of(node)) for node in plan.nodes]
        lines = 1 if all(width_of(words, SMALL) <= room for words in joined) else 2
        wanted = [width_of(node.id, NAME) for node in plan.nodes]
        for node in plan.nodes:
            wanted += [width_of(words, SMALL) for words in _small_lines(node, lines)]
        width = min(_MOST_BOX, max(_LEAST_BOX, max(wanted) + 2 * _INSET))
        return cls(ceil(width), 42.0 if lines == 1 else 56.0, lines)


def _small_lines(node: PlanNode, lines: int) -> tuple[str, ...]:
    words = words_of(node)
    return words if lines > 1 else (" · ".join(words),) if words else ()


class _Layout:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.sizes = _Sizes.of(plan)
        self.clusters = clusters_of(plan)
        self.links = links_of(plan, self.clusters)
        self.layers = ordered_layers([cluster.layer for cluster in self.clusters], self.links, self._weight)
        self.boxes: dict[str, Box] = {}
        self.frames: dict[int, Frame] = {}
        self.lanes: dict[Slot, tuple[Point, Point]] = {}
        self.bands: list[tuple[float, float]] = []
        """Top and bottom of each layer."""

    def _weight(self, slot: Slot) -> float:
        """The room that a slot takes in its layer."""
        return self._extent(slot.cluster)[0] if slot.link is None else _LANE

    def _columns(self, cluster: Cluster) -> int:
        return ceil(len(cluster) / ceil(len(cluster) / COLUMNS))

    def _title(self, cluster: Cluster) -> tuple[str, str]:
        return fitted(cluster.group, SMALL, _MOST_TITLE), f"x {len(cluster)}"

    def _title_width(self, index: int) -> float:
        """The room for a cluster's title beside its boxes."""
        cluster = self.clusters[index]
        return width_of(self._title(cluster)[0], SMALL) + _FRAME if len(cluster) > 1 else 0.0

    def _extent(self, index: int) -> tuple[float, float]:
        """Width and height of a cluster, its frame included."""
        cluster = self.clusters[index]
        columns = self._columns(cluster)
        rows = ceil(len(cluster) / columns)
        width = columns * (self.sizes.width + _GAP) - _GAP
        height = rows * (self.sizes.height + _ROW_GAP) - _ROW_GAP
        return (
            (width + 2 * _FRAME + self._title_width(index), height + 2 * _FRAME)
            if len(cluster) > 1
            else (width, height)
        )

    def picture(self) -> Picture:
        title = fitted(self.plan.name or "graph", TITLE, 900)
        subtitle = self._subtitle()
        legend_width = sum(_mark_width(word) for _, word in self._meanings()) - _MARK_GAP
        wide = [self._layer_width(layer) + self._overhang(layer) for layer in self.layers]
        inner = max(*wide, width_of(title, TITLE), width_of(subtitle, SMALL), legend_width)
        width = ceil(inner + 2 * _MARGIN)
        y = _HEAD
        for index, layer in enumerate(self.layers):
            y = self._place_layer(layer, width / 2, y + (self._gap_above(index) if index else 0))
        bottom = y + _LEGEND
        legend = tuple(self._legend((width - legend_width) / 2, bottom))
        boxes = tuple(self.boxes[node.id] for node in self.plan.nodes)
        curves = tuple(curve for link in self.links for curve in self._curves(link))
        return Picture(
            width, ceil(bottom + _MARGIN), title, subtitle, boxes, tuple(self.frames.values()), curves, legend
        )

    def _gap_above(self, layer: int) -> float:
        """More room where many lines cross."""
        lines = sum(
            len(link.hearings)
            for link in self.links
            if self.clusters[link.target].layer == layer and not link.bundled
        )
        return _BUSY_GAP if lines > _BUSY else _LAYER_GAP

    def _layer_width(self, layer: list[Slot]) -> float:
        return sum(map(self._weight, layer)) + _CLUSTER_GAP * (len(layer) - 1)

    def _overhang(self, layer: list[Slot]) -> float:
        """What the first title of a layer takes at the left: the boxes are centred, not the titles."""
        return self._title_width(layer[0].cluster) if layer[0].link is None else 0.0

    def _place_layer(self, layer: list[Slot], centre: float, top: float) -> float:
        """Place the slots of a layer side by side; returns the bottom of the layer."""
        height = max(self._extent(slot.cluster)[1] for slot in layer if slot.link is None)
        self.bands.append((top, top + height))
        x = centre - (self._layer_width(layer) + self._overhang(layer)) / 2
        for slot in layer:
            if slot.link is None:
                self._place_cluster(slot.cluster, x, top + (height - self._extent(slot.cluster)[1]) / 2)
            else:
                middle = x + _LANE / 2
                self.lanes[slot] = (Point(middle, top), Point(middle, top + height))
            x += self._weight(slot) + _CLUSTER_GAP
        return top + height

    def _place_cluster(self, index: int, x: float, y: float) -> None:
        cluster = self.clusters[index]
        if len(cluster) > 1:
            self.frames[index] = Frame(x, y, *self._extent(index), self._title(cluster))
            x, y = x + _FRAME + self._title_width(index), y + _FRAME
        columns = self._columns(cluster)
        for number, node in enumerate(cluster.nodes):
            row, column = divmod(number, columns)
            in_row = min(columns, len(cluster) - row * columns)
            indent = (columns - in_row) * (self.sizes.width + _GAP) / 2
            left = x + indent + column * (self.sizes.width + _GAP)
            self.boxes[node.id] = self._box(node, left, y + row * (self.sizes.height + _ROW_GAP))

    def _box(self, node: PlanNode, x: float, y: float) -> Box:
        room = self.sizes.width - 2 * _INSET
        name = fitted(node.id, NAME, room)
        small = tuple(fitted(words, SMALL, room) for words in _small_lines(node, self.sizes.lines))
        answers = node.id == self.plan.answer
        return Box(node.id, x, y, self.sizes.width, self.sizes.height, role_of(node), name, small, answers)

    def _grouped(self, link: Link) -> bool:
        """Whether one thick line stands for all edges: they are many, long, or at a grid of several rows."""
        source, target = self.clusters[link.source], self.clusters[link.target]
        gridded = any(len(cluster) > COLUMNS for cluster in (source, target))
        far = target.layer - source.layer > 1
        return len(link.hearings) > 1 and (link.bundled or gridded or far)

    def _curves(self, link: Link) -> Iterator[Curve]:
        """One curve for each edge, or one for all of them."""
        source, target = self.clusters[link.source], self.clusters[link.target]
        if self._grouped(link):
            start, end = self._port(link.source, 1.0), self._port(link.target, 0.0)
            yield self._curve(link, start, end, True, not link.complete, source.group, target.group)
            return
        labelled = len(link.hearings) // 2
        for number, hearing in enumerate(link.hearings):
            heard, hearer = self.boxes[hearing.source], self.boxes[hearing.target]
            start = Point(heard.x + heard.width / 2, heard.y + heard.height)
            end = Point(hearer.x + hearer.width / 2, hearer.y)
            curve = self._curve(link, start, end, False, False, hearing.source, hearing.target)
            yield curve if number == labelled else curve._replace(label="")

    def _curve(
        self, link: Link, start: Point, end: Point, thick: bool, dashed: bool, source: str, target: str
    ) -> Curve:
        first, final = self.clusters[link.source].layer, self.clusters[link.target].layer
        points = [start, Point(start.x, self.bands[first][1])]
        for layer in range(first + 1, final):
            points += self.lanes[Slot(layer, link.target, (link.source, link.target))]
        points += [Point(end.x, self.bands[final][0] - _ARROW), end]
        last, before = points[-2], points[-3]
        label_at = Point((last.x + before.x) / 2, (last.y + before.y) / 2)
        return Curve(tuple(points), thick, dashed, link.label, label_at, source, target)

    def _port(self, index: int, down: float) -> Point:
        """Where the thick line of a cluster ends: over or under the middle of its boxes."""
        boxes = [self.boxes[node.id] for node in self.clusters[index].nodes]
        x = (min(box.x for box in boxes) + max(box.x + box.width for box in boxes)) / 2
        shape = self.frames.get(index) or boxes[0]
        return Point(x, shape.y + down * shape.height)

    def _meanings(self) -> list[tuple[Role | Literal["thick", "dashed"], str]]:
        """What the legend explains: the roles and the lines that occur."""
        present = {role_of(node) for node in self.plan.nodes}
        meanings: list[tuple[Role | Literal["thick", "dashed"], str]] = [
            (role, role) for role in ROLES if role in present
        ]
        grouped = [link for link in self.links if self._grouped(link)]
        if any(link.complete for link in grouped):
            meanings.append(("thick", "each hears all"))
        if any(not link.complete for link in grouped):
            meanings.append(("dashed", "each hears some"))
        return meanings

    def _legend(self, x: float, y: float) -> Iterator[Mark]:
        for kind, word in self._meanings():
            yield Mark(x, y, kind, word)
            x += _mark_width(word)

    def _subtitle(self) -> str:
        nodes = _counted(len(self.plan.nodes), "node")
        bound = _counted(len(self.plan.models), "model")
        layers = _counted(len(self.layers), "layer")
        return " · ".join([nodes, layers, bound] if self.plan.models else [nodes, layers])


def _mark_width(word: str) -> float:
    return _SWATCH + width_of(word, SMALL) + _MARK_GAP


def _counted(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
