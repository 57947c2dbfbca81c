"""Beyond the matrix: where each defence breaks, how much each agent matters, and what no deceiver can change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from moa.evaluate.deception.ballots import Ballots, read_ballots
from moa.evaluate.deception.matrix import NONE, Change, Matrix
from moa.evaluate.numbers.breakdown import Breakdown, breakdown_point
from moa.evaluate.numbers.certificates import Ties, certified_curve, certify
from moa.evaluate.numbers.influence import EXACT, influence, value_table
from moa.evaluate.numbers.intervals import Estimate
from moa.evaluate.records import Item
from moa.evaluate.standings import Board
from moa.spec.evaluation import AnswerSpec


@dataclass(frozen=True, slots=True)
class Agent:
    """How much one reference matters; in points of accuracy, None where it was not tried."""

    node: str
    attack: str
    deceives: bool
    alone: Change | None = None
    """What deceiving at this node alone does to the graph without a defence."""
    leave_one_out: Estimate | None = None
    """What the aggregation of all references is better than without this one."""
    shapley: Estimate | None = None
    """What it adds, mean over all orders in which references could have come."""


@dataclass(frozen=True, slots=True)
class Certified:
    """The share of questions, in percent, that are right whatever k references say: k = 0, 1, ..."""

    attack: str
    defence: str
    rates: tuple[Estimate, ...]
    answers: Mapping[str, int | None]
    """By question, the most references that may be corrupted in any way without changing the answer."""


@dataclass(frozen=True, slots=True)
class Insights:
    """What the cells of a matrix say together."""

    breaks: Mapping[str, Breakdown]
    """By defence; empty where no breakdown was tried, or where values are on a scale of their own."""
    guessing: float | None
    """The accuracy of guessing, from 0 to 1; None where answers are no options."""
    agents: tuple[Agent, ...]
    certified: tuple[Certified, ...]


def insights(matrix: Matrix, board: Board) -> Insights:
    """Everything that the recorded answers of a matrix allow to say; reads the ballots of votes over subsets anew."""
    asked = board.experiment.spec.get("answer")
    exact = AnswerSpec.model_validate(asked) if asked is not None else None
    folder = matrix.clean.row.folder
    items = list(folder.items())
    guessing = _guessing(items)
    ballots = {
        (cell.attack, cell.defence): found
        for cell in matrix.listed()
        if cell.defence != NONE and (found := read_ballots(folder, cell.row.entrant, exact)) is not None
    }
    return Insights(
        dict(_breaks(matrix, guessing, board.experiment.seed)),
        guessing,
        tuple(_agents(matrix, ballots if exact is not None else {}, guessing or 0.0)),
        tuple(_certified(matrix, ballots, items)),
    )


def _guessing(items: Sequence[Item]) -> float | None:
    if not items or not all(item.options for item in items):
        return None
    return sum(1 / len(item.options) for item in items) / len(items)


def _breaks(matrix: Matrix, guessing: float | None, seed: int) -> Iterator[tuple[str, Breakdown]]:
    """Broken is what has lost more than half of what the clean graph has over guessing, or over nothing."""
    chain = matrix.chain
    clean = matrix.columns[NONE, NONE].scores
    if len(chain) < 3 or not clean or not all(0 <= value <= 1 for value in clean.values()):
        return
    floor = guessing or 0.0
    threshold = floor + (sum(clean.values()) / len(clean) - floor) / 2
    for defence in matrix.defences:
        columns = [
            matrix.columns[attack, defence].scores for attack in chain if (attack, defence) in matrix.columns
        ]
        common = [item for item in clean if all(item in column for column in columns)]
        if len(columns) == len(chain) and common:
            correct = {size: [column[item] for item in common] for size, column in enumerate(columns)}
            yield defence, breakdown_point(correct, threshold, seed=seed)


def _agents(matrix: Matrix, ballots: Mapping[tuple[str, str], Ballots], guessing: float) -> Iterator[Agent]:
    """The references without an attack, each with what it does when it alone deceives; then those under attacks."""
    alone = {
        next(iter(cell.deceivers)): cell.change
        for cell in matrix.listed()
        if cell.defence == NONE and len(cell.deceivers) == 1
    }
    told: set[str] = set()
    for (attack, defence), found in ballots.items():
        if attack in told or not (values := _values(found, guessing)):
            continue
        told.add(attack)
        deceivers = matrix.cells[attack, defence].deceivers
        for node, each in values.items():
            change = alone.pop(node, None) if attack == NONE else None
            yield Agent(node, attack, node in deceivers, change, *each)
    for node, change in alone.items():
        yield Agent(node, NONE, deceives=False, alone=change)


def _values(found: Ballots, guessing: float) -> dict[str, tuple[Estimate, Estimate]]:
    """Leave-one-out and Shapley of each reference; nothing where not all subsets were asked."""
    n = len(found.references)
    if n > EXACT:
        return {}
    tables = [
        value_table([b.subset for b in cast], [100 * float(b.right) for b in cast], nobody=100 * guessing)
        for cast in found.cast.values()
        if len({b.subset for b in cast}) == len(cast) == 2**n - 1
    ]
    if len(tables) < 2:
        return {}
    return {found.references[each.agent]: (each.leave_one_out, each.shapley) for each in influence(tables, n)}


def _certified(
    matrix: Matrix, ballots: Mapping[tuple[str, str], Ballots], items: Sequence[Item]
) -> Iterator[Certified]:
    for (attack, defence), found in ballots.items():
        if found.ties is None:
            continue
        scores = matrix.columns[attack, defence].scores
        proved = {item.id: _proved(found, item.id) for item in items}
        right = [scores.get(item.id, 0.0) == 1.0 for item in items]
        rates = certified_curve(list(proved.values()), correct=right)
        yield Certified(attack, defence, tuple(rate.percent() for rate in rates), proved)


def _proved(found: Ballots, item: str) -> int | None:
    """How many references may be corrupted and the answer stays; None where there is no answer."""
    cast = found.cast.get(item, ())
    ties: Ties = "random" if found.ties == "random" else "first"
    votes = [ballot.vote for ballot in cast]
    one = (
        certify([ballot.subset for ballot in cast], votes, len(found.references), ties=ties) if cast else None
    )
    return None if one is None else one.k


def breaks_at(found: Breakdown) -> str:
    """`breaks at 2 [1, 3]`, or how many it holds to."""
    low, high = (str(end) if end is not None else f"over {found.most}" for end in (found.low, found.high))
    words = f"holds to {found.most}" if found.point is None else f"breaks at {found.point}"
    return f"{words} [{low}, {high}]"
