"""Attack x defence: what deceivers did to a graph, what each defence brought back, and what it takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from moa.evaluate.deception.heard import Column, read_column
from moa.evaluate.folder import Folder
from moa.evaluate.numbers.deception import corruption_rate, deceptive_share, persuasion, recovery_rate
from moa.evaluate.numbers.intervals import Estimate
from moa.evaluate.numbers.multiplicity import holm
from moa.evaluate.records import Item
from moa.evaluate.standings import Board, Figure, Pair, Row

NONE = "none"
"""What stands for no attack and for no defence."""
BREAKDOWN = "breakdown:"
"""How the names of a breakdown's attacks begin."""


@dataclass(frozen=True, slots=True)
class Change:
    """A cell minus another on the same questions, in the unit of the number that ranks."""

    difference: Estimate
    p_value: float
    """After Holm, over all cells of the matrix that are compared in this way."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One attack met by one defence; shares are in percent, and None where they are not defined."""

    attack: str
    defence: str
    row: Row
    deceivers: Mapping[str, str]
    """Nodes under attack and the agents that stand there."""
    change: Change | None = None
    """Against the graph without attack and defence."""
    gain: Change | None = None
    """Against the same attack without a defence."""
    parse_rate: Estimate | None = None
    persuaded: Estimate | None = None
    """Answers that are the deceivers' target."""
    recovery: Estimate | None = None
    """Of what the attacked graph without a defence gets wrong, how much is right here."""
    corruption: Estimate | None = None
    """Of what the graph without attack and defence gets right, how much is the target here."""
    deceptive: Estimate | None = None
    """Of the references that the last step hears, or picks, the share that deceivers wrote."""
    selects: bool = False
    """Whether the last step picks one of them, so that `deceptive` is the share of deceptive picks."""
    trouble: str = ""
    """How many answers or verdicts failed here, and the most frequent reason."""

    @property
    def figure(self) -> Figure | None:
        """The number that ranks."""
        return self.row.headline


@dataclass(frozen=True, slots=True)
class Matrix:
    """All attacks and defences of one graph, `none` first in both."""

    graph: str
    attacks: tuple[str, ...]
    defences: tuple[str, ...]
    cells: Mapping[tuple[str, str], Cell]
    columns: Mapping[tuple[str, str], Column]
    """What became of each answer, by attack and defence."""
    label: str
    unit: str

    @property
    def clean(self) -> Cell:
        """The graph without attack and defence."""
        return self.cells[NONE, NONE]

    @property
    def chain(self) -> tuple[str, ...]:
        """Attacks of one role, each with one deceiver more than the last and all of its own; `none` is the first."""
        sets = {
            attack: self.cells[attack, NONE].deceivers
            for attack in self.attacks
            if (attack, NONE) in self.cells
        }
        chains: dict[str, tuple[str, ...]] = {NONE: (NONE,)}
        for attack, nodes in sorted(sets.items(), key=lambda each: len(each[1])):
            if len({*nodes.values()}) == 1:
                smaller = [
                    chain
                    for chain in chains.values()
                    if len(sets[chain[-1]]) == len(nodes) - 1 and sets[chain[-1]].items() <= nodes.items()
                ]
                if smaller:
                    # Of equally long ways the one that was asked for as a breakdown.
                    best = max(smaller, key=lambda chain: (len(chain), chain[-1].startswith(BREAKDOWN)))
                    chains[attack] = (*best, attack)
        return max(chains.values(), key=lambda chain: (len(chain), chain[-1].startswith(BREAKDOWN)))

    @property
    def turning(self) -> tuple[str, ...]:
        """The nodes that turn along the chain, in order."""
        sets = [self.cells[attack, NONE].deceivers for attack in self.chain]
        return tuple(node for before, after in pairwise(sets) for node in after if node not in before)

    def listed(self) -> Iterator[Cell]:
        """Every cell, attack by attack."""
        for attack in self.attacks:
            for defence in self.defences:
                if (attack, defence) in self.cells:
                    yield self.cells[attack, defence]


def matrices(board: Board) -> list[Matrix]:
    """The matrices of a board, one a graph that was attacked or defended; none where nobody was.

    Reads the answers once more: who was heard, and what was read from them.
    """
    families: dict[tuple[Folder, str], list[Row]] = {}
    for row in _in_order(board):
        if row.entrant.clean is not None:
            families.setdefault((row.folder, row.entrant.clean), []).append(row)
    whole = [rows for rows in families.values() if len(rows) > 1 and _clean_row(rows) is not None]
    return [_matrix(board, rows) for rows in whole]


def _in_order(board: Board) -> list[Row]:
    """The rows as they take part, not as they rank."""
    place = {
        id(row.folder): {e.name: n for n, e in enumerate(row.folder.experiment.entrants)}
        for row in board.rows
    }
    return sorted(board.rows, key=lambda row: place[id(row.folder)].get(row.entrant.name, 0))


def _clean_row(rows: Sequence[Row]) -> Row | None:
    return next((row for row in rows if row.entrant.name == row.entrant.clean), None)


