"""What a graph that ends in a vote over subsets can promise at best, before anything is asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from moa.evaluate.numbers.certificates import Subset, SubsetSize, certifiable, size_table
from moa.graph.plan import Plan, PlanNode

MAJORITY = "majority"
"""The selector whose outcome can be certified."""
_MOST_SETS = 2_000
"""Sets of references that are tried one by one for a plan; a bound serves where there are more."""


@dataclass(frozen=True, slots=True)
class Promise:
    """The corrupted references, and corrupted agents, that a unanimous vote withstands; no vote withstands more.

    `agents` counts everybody who is asked before the vote, the earlier layers too: one that all references hear
    corrupts all of them. `sizes` has every size that the subsets could have instead.
    """

    references: tuple[str, ...]
    ballots: int
    certifiable: int
    agents: int
    sizes: tuple[SubsetSize, ...]

    @property
    def best(self) -> SubsetSize | None:
        """The largest size that withstands more than these subsets do by one; None where none does."""
        more = [size for size in self.sizes if size.certifiable == self.certifiable + 1]
        return more[-1] if more else None


class Vote(NamedTuple):
    """A majority over aggregations of different subsets, as it is planned."""

    references: tuple[str, ...]
    """Ids of the nodes that the aggregations hear, in the order of their places."""
    ballots: Mapping[str, Subset]
    """The places of the references of each aggregation, by its id."""
    ties: str


def planned_vote(plan: Plan) -> Vote | None:
    """The vote that ends a plan; None where it is no majority over aggregations of different subsets."""
    answer = plan.by_id[plan.answer]
    if answer.select is None or answer.select.name != MAJORITY:
        return None
    ballots = [plan.by_id[id] for id in answer.sources]
    references = tuple(dict.fromkeys(id for ballot in ballots for id in ballot.sources))
    places = {id: place for place, id in enumerate(references)}
    subsets = {ballot.id: tuple(places[id] for id in ballot.sources) for ballot in ballots}
    if len({*subsets.values()}) < 2 or not all(subsets.values()) or any(b.model is None for b in ballots):
        return None
    return Vote(references, subsets, str(answer.select.options.get("ties", "first")))


def promise(plan: Plan) -> Promise | None:
    """What the last step of a plan certifies; None where it is no majority over aggregations of different subsets."""
    vote = planned_vote(plan)
    if vote is None:
        return None
    references, subsets = vote.references, tuple(vote.ballots.values())
    places = {id: place for place, id in enumerate(references)}
    return Promise(
        references,
        len(subsets),
        certifiable(subsets, len(references), most_sets=_MOST_SETS),
        certifiable(
            subsets,
            len(references),
            agents=[_reached(plan, node, places) for node in _asked_before(plan, references)],
            most_sets=_MOST_SETS,
        ),
        tuple(size_table(len(references))),
    )


def _asked_before(plan: Plan, references: Iterable[str]) -> list[PlanNode]:
    """The nodes that ask a model among the references and all that they rest on."""
    found: dict[str, None] = {}
    waiting = list(references)
    while waiting:
        id = waiting.pop()
        if id not in found:
            found[id] = None
            waiting.extend(plan.by_id[id].sources)
    return [plan.by_id[id] for id in found if plan.by_id[id].model is not None]


def _reached(plan: Plan, node: PlanNode, places: dict[str, int]) -> set[int]:
    """The places of the references that hear a node, themselves or through others, itself included."""
    reached: set[str] = set()
    waiting = [node.id]
    while waiting:
        id = waiting.pop()
        if id not in reached:
            reached.add(id)
            waiting.extend(() if id in places and id != node.id else plan.consumers[id])
    return {places[id] for id in reached if id in places}


def described(found: Promise) -> str:
    """The promise in words, for a terminal."""
    references = len(found.references)
    words = (
        f"{found.ballots} equal ballots withstand {_of(found.certifiable, references, 'corrupted reference')}"
    )
    if found.agents < found.certifiable:
        agents = "no corrupted agent" if not found.agents else _of(found.agents, None, "corrupted agent")
        words += f", but {agents} of an earlier layer"
    better = found.best
    if better is not None:
        words += f"; subsets of size {better.size} would withstand {better.certifiable}, for {_calls(better)}"
    return words


def _of(count: int, of: int | None, what: str) -> str:
    whole = "" if of is None else f" of {of}"
    return f"{count}{whole} {what}{'s' if (of or count) != 1 else ''}"


def _calls(size: SubsetSize) -> str:
    return "1 call" if size.calls == 1 else f"{size.calls:,} calls"
