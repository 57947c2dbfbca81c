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
from moa.spec.graph import Window

MOST_NODES = 10_000
"""Concrete nodes of one graph, at most."""


class Wired(NamedTuple):
    """A concrete node before its slot is bound: what it hears, and how many responses come and go."""

    id: str
    group: str
    name: str | None
    """The slot or model of this member."""
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
        subsets = spec.subsets
        loc = ("nodes", name, "window" if spec.window is not None else "subsets")
        if spec.window is not None or subsets is not None:
            for reference in references:
                if self.nodes[reference].responses > 1:
                    message = (
                        f"`{loc[-1]}` divides its references one by one, but `{self.nodes[reference].group}` "
                        f"hands on up to {self.nodes[reference].responses} as one: hear its inputs instead"
                    )
                    return Mistake(loc, message)
        steps = 1
        if subsets is not None:
            total = count_subsets(subsets, len(references))
            wanted = subsets.count if subsets.count is not None else total
            if total < wanted or total < 1:
                message = f"asks for {wanted} subsets{_sized(subsets.size)}, but {len(references)} references have {total}"
                return Mistake(loc, message)
            steps = wanted
        if spec.window is not None:
            steps = window_length(spec.window, len(references))
        if len(self.nodes) + steps * len(part.members) > MOST_NODES:
            remedy = "set `size` or `count`" if subsets is not None else "lower `samples`"
            message = (
                f"makes {steps * len(part.members):,} nodes; a graph has at most {MOST_NODES:,}: {remedy}"
            )
            return Mistake(loc if subsets is not None else ("nodes", name, "samples"), message)
        return None


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


def _sized(size: int | None) -> str:
    return f" of {size}" if size is not None else ""
