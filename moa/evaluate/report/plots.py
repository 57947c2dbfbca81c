"""Which plots an experiment has, and what is to be said beside each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from moa.evaluate.numbers.intervals import Estimate
from moa.evaluate.report.bars import Bar, bars
from moa.evaluate.report.dumbbells import Dumbbell, dumbbells
from moa.evaluate.report.front import Price, Spot, front, pareto
from moa.evaluate.report.heat import Difference, heat_map
from moa.evaluate.report.lengths import MOST_DOTS, MOST_PANELS, Axes, Panel, lengths
from moa.evaluate.report.scene import Plot
from moa.evaluate.report.spending import Planned
from moa.evaluate.report.words import Unit, count, dollars, has_interval, listed, points, seconds, unit_of
from moa.evaluate.standings import Board, Cost, Figure, Row

MOST_IN_HEAT = 30
LEFT_OUT = frozenset({"discrete-win-rate", "parse-rate"})
"""Numbers that stand in the table only."""
LESS = {
    "quality-cost": "costs no more",
    "quality-tokens": "writes no more",
    "quality-latency": "takes no longer",
}
LATENCY = "Latency is that of the calls on the longest way to the answer, as they took when they were sent."
INTERVAL = "The thin line is the 95% confidence interval."


def plots(
    board: Board, panels: list[Panel], plans: Mapping[str, Planned | None], value: str = "Preference"
) -> list[Plot]:
    """Every plot that the experiment has the data for, the most important first; `value` is that of the panels."""
    found = [*_bars(board), *_fronts(board), *_heat(board), *_lengths(board, panels, value)]
    return [*found, *_drafts(board), *_judge(board), *_spending(board, plans)]


def unit(board: Board) -> Unit:
    """How the number that ranks is written."""
    return unit_of(board.headline, board.label, board.unit)


def judged(board: Board) -> list[tuple[int, Row, Estimate]]:
    """Rank, row and ranking number of those that have one."""
    rows = [(row, row.headline.estimate) for row in board.rows if row.headline is not None]
    return [(rank, row, estimate) for rank, (row, estimate) in enumerate(rows, 1)]


def _bars(board: Board) -> Iterator[Plot]:
    """The ranking number, then the others."""
    figures = {figure.name: figure for row in board.rows for figure in row.figures}
    order = [board.headline, *(name for name in figures if name != board.headline and name not in LEFT_OUT)]
    for name in order:
        found = [(row, figure) for row in board.rows if (figure := row.figure(name)) is not None]
        if not found:
            continue
        kind = unit_of(name, figures[name].label, figures[name].unit)
        measured = [(row.name, figure) for row, figure in found if not row.is_baseline]
        notes = sorted({figure.note for _, figure in measured if figure.note})
        words = [*_bar_words(measured, kind, board), *(f"How it was computed: {note}." for note in notes)]
        yield bars(name, kind.title, [Bar(row.name, figure.estimate) for row, figure in found], kind, words)


def _bar_words(measured: list[tuple[str, Figure]], kind: Unit, board: Board) -> Iterator[str]:
    yield INTERVAL
    if kind.middle is None:
        return
    known = [(name, figure.estimate) for name, figure in measured if has_interval(figure.estimate)]
    spans = [name for name, estimate in known if estimate.low <= kind.middle <= estimate.high]
    who = board.baseline or "the baseline"
    yield f"The dashed line, at {kind.middle:g}{kind.suffix}, is {who} itself."
    if spans:
        verb = "interval of {} spans" if len(spans) == 1 else "intervals of {} span"
        yield f"The {verb.format(listed(spans))} it: nothing shows that {_they(spans)} or worse than {who}."


def _they(names: list[str]) -> str:
    return "it is better" if len(names) == 1 else "they are better"


def _fronts(board: Board) -> Iterator[Plot]:
    rows = judged(board)
    if not rows:
        return
    if any(row.cost is not None and row.cost.usd for _, row, _ in rows):
        price = Price("US dollars a question", dollars, "${:,.6g}")
        yield _front(board, "quality-cost", "Quality against cost", price, lambda cost: cost.usd)
    else:
        price = Price(
            "Tokens written a question",
            lambda value: "n/a" if value is None else f"{value:,.0f} tokens",
            "{:,.6g}",
        )
        title = "Quality against tokens"
        yield _front(board, "quality-tokens", title, price, lambda cost: cost.output_tokens)
    if any(row.cost is not None and row.cost.latency_median for _, row, _ in rows):
        price = Price("Seconds to the answer, median", seconds, "{:g} s")
        title = "Quality against latency"
        yield _front(board, "quality-latency", title, price, lambda cost: cost.latency_median)


def _front(board: Board, name: str, title: str, price: Price, amount: Callable[[Cost], float | None]) -> Plot:
    spots = [
        Spot(rank, row.name, amount(row.cost), estimate)
        for rank, row, estimate in judged(board)
        if row.cost is not None
    ]
    best = [spot.name for spot in spots if spot.name in pareto(spots)]
    caption = ["Numbers are ranks on the leaderboard, vertical lines 95% confidence intervals."]
    if best:
        caption.insert(0, f"On the front, where nothing is better and {LESS[name]}: {listed(best)}.")
    if name == "quality-latency":
        caption.append(LATENCY)
    unknown = [spot.name for spot in spots if spot.price is None]
    if unknown:
        caption.append(f"No price is known for {listed(unknown)}: not free, but unknown, and not compared.")
    return front(name, title, spots, price, unit(board), caption)


def _heat(board: Board) -> Iterator[Plot]:
    names = [row.name for _, row, _ in judged(board)]
    if len(names) < 2 or not board.pairs:
        return
    shown = names[:MOST_IN_HEAT]
    pairs = {
        (pair.first, pair.second): Difference(pair.difference, pair.p_adjusted)
        for pair in board.pairs
        if pair.first in shown and pair.second in shown
    }
    caption = ["Row less column, on the questions that both have a verdict on: blue where the row is better, orange where the column is.",
               _sure(board)]  # fmt: skip
    if len(names) > len(shown):
        caption.append(f"The first {len(shown)} of {len(names)} entrants; the table has all.")
    yield heat_map("paired-differences", "Paired differences", shown, pairs, points(unit(board)), caption)


def _sure(board: Board) -> str:
    sure = sum(pair.significant for pair in board.pairs)
    many = count(len(board.pairs), "pair")
    if not sure:
        return f"None of {many} differs beyond chance, at 5% after Holm's correction."
    return f"* marks what is beyond chance at 5% after Holm's correction: {sure} of {many}."


def _lengths(board: Board, panels: list[Panel], value: str) -> Iterator[Plot]:
    if not panels:
        return
    compared = board.baseline is not None
    across = f"Characters more than {board.baseline}'s answer" if compared else "Characters of the answer"
    n = max(len(panel.values) for panel in panels)
    caption = [
        "Each faint dot is an answer. The large dots are means of equally many answers of similar length, with 95% intervals; "
        "the curve is a logistic fit on tanh of the length, as length control fits it. A flat curve: length does not matter.",
        "Lengths beyond the 1st and 99th percentile are drawn at the edge.",
    ]
    if n > MOST_DOTS:
        caption.append(
            f"At most {MOST_DOTS} dots a panel are drawn; means and curve are of up to {n:,} answers."
        )
    if len(panels) > MOST_PANELS:
        caption.append(f"The first {MOST_PANELS} of {len(panels)} entrants.")
    title = f"Length against {value.lower()}"
    yield lengths("length", title, panels, Axes(across, value), caption)


def _drafts(board: Board) -> Iterator[Plot]:
    spots = [
        Spot(rank, row.name, row.drafts.diversity, estimate)
        for rank, row, estimate in judged(board)
        if row.drafts is not None
    ]
    if len(spots) < 2:
        return
    price = Price(
        "Diversity of the drafts (Vendi score)",
        lambda value: "n/a" if value is None else f"{value:.2f}",
        dear=False,
    )
    caption = [
        "How many different drafts the members' proposals amount to, against the quality of what was made of them. "
        "Where quality falls as diversity grows, mixing models costs more than it brings, and samples of the best one do better."
    ]
    yield front("diversity", "Diversity of drafts", spots, price, unit(board), caption)


def _judge(board: Board) -> Iterator[Plot]:
    entries = [
        Bar(row.name, row.consistency.first_shown.scaled(100))
        for row in board.rows
        if row.consistency is not None
    ]
    if not entries:
        return
    kind = Unit("Preference for the answer shown first", " points", middle=0.0)
    spans = [bar.estimate for bar in entries if bar.estimate is not None and has_interval(bar.estimate)]
    biased = [estimate for estimate in spans if not estimate.low <= 0 <= estimate.high]
    caption = [
        "At 0 the judge does not care which answer it sees first; both orders are averaged, so a bias costs precision and not fairness.",
        f"Beyond chance for {len(biased)} of {count(len(entries), 'entrant')}."
        if biased
        else "No entrant shows a bias beyond chance.",
    ]
    yield bars("position-bias", "Position bias of the judge", entries, kind, caption)


def _spending(board: Board, plans: Mapping[str, Planned | None]) -> Iterator[Plot]:
    rows = [(row.name, plans.get(row.name), row.cost) for row in board.rows]
    entries = [
        Dumbbell(name, plan.output_tokens if plan else None, cost.output_tokens)
        for name, plan, cost in rows
        if cost is not None
    ]
    if not any(entry.planned for entry in entries):
        return
    caption = [
        "Tokens that all nodes together write for a question. The plan is what `moa plan` says of the graph, at 400 tokens a reply."
    ]
    over = [entry.name for entry in entries if entry.planned and entry.real > 1.5 * entry.planned]
    if over:
        caption.append(f"More than half as much again as planned: {listed(over)}.")
    yield dumbbells("plan", "Spending against the plan", entries, "Tokens written a question", caption)
