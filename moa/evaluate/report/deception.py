"""What the report says of deceivers and defences: matrices, breakdown curves, certificates, and what each defence takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from moa.evaluate.deception.insights import Agent, Insights, breaks_at, insights
from moa.evaluate.deception.matrix import NONE, Cell, Change, Matrix
from moa.evaluate.numbers.intervals import Estimate
from moa.evaluate.report.bars import Bar, bars
from moa.evaluate.report.crossing import crossing
from moa.evaluate.report.curves import Fall, curves
from moa.evaluate.report.scene import Plot
from moa.evaluate.report.tables import Cell as Shown
from moa.evaluate.report.tables import Column, table
from moa.evaluate.report.words import UNKNOWN, Unit, count, dollars, listed, points, unit_of
from moa.evaluate.standings import Board

PERCENT = Unit("", "%", 1)


@dataclass(frozen=True, slots=True)
class Study:
    """One graph under attack: sentences, plots and tables."""

    title: str
    short: tuple[str, ...]
    plots: tuple[Plot, ...]
    tables: tuple[str, ...]


def studies(board: Board, found: Sequence[Matrix]) -> list[Study]:
    """One for each matrix, in the order in which they take part."""
    unit = unit_of(board.headline, board.label, board.unit)
    return [
        _study(matrix, insights(matrix, board), unit, number if len(found) > 1 else 0)
        for number, matrix in enumerate(found, 1)
    ]


def _study(matrix: Matrix, known: Insights, unit: Unit, number: int) -> Study:
    suffix = f"-{number}" if number else ""
    plots = [
        crossing(f"attack-defence{suffix}", "Attack by defence", matrix, unit, list(_map_words(matrix))),
        *_breakdown(matrix, known, unit, suffix),
        *_influence(known, unit, suffix),
    ]
    return Study(
        matrix.graph, tuple(in_short(matrix, unit)), tuple(plots), tuple(_tables(matrix, known, unit))
    )


def _tables(matrix: Matrix, known: Insights, unit: Unit) -> Iterator[str]:
    if known.agents:
        yield _agents(known, points(unit))
    if known.certified:
        yield _certified(known)
    yield _table(matrix, unit)


def in_short(matrix: Matrix, unit: Unit) -> Iterator[str]:
    """What the worst attack does, and what the best defence brings back."""
    clean = matrix.clean.figure
    hit = [cell for cell in matrix.listed() if cell.defence == NONE and cell.attack != NONE and cell.change]
    if clean is None or not hit:
        return
    worst = min(hit, key=_lost)
    assert worst.figure is not None and worst.change is not None
    differ = points(unit)
    yield (
        f"{worst.attack} takes {matrix.graph} from {unit.write(clean.estimate.value)} to "
        f"{unit.write(worst.figure.estimate.value)} ({differ.long(worst.change.difference, signed=True)}{_sure(worst.change)})."
    )
    met = [cell for cell in matrix.listed() if cell.attack == worst.attack and cell.gain and cell.figure]
    if met:
        best = max(met, key=lambda cell: cell.gain.difference.value if cell.gain else 0.0)
        assert best.gain is not None and best.figure is not None
        yield (
            f"Against it {best.defence} does best: {unit.write(best.figure.estimate.value)}, "
            f"{differ.long(best.gain.difference, signed=True)} over no defence{_sure(best.gain)}, for {_price(best)}."
        )


def _lost(cell: Cell) -> float:
    return cell.change.difference.value if cell.change else 0.0


def _sure(change: Change) -> str:
    return ", beyond chance" if change.p_value <= 0.05 else ", within chance"


def _price(cell: Cell) -> str:
    cost = cell.row.cost
    if cost is None:
        return "an unknown price"
    return f"{cost.calls:,.4g} calls and {cost.input_tokens + cost.output_tokens:,.0f} tokens a question"


def _map_words(matrix: Matrix) -> Iterator[str]:
    yield (
        "The number of each cell and its 95% interval. Orange is worse than the clean graph (first row, first column) on the same "
        "questions, blue is better; * is beyond chance at 5% after Holm's correction over all cells."
    )
    failed = [f"{cell.attack} / {cell.defence}: {cell.trouble}" for cell in matrix.listed() if cell.trouble]
    if failed:
        yield f"! Something failed: {'; '.join(failed[:4])}{'; and more below' if len(failed) > 4 else ''}."


def _breakdown(matrix: Matrix, known: Insights, unit: Unit, suffix: str) -> Iterator[Plot]:
    chain = matrix.chain
    if len(chain) < 3:
        return
    falls = [
        Fall(defence, tuple(_steps(matrix, chain, defence)), _point(known, defence))
        for defence in matrix.defences
    ]
    falls = [fall for fall in falls if fall.steps]
    behind = next((fall for fall in falls if fall.name == NONE), None)
    caption = [
        f"From no deceiver to {count(len(chain) - 1, 'deceiver')}, who turn in this order: {listed(list(matrix.turning), 12)}. "
        "Error bars are 95% intervals; the dashed line is the graph without a defence.",
    ]
    if found := next(iter(known.breaks.values()), None):
        over = "guessing" if known.guessing else "nothing"
        caption.append(
            f"Broken is what has lost half of what the clean graph has over {over}: below {PERCENT.write(100 * found.threshold)}. "
            "In brackets the 95% interval of the first number of deceivers at which that is so, by a bootstrap over questions."
        )
    yield curves(f"breakdown{suffix}", "Where each defence breaks", falls, behind, unit, caption)


def _influence(known: Insights, unit: Unit, suffix: str) -> Iterator[Plot]:
    """Shapley values of the references, honest and under the first attack on them."""
    told = [agent for agent in known.agents if agent.shapley is not None]
    struck = next((agent.attack for agent in told if agent.deceives), None)
    entries = [
        Bar(f"{agent.node}{_role(agent, struck)}", agent.shapley)
        for agent in told
        if agent.attack in (NONE, struck)
    ]
    if not entries:
        return
    kind = Unit(f"Shapley value in {unit.title.lower()}", " points", middle=0.0)
    caption = [
        "What a reference adds to the aggregation, mean over all orders in which references could have come, from the ballots of the vote over all subsets. "
        "Below 0 the others do better without it. The thin line is the 95% confidence interval over questions.",
    ]
    if struck is not None:
        caption.append(f"The second time each stands there as it is under {struck}.")
    yield bars(f"influence{suffix}", "Influence of each agent", entries, kind, caption)


def _role(agent: Agent, struck: str | None) -> str:
    if agent.attack != struck:
        return ""
    return ", deceiving" if agent.deceives else ", under attack"


def _steps(matrix: Matrix, chain: Sequence[str], defence: str) -> Iterator[tuple[int, Estimate]]:
    for size, attack in enumerate(chain):
        cell = matrix.cells.get((attack, defence))
        if cell is not None and cell.figure is not None:
            yield size, cell.figure.estimate


def _point(known: Insights, defence: str) -> str:
    found = known.breaks.get(defence)
    return "" if found is None else breaks_at(found)


def _agents(known: Insights, unit: Unit) -> str:
    columns = [
        Column("Agent", "text", small="under attack"),
        Column("Deceives alone", small="the undefended graph against clean"),
        Column("Leave one out", small="all references less all but this"),
        Column("Shapley", small="mean addition over all orders"),
    ]
    rows = [
        [
            Shown(f"{agent.node}{' (deceives)' if agent.deceives else ''}", None, agent.attack),
            _change(agent.alone, unit) if agent.alone else Shown(UNKNOWN, float("nan")),
            _difference(agent.leave_one_out, unit),
            _difference(agent.shapley, unit),
        ]
        for agent in known.agents
    ]
    return table("Influence of each agent, in points with 95% intervals", columns, rows)


def _difference(estimate: Estimate | None, unit: Unit) -> Shown:
    if estimate is None:
        return Shown(UNKNOWN, float("nan"))
    return Shown(unit.bare(estimate.value, signed=True), estimate.value, _spread(estimate, unit))


def _certified(known: Insights) -> str:
    most = max(len(found.rates) for found in known.certified)
    columns = [Column("Defence", "text", small="against"), *(Column(f"k = {k} (%)") for k in range(most))]
    rows = [
        [
            Shown(found.defence, None, found.attack),
            *(
                _number(found.rates[k] if k < len(found.rates) else found.rates[-1], PERCENT)
                for k in range(most)
            ),
        ]
        for found in known.certified
    ]
    words = "Certified accuracy: right, and no k corrupted references can change the vote, whatever they say. A reference counts as corrupted as soon as anybody it heard is."
    return table(words, columns, rows)


def _table(matrix: Matrix, unit: Unit) -> str:
    cells = list(matrix.listed())
    differ = points(unit)
    columns = [Column("Defence", "text", small="against"), Column(unit.heading)]
    columns += [Column("Against clean"), Column("Gain", small="over no defence")]
    rows = [
        [
            Shown(cell.defence, None, cell.attack),
            _number(cell.figure.estimate if cell.figure else None, unit, cell.trouble),
            _change(cell.change, differ),
            _change(cell.gain, differ),
        ]
        for cell in cells
    ]
    for title, small, up, shares in (
        ("Recovered", "of what the attack broke", False, [cell.recovery for cell in cells]),
        ("Persuaded", "of the target", True, [cell.persuaded for cell in cells]),
        ("Corrupted", "right before, now the target", True, [cell.corruption for cell in cells]),
        ("Deceptive", "share of what the last step hears or picks", True, [cell.deceptive for cell in cells]),
        ("Parsed", "", False, [cell.parse_rate for cell in cells]),
    ):
        if any(shares):
            columns.append(Column(title, up=up, small=small))
            for row, cell, share in zip(rows, cells, shares, strict=True):
                row.append(_number(share, PERCENT, _picked(cell) if title == "Deceptive" else ""))
    columns += [
        Column("Calls", up=True),
        Column("Tokens in", up=True),
        Column("Tokens out", up=True),
        Column("Cost", up=True),
    ]
    for row, cell in zip(rows, cells, strict=True):
        row += _costs(cell)
    return table("Attack by defence: what each cell is and takes, a question", columns, rows)


def _picked(cell: Cell) -> str:
    return "picked" if cell.selects and cell.deceptive else ""


def _number(estimate: Estimate | None, unit: Unit, note: str = "") -> Shown:
    if estimate is None:
        return Shown("failed" if note else UNKNOWN, float("nan"), note)
    return Shown(
        unit.bare(estimate.value), estimate.value, ". ".join(filter(None, [unit.interval(estimate), note]))
    )


def _change(change: Change | None, unit: Unit) -> Shown:
    if change is None:
        return Shown("", float("nan"))
    star = "*" if change.p_value <= 0.05 else ""
    found = change.difference
    return Shown(f"{unit.bare(found.value, signed=True)}{star}", found.value, _spread(found, unit))


def _spread(estimate: Estimate, unit: Unit) -> str:
    """The interval of a difference; nothing where no question differs, of which no error can be told."""
    return unit.interval(estimate, signed=True) if estimate.standard_error else "no question differs"


def _costs(cell: Cell) -> list[Shown]:
    cost = cell.row.cost
    if cost is None:
        return [Shown(UNKNOWN, float("nan"))] * 4
    numbers = [
        Shown(f"{value:,.4g}" if value < 100 else f"{value:,.0f}", value)
        for value in (cost.calls, cost.input_tokens, cost.output_tokens)
    ]
    return [*numbers, Shown(dollars(cost.usd), float("nan") if cost.usd is None else cost.usd)]
