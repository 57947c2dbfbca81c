"""How one line of a graph becomes many concrete nodes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from moa.graph.mistake import Mistake
from moa.graph.part import Part
from moa.graph.plan import Edge
from moa.graph.round import Block, blocks, canonical_order
from moa.graph.subset import count_subsets, draw_subsets
from moa.spec.graph import Subsets, Window

MOST_NODES = 10_000
"""Concrete nodes of one graph, at most."""


class Wired(NamedTuple):
    """A concrete node before its slot is bound: what it hears, and how many responses come and go."""

    id: str
    group: str
    name: str | None
    """The model of this member, or its slot where none is bound."""
    inputs: tuple[Edge, ...]
    arriving: dict[str, int]
    """Responses that arrive, by input, at most."""
    responses: int
    """Responses handed on, at most."""


class Wiring:
    """The concrete nodes of a graph, in topological order, and which of them each node hands on.

    A node whose wiring is wrong, and every node that hears it, is left out and has no `outputs`.
    """

    def __init__(self, parts: Mapping[str, Part], answer: str | None = None) -> None:
        self.parts = parts
        self.nodes: dict[str, Wired] = {}
        self.outputs: dict[str, tuple[str, ...]] = {}
        """Ids that each node of the graph hands on: of its last round, and of a window its last step."""
        found, self.mistakes = blocks(parts, canonical_order(parts, answer))
        for block in found:
            self._wire_block(block)

    def of_group(self, name: str) -> list[Wired]:
        """The concrete nodes that one node of the graph became."""
        return [node for node in self.nodes.values() if node.group == name]

    def _wire_block(self, block: Block) -> None:
        for number in range(block.times):
            stand_in = {block.replace: self.outputs.get(block.sink)} if number else {}
            prefix = (number,) if block.times > 1 else ()
            for name in block.nodes:
                heard = {
                    source: stand_in.get(source, self.outputs.get(source))
                    for names in self.parts[name].inputs.values()
                    for source in names
                }
                self.outputs.pop(name, None)
                if all(ids is not None for ids in heard.values()):
                    self._wire_node(name, {source: ids or () for source, ids in heard.items()}, prefix)

    def _wire_node(self, name: str, heard: Mapping[str, tuple[str, ...]], prefix: tuple[int, ...]) -> None:
        part = self.parts[name]
        inputs = {
            role: [id for source in names for id in heard[source]] for role, names in part.inputs.items()
        }
        references = inputs.pop(part.divided, [])
        wrong = self._division_mistake(name, references)
        if wrong is not None:
            self.mistakes.append(wrong)
            return
        others = [Edge(role, id) for role, ids in inputs.items() for id in ids]
        outputs: list[str] = []
        for number, member in enumerate(part.members):
            index = (*prefix, number) if len(part.members) > 1 else prefix
            outputs += self._wire_member(name, member, references, others, index)
        self.outputs[name] = tuple(outputs)

    def _wire_member(
        self,
        name: str,
        member: str | None,
        references: list[str],
        others: list[Edge],
        prefix: tuple[int, ...],
    ) -> list[str]:
        part = self.parts[name]
        if part.spec.window is not None:
            steps = list(window_steps(part.spec.window, references))
        elif part.spec.subsets is not None:
            drawn = draw_subsets(part.spec.subsets, len(references))
            steps = [[references[position] for position in subset] for subset in drawn]
        else:
            steps = [references]
        many = len(steps) > 1
        ids = [_identify(name, (*prefix, step) if many else prefix) for step in range(len(steps))]
        for step, id in enumerate(ids):
            earlier = ids[step - 1 : step] * part.spec.window.keep if part.spec.window and step else []
            main = [Edge(part.divided, source) for source in (*earlier, *steps[step])]
            self._add(id, name, member, (*main, *others))
        return ids[-1:] if part.spec.window is not None else ids

    def _add(self, id: str, name: str, member: str | None, inputs: tuple[Edge, ...]) -> None:
        part = self.parts[name]
        arriving = dict.fromkeys(part.inputs, 0)
        for edge in inputs:
            arriving[edge.role] += self.nodes[edge.node].responses
        responses = part.handed_on(arriving.get(part.divided, 0))
        self.nodes[id] = Wired(id, name, member, inputs, arriving, responses)

    def _division_mistake(self, name: str, references: Sequence[str]) -> Mistake | None:
        """What forbids dividing these references among the members of a node."""
        part = self.parts[name]
        spec = part.spec
        message = None
        if spec.window is not None or spec.subsets is not None:
            message = self._undivided(part, references)
        if message is None and spec.subsets is not None:
            message = _too_few_subsets(spec.subsets, len(references))
        if message is not None:
            return Mistake(("nodes", name, "subsets" if spec.subsets is not None else "window"), message)
        nodes = _steps_of(part, len(references)) * len(part.members)
        if len(self.nodes) + nodes <= MOST_NODES:
            return None
        field, remedy = (
            ("samples", "lower `samples`") if spec.subsets is None else ("subsets", "set `size` or `count`")
        )
        message = f"makes {nodes:,} nodes; a graph has at most {MOST_NODES:,}: {remedy}"
        return Mistake(("nodes", name, field), message)

    def _undivided(self, part: Part, references: Sequence[str]) -> str | None:
        """What cannot be divided: nothing at all, or several responses that come as one."""
        what = "subsets" if part.spec.subsets is not None else "window"
        if not references:
            return f"`{what}` needs `inputs` to divide"
        for reference in map(self.nodes.__getitem__, references):
            if reference.responses > 1:
                together = f"`{reference.group}` hands on up to {reference.responses} as one"
                return f"`{what}` divides its references one by one, but {together}: hear its inputs instead"
        return None


def _too_few_subsets(subsets: Subsets, references: int) -> str | None:
    if subsets.size is not None and subsets.size > references:
        return f"asks for subsets of {subsets.size}, but there are {references} references"
    total = count_subsets(subsets, references)
    if subsets.count is None or subsets.count <= total:
        return None
    sized = f" of {subsets.size}" if subsets.size is not None else ""
    return f"asks for {subsets.count} subsets{sized}, but {references} references have {total}"


def _steps_of(part: Part, references: int) -> int:
    """Concrete nodes that one member becomes."""
    if part.spec.window is not None:
        return window_length(part.spec.window, references)
    if part.spec.subsets is not None:
        return part.spec.subsets.count or count_subsets(part.spec.subsets, references)
    return 1


def window_length(window: Window, references: int) -> int:
    """Aggregations that a window takes over N references: 1 + ceil((N - size) / (size - keep)).

    Li et al. 2025, arXiv:2502.00674, Self-MoA-Seq.
    """
    return 1 + max(0, -(-(references - window.size) // (window.size - window.keep)))


def window_steps(window: Window, references: list[str]) -> Iterator[list[str]]:
    """The fresh references of each step: `size` of them first, then `size - keep` at a time."""
    fresh = window.size - window.keep
    bounds = [0, *range(window.size, len(references), fresh), len(references)]
    for start, end in pairwise(bounds):
        yield references[start:end]


def _identify(name: str, index: tuple[int, ...]) -> str:
    return name + "".join(f"[{number}]" for number in index)