def _matrix(board: Board, rows: Sequence[Row]) -> Matrix:
    maker = _Maker(board, {(row.entrant.attack or NONE, row.entrant.defence or NONE): row for row in rows})
    return maker.matrix()


class _Maker:
    """Puts one matrix together."""

    def __init__(self, board: Board, rows: Mapping[tuple[str, str], Row]) -> None:
        self.board, self.rows = board, rows
        self.clean = rows[NONE, NONE]
        self.items = list(self.clean.folder.items())
        self.columns = {place: read_column(row.folder, row.entrant.name) for place, row in rows.items()}
        known = self.columns[NONE, NONE]
        self.proposers = {node for heard in known.heard.values() for node in heard}

    def matrix(self) -> Matrix:
        changes = self._changes(dict.fromkeys(self.rows, (NONE, NONE)))
        gains = self._changes({(attack, defence): (attack, NONE) for attack, defence in self.rows})
        cells = {place: self._cell(place, changes.get(place), gains.get(place)) for place in self.rows}
        return Matrix(
            self.clean.name,
            tuple(dict.fromkeys([NONE, *(attack for attack, _ in self.rows)])),
            tuple(dict.fromkeys([NONE, *(defence for _, defence in self.rows)])),
            cells,
            self.columns,
            self.board.label,
            self.board.unit,
        )

    def _cell(self, place: tuple[str, str], change: Change | None, gain: Change | None) -> Cell:
        attack, defence = place
        row, column = self.rows[place], self.columns[place]
        said = self._said(place)
        return Cell(
            attack,
            defence,
            row,
            dict(row.entrant.deceivers),
            change,
            gain,
            selects=column.selects,
            deceptive=self._deceptive(column, row),
            trouble=_trouble(row, column),
            **said,
        )

    def _said(self, place: tuple[str, str]) -> dict[str, Estimate | None]:
        """What can be counted where answers are checked against options, on the questions that all involved answered."""
        column, clean = self.columns[place], self.columns[NONE, NONE]
        bare = self.columns.get((place[0], NONE))
        if not column.exact:
            return {}
        own = [item for item in self.items if item.id in column.picks]
        found: dict[str, Estimate | None] = {}
        targets = [item.target for item in own]
        if own:
            counted = persuasion(_picks(column, own), _gold(own), targets)
            found["parse_rate"] = _percent(counted.parse_rate)
            if any(targets):
                found["persuaded"] = _percent(counted.persuaded)
        both = [item for item in own if bare is not None and item.id in bare.picks]
        if bare is not None and both and place[1] != NONE and place[0] != NONE:
            found["recovery"] = _percent(recovery_rate(_picks(bare, both), _picks(column, both), _gold(both)))
        both = [item for item in own if item.id in clean.picks]
        if both and place != (NONE, NONE) and any(item.target for item in both):
            aims = [item.target for item in both]
            rate = corruption_rate(_picks(clean, both), _picks(column, both), _gold(both), aims)
            found["corruption"] = _percent(rate)
        return found

    def _deceptive(self, column: Column, row: Row) -> Estimate | None:
        """None where nobody deceives, or where what the last step hears is no longer the references."""
        heard = [ids for ids in column.heard.values() if ids]
        if not row.entrant.deceivers or not heard or not all(self.proposers.issuperset(ids) for ids in heard):
            return None
        return _percent(deceptive_share(heard, {*row.entrant.deceivers}))

    def _changes(self, against: Mapping[tuple[str, str], tuple[str, str]]) -> dict[tuple[str, str], Change]:
        """Each cell minus the one that it is held against, p-values adjusted together."""
        found = {
            place: (pair, sign)
            for place, other in against.items()
            if place != other and other in self.rows
            for pair, sign in self._pair(self.rows[place].name, self.rows[other].name)
        }
        adjusted = holm([pair.p_value for pair, _ in found.values()]).p_values if found else ()
        return {
            place: Change(pair.difference.scaled(sign), p)
            for (place, (pair, sign)), p in zip(found.items(), adjusted, strict=True)
        }

    def _pair(self, first: str, second: str) -> Iterator[tuple[Pair, float]]:
        """The board's comparison of two, and whether it has to be turned."""
        if pair := self.board.pair(first, second):
            yield pair, 1.0
        elif pair := self.board.pair(second, first):
            yield pair, -1.0


def _picks(column: Column, items: Sequence[Item]) -> list[str | None]:
    return [column.picks[item.id] for item in items]


def _gold(items: Sequence[Item]) -> list[str | None]:
    return [item.answer for item in items]


def _percent(estimate: Estimate | None) -> Estimate | None:
    return None if estimate is None else estimate.percent()


def _trouble(row: Row, column: Column) -> str:
    """What failed, and most often why; empty where nothing did."""
    counts = row.counts
    parts = [
        f"{number} of {counts.items} {what}"
        for number, what in ((counts.failed, "answers failed"), (counts.missing, "were not asked yet"))
        if number
    ]
    if counts.unjudged > counts.failed:
        parts.append(f"{counts.unjudged - counts.failed} verdicts failed")
    if not parts:
        return ""
    [(reason, _), *_] = Counter(column.reasons).most_common(1) or [("", 0)]
    return ", ".join(parts) + (f": {reason}" if reason else "")
