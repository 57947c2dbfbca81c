"""Aggregations of subsets of the references, as an experiment recorded them: what each said, and how the vote read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from moa.errors import MoaError
from moa.evaluate.deception.promise import MAJORITY, Vote, planned_vote
from moa.evaluate.entrants import recorded_bindings
from moa.evaluate.folder import Folder
from moa.evaluate.numbers.certificates import Subset
from moa.evaluate.records import Entrant, Item
from moa.evaluate.tasks.exact import read_answer
from moa.graph.compile import compile_graph
from moa.nodes.answers import extract_answer
from moa.spec.evaluation import AnswerSpec
from moa.spec.graph import GraphSpec, Select
from moa.spec.loader import read_spec

Node = Mapping[str, Any]
"""What is recorded of a node."""


class Ballot(NamedTuple):
    """One aggregation: the references that it heard, by their places, and what it said."""

    subset: tuple[int, ...]
    vote: str | None
    """As the vote reads it; None where it cannot."""
    right: bool
    """Whether the evaluation would count it as right."""


@dataclass(frozen=True, slots=True)
class Ballots:
    """All ballots of one entrant, question by question."""

    references: tuple[str, ...]
    """The nodes that were heard, in the order of their places."""
    cast: Mapping[str, tuple[Ballot, ...]]
    """By question. Of a vote, every ballot that was planned: one whose call failed says nothing, and a reference that
    failed belongs to its subset all the same, as a corrupted one might have answered."""
    ties: str | None
    """How the vote breaks ties; None where no majority decides, so that nothing is certified."""


def read_ballots(folder: Folder, entrant: Entrant, exact: AnswerSpec | None) -> Ballots | None:
    """The ballots of an entrant; None where its last step hears no aggregations of different subsets."""
    vote, planned = _majority(entrant), _planned(entrant)
    items = {item.id: item for item in folder.items()}
    places = {name: place for place, name in enumerate(planned.references)} if planned else {}
    cast: dict[str, tuple[Ballot, ...]] = {}
    for answer in folder.answers(entrant.name):
        nodes = [node for node in answer.nodes if node.get("turn", 0) == len(answer.outputs) - 1]
        subsets = _planned_subsets(nodes, planned) if planned else _heard_subsets(nodes, places)
        if subsets:
            item = items[answer.item]
            cast[answer.item] = tuple(_ballot(node, subset, vote, exact, item) for node, subset in subsets)
    if not cast:
        return None
    return Ballots(tuple(places), cast, str(vote.options.get("ties", "first")) if vote else None)


def _planned_subsets(nodes: Sequence[Node], planned: Vote) -> list[tuple[Node, Subset]]:
    by_id = {node["id"]: node for node in nodes}
    return [(by_id.get(id, {}), subset) for id, subset in planned.ballots.items()] if nodes else []


def _heard_subsets(nodes: Sequence[Node], places: dict[str, int]) -> list[tuple[Node, Subset]]:
    """The aggregations that were heard, with what they heard; new references are given the next places."""
    heard = _ballot_nodes(nodes)
    for node in heard:
        for reference in node["references"]:
            places.setdefault(str(reference), len(places))
    return [(node, tuple(places[str(name)] for name in node["references"])) for node in heard]


def _ballot_nodes(nodes: Sequence[Node]) -> list[Node]:
    """The aggregations that the last step chooses from, where they heard different references."""
    by_id = {node["id"]: node for node in nodes}
    below = list(nodes[-1].get("references") or ()) if nodes else []
    while below:
        heard = [by_id[name] for name in below if name in by_id]
        if len({tuple(node.get("references") or ()) for node in heard}) > 1 and all(
            node.get("references") and node.get("model") for node in heard
        ):
            return heard
        # A selector between the ballots and the answer is looked through.
        below = [name for node in heard if not node.get("model") for name in node.get("references") or ()]
    return []


def _ballot(node: Node, subset: Subset, vote: Select | None, exact: AnswerSpec | None, item: Item) -> Ballot:
    text = str(node.get("text") or "")
    options = vote.options if vote is not None else {}
    reading = read_answer(exact, item, text) if exact is not None and text else None
    read = extract_answer(text, options.get("answer", "auto"), options.get("pattern")) if text else None  # type: ignore[arg-type]
    return Ballot(subset, read, reading is not None and reading.right)


def _planned(entrant: Entrant) -> Vote | None:
    """The entrant's vote as it was planned; None where it ends in none, or cannot be compiled here."""
    try:
        spec = read_spec(entrant.yaml, entrant.name, GraphSpec).spec
        # Who answers decides nothing here: models of a models.yaml that is not at hand may be any.
        return planned_vote(compile_graph(spec, recorded_bindings(entrant, rest="sim:")))
    except MoaError:
        return None


def _majority(entrant: Entrant) -> Select | None:
    """The vote that gives the entrant's answer."""
    try:
        spec = read_spec(entrant.yaml, entrant.name, GraphSpec).spec
    except MoaError:
        return None
    node = spec.nodes.get(spec.answer or "answer") or list(spec.nodes.values())[-1]
    return node.select if node.select is not None and node.select.name == MAJORITY else None
