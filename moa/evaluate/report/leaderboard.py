"""The leaderboard, the paired differences, and what was checked, as tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

from moa.evaluate.report.plots import judged, unit
from moa.evaluate.report.spending import Planned
from moa.evaluate.report.tables import Cell, Column, table
from moa.evaluate.report.words import UNKNOWN, chance, dollars, has_interval, points, seconds, unit_of
from moa.evaluate.standings import Board, Cost, Counts, Figure, Pair, Row

NAN = float("nan")


def leaderboard(board: Board) -> str:
    """Every entrant with all numbers, what they take, and what failed."""
    names, troubles = _names(board), _troubles(board)
    columns = [
        Column("#", up=True, sorted="ascending"),
        Column("Entrant", "text"),
        *(Column(_label(board, name), small=_shared_note(board, name)) for name in names),
        *_cost_columns(),
        *(Column(title, up=True) for title in troubles),
    ]
    ranks = {row.name: rank for rank, row, _ in judged(board)}
    rows = [_row(ranks.get(row.name), row, names, troubles, board) for row in board.rows]
    shown = f"{unit(board).title} and all other numbers, with 95% intervals" if names else "No numbers yet"
    return table(shown, columns, rows, headed=2)


def _names(board: Board) -> list[str]:
    """The numbers of all entrants; the one that ranks comes first."""
    found = [figure.name for row in board.rows for figure in row.figures]
    return list(dict.fromkeys([board.headline, *found])) if found else []


def _figures(board: Board, name: str) -> list[Figure]:
    return [figure for row in board.rows if (figure := row.figure(name)) is not None]


def _label(board: Board, name: str) -> str:
    return next((unit_of(f.name, f.label, f.unit).heading for f in _figures(board, name)), board.label)


def _shared_note(board: Board, name: str) -> str:
    """How the number was made, where it is the same for all that were measured."""
    notes = {figure.note for figure in _measured(board, name)}
    return notes.pop() if len(notes) == 1 else ""


def _measured(board: Board, name: str) -> list[Figure]:
    """A number of all but the baseline, whose own is not measured."""
    return [found for row in board.rows if not row.is_baseline and (found := row.figure(name)) is not None]


def _cost_columns() -> Iterator[Column]:
    yield Column("Cost", up=True, small="a question")
    yield Column("Judge", up=True, small="a question")
    yield Column("Latency", up=True, small="median; 90%")
    yield Column("Calls", up=True, small="a question")
    yield Column("Tokens", up=True, small="in; out, a question")
    yield Column("Length", small="characters")


TROUBLES: Mapping[str, Callable[[Counts], int]] = {
    "Failed": lambda counts: counts.failed,
    "Refused": lambda counts: counts.refused,
    "Unreadable": lambda counts: counts.unparsed,
    "Unjudged": lambda counts: counts.unjudged,
    "Not asked yet": lambda counts: counts.missing,
}


def _troubles(board: Board) -> list[str]:
    """What happened to anybody."""
    return [name for name, number in TROUBLES.items() if any(number(row.counts) for row in board.rows)]


def _row(
    rank: int | None, row: Row, names: Sequence[str], troubles: Sequence[str], board: Board
) -> list[Cell]:
    return [
        Cell(str(rank), rank) if rank else Cell("–", NAN),
        Cell(row.name, small="baseline" if row.is_baseline else ""),
        *(_figure(row.figure(name), _shared_note(board, name), fixed=row.is_baseline) for name in names),
        *_costs(row.cost, row.judge_cost),
        *(_count(TROUBLES[name](row.counts), row.counts.items) for name in troubles),
    ]


def _figure(figure: Figure | None, shared: str, *, fixed: bool = False) -> Cell:
    """A number over its interval; one that is `fixed` by definition has none."""
    if figure is None:
        return Cell(UNKNOWN, NAN)
    kind, estimate = unit_of(figure.name, figure.label, figure.unit), figure.estimate
    if fixed and estimate.low == estimate.high:
        return Cell(kind.bare(estimate.value), estimate.value)
    note = f"; {figure.note}" if figure.note and figure.note != shared else ""
    small = f"{kind.interval(estimate)}{note}" if has_interval(estimate) else f"no interval{note}"
    return Cell(kind.bare(estimate.value), estimate.value, small)


def _costs(cost: Cost | None, judge: float | None) -> Iterator[Cell]:
    usd = cost.usd if cost else None
    yield Cell(dollars(usd), NAN if usd is None else usd)
    yield Cell(dollars(judge), NAN if judge is None else judge)
    if cost is None:
        yield from (Cell(UNKNOWN, NAN) for _ in range(4))
        return
    yield Cell(seconds(cost.latency_median), cost.latency_median, seconds(cost.latency_p90))
    yield Cell(f"{cost.calls:,.3g}", cost.calls)
    yield Cell(f"{cost.input_tokens:,.0f}; {cost.output_tokens:,.0f}", cost.input_tokens + cost.output_tokens)
    yield Cell(f"{cost.length:,.0f}", cost.length)


def _count(number: int, of: int) -> Cell:
    """A count, and its share where there is any."""
    return Cell(f"{number:,}", number, f"{number / of:.1%} of {of:,}" if number and of else "")


def methods(board: Board) -> str:
    """Which computation each number came from; empty while there is none."""
    rows = [
        [Cell(label), Cell(how), Cell(f"{low:,}" if low == high else f"{low:,} to {high:,}", high)]
        for name in _names(board)
        for label, how, low, high in _ways(board, name)
    ]
    columns = [Column("Number", "text"), Column("How it was made", "long"), Column("Questions")]
    return table("How each number and its interval were made", columns, rows, sortable=False) if rows else ""


def _ways(board: Board, name: str) -> Iterator[tuple[str, str, int, int]]:
    sizes: dict[str, list[int]] = {}
    for figure in _measured(board, name):
        how = "; ".join(
            filter(
                None, [figure.note, f"interval: {figure.estimate.method}" if figure.estimate.method else ""]
            )
        )
        sizes.setdefault(how, []).append(figure.estimate.n)
    for how, found in sizes.items():
        yield _label(board, name), how or "n/a", min(found), max(found)


def pairs(board: Board) -> str:
    """Every pair of entrants: how far they are apart, and whether that is more than chance."""
    kind = points(unit(board))
    columns = [
        Column("First", "text"),
        Column("Second", "text"),
        Column("First less second", small=f"{board.label},{kind.suffix or ' its own unit'}"),
        Column("95% interval", "text"),
        Column("p", up=True),
        Column("p, Holm", up=True),
        Column("In words", "text"),
        Column("Questions"),
        Column("Without a pair", up=True),
        Column("Detectable", up=True, small="with 80% power"),
        Column("More questions", up=True, small="to settle it"),
    ]
    rows = [_pair(pair, board) for pair in board.pairs]
    return table("Differences on the same questions, corrected for the number of pairs", columns, rows)


def _pair(pair: Pair, board: Board) -> list[Cell]:
    kind = points(unit(board))
    effect = pair.minimum_detectable_effect
    settled = pair.significant or pair.more is None
    return [
        Cell(pair.first),
        Cell(pair.second),
        Cell(kind.bare(pair.difference.value, signed=True), pair.difference.value),
        Cell(kind.interval(pair.difference, signed=True)),
        Cell(chance(pair.p_value), pair.p_value),
        Cell(chance(pair.p_adjusted), pair.p_adjusted),
        Cell(verdict(pair)),
        Cell(f"{pair.pairs:,}", pair.pairs),
        Cell(f"{pair.missing:,}", pair.missing),
        Cell(UNKNOWN if effect is None else kind.bare(effect), NAN if effect is None else effect),
        Cell("–" if settled else f"{pair.more:,}", NAN if settled or pair.more is None else pair.more),
    ]


def verdict(pair: Pair) -> str:
    """What may be said of a pair."""
    if not math.isfinite(pair.difference.value):
        return "unknown"
    if pair.significant:
        return "first is better" if pair.difference.value > 0 else "second is better"
    spans = not has_interval(pair.difference) or pair.difference.low <= 0 <= pair.difference.high
    return "cannot be told apart" if spans else "not beyond chance over all pairs"


def consistency(board: Board) -> str:
    """How the judge dealt with the order; empty where nothing was judged in both."""
    rows = [
        [
            Cell(row.name),
            Cell(f"{row.consistency.pairs:,}", row.consistency.pairs),
            Cell(f"{row.consistency.consistent:.1%}", row.consistency.consistent),
            Cell(f"{100 * row.consistency.first_shown.value:+.1f}".replace("-", "−"), row.consistency.first_shown.value,
                 f"{100 * row.consistency.first_shown.low:+.1f} to {100 * row.consistency.first_shown.high:+.1f}".replace("-", "−")),
        ]
        for row in board.rows
        if row.consistency is not None
    ]  # fmt: skip
    columns = [
        Column("Entrant", "text"),
        Column("Judged in both orders"),
        Column("Orders agree"),
        Column("Shown first is preferred", small="points"),
    ]
    return table("The judge and the order of the answers", columns, rows) if rows else ""


def drafts(board: Board) -> str:
    """What the members proposed; empty where nobody has several drafts."""
    rows = [
        [
            Cell(row.name),
            Cell(f"{row.drafts.drafts:.3g}", row.drafts.drafts),
            Cell(f"{row.drafts.diversity:.2f}", row.drafts.diversity, f"{row.drafts.diversity / row.drafts.drafts:.0%} of the drafts"),
            _quality(row),
            _figure(row.headline, ""),
        ]
        for row in board.rows
        if row.drafts is not None
    ]  # fmt: skip
    columns = [
        Column("Entrant", "text"),
        Column("Drafts", small="a question"),
        Column("Diversity", small="Vendi score"),
        Column("Quality of the drafts", small="%"),
        Column(unit(board).heading),
    ]
    return table("Diversity of the drafts", columns, rows) if rows else ""


def _quality(row: Row) -> Cell:
    quality = row.drafts.quality if row.drafts else None
    if quality is None:
        return Cell("not checked", NAN)
    return Cell(f"{quality.value:.1f}", quality.value, f"{quality.low:.1f} to {quality.high:.1f}")


def spending(board: Board, plans: Mapping[str, Planned | None]) -> str:
    """What a question was planned to take and took."""
    columns = [
        Column("Entrant", "text"),
        *(Column(title, up=True, small="planned") for title in SPENT),
    ]
    rows = [_spent(row, row.cost, plans.get(row.name)) for row in board.rows if row.cost is not None]
    return table("Used for a question, and planned for it", columns, rows) if rows else ""


SPENT = ("Calls", "Tokens in", "From cache", "Tokens out", "Cost")
"""What a question takes; of the tokens in, the share that servers say they found in a prefix cache."""


def _spent(row: Row, cost: Cost, plan: Planned | None) -> list[Cell]:
    planned = plan or Planned(None, None, None, None)
    calls, sent, written = (
        Cell(
            f"{used:,.4g}" if used < 100 else f"{used:,.0f}",
            used,
            UNKNOWN if expected is None else f"{expected:,.0f}",
        )
        for used, expected in (
            (cost.calls, planned.calls),
            (cost.input_tokens, planned.input_tokens),
            (cost.output_tokens, planned.output_tokens),
        )
    )
    cached = cost.cached_tokens / cost.input_tokens if cost.input_tokens else 0.0
    share = Cell(f"{cached:.0%}", cached, UNKNOWN if planned.cached is None else f"{planned.cached:.0%}")
    return [
        Cell(row.name),
        calls,
        sent,
        share,
        written,
        Cell(dollars(cost.usd), NAN if cost.usd is None else cost.usd, dollars(planned.cost)),
    ]
