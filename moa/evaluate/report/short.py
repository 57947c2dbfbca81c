"""The outcome in a few honest sentences, and the facts of the experiment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from moa.evaluate.numbers.intervals import Estimate
from moa.evaluate.records import Spent
from moa.evaluate.report.plots import judged, unit
from moa.evaluate.report.survey import Survey
from moa.evaluate.report.words import Unit, count, dollars, has_interval, listed, points
from moa.evaluate.standings import Board, Pair


class Fact(NamedTuple):
    """A name, a value, and a small note."""

    name: str
    value: str
    note: str = ""


ORDERS = {
    "both": "both orders, averaged",
    "seeded": "one order, drawn with the seed",
    "fixed": "the baseline is always shown first",
}
SUSPICIOUS = "suspicious"
"""The kind of finding that comes before everything else."""


def in_short(board: Board) -> Iterator[str]:
    """Who is best, whether that is beyond chance, and what to beware of."""
    rows = [(row, estimate) for _, row, estimate in judged(board) if not row.is_baseline]
    if not rows:
        yield "Nothing was judged yet."
        return
    kind, (best, estimate) = unit(board), rows[0]
    lead = f"{best.name} has the highest {board.label}," if len(rows) > 1 else f"{best.name}: {board.label}"
    yield f"{lead} {kind.long(estimate)}{_against(board, estimate)}."
    if len(rows) > 1:
        yield from _runner_up(board, best.name, rows[1][0].name)
    names = [finding.entrant for finding in board.findings if finding.kind == SUSPICIOUS]
    if names:
        yield f"Suspicious: {listed(list(dict.fromkeys(names)))}. See the checks before you believe a number."


def _against(board: Board, estimate: Estimate) -> str:
    """How it stands to the baseline, where the number has such a middle."""
    kind = unit(board)
    if kind.middle is None or not has_interval(estimate):
        return ""
    who, at = board.baseline or "the baseline", f"{kind.middle:g}{kind.suffix}"
    if estimate.low > kind.middle:
        return f": better than {who}, for the interval lies above {at}"
    if estimate.high < kind.middle:
        return f": worse than {who}, for the interval lies below {at}"
    return f", an interval that spans {at}: nothing shows that it is better or worse than {who}"


def _runner_up(board: Board, first: str, second: str) -> Iterator[str]:
    straight, mirrored = board.pair(first, second), board.pair(second, first)
    pair = straight or mirrored
    if pair is None:
        yield f"{first} and {second}, the next, share too few questions to be compared."
        return
    difference = pair.difference if straight else pair.difference.scaled(-1)
    lead = f"On the same questions it is {_ahead(second, difference, points(unit(board)))}"
    if pair.significant:
        yield f"{lead}, which is beyond chance."
    elif difference.low <= 0 <= difference.high:
        yield f"{lead}: these questions cannot tell the two apart{_more(pair)}."
    else:
        yield f"{lead}: beyond chance by itself, but not among {count(len(board.pairs), 'comparison')}{_more(pair)}."


def _ahead(second: str, difference: Estimate, kind: Unit) -> str:
    if not difference.value:
        return f"level with {second}, the next (95% CI {kind.interval(difference)})"
    if difference.value > 0:
        return f"ahead of {second}, the next, by {kind.long(difference)}"
    return f"behind {second}, the next, by {kind.long(difference.scaled(-1))}"


def _more(pair: Pair) -> str:
    return f"; about {pair.more:,} more would settle a difference of this size" if pair.more else ""


def facts(board: Board, survey: Survey) -> Iterator[Fact]:
    """What was asked, who judged, and what it took."""
    experiment, spec = board.experiment, board.experiment.spec
    groups = f"in {count(len(survey.groups), 'group')}" if survey.groups else ""
    limit = f"limited to {experiment.limit:,}" if experiment.limit is not None else ""
    yield Fact("Questions", f"{survey.total:,}", ", ".join(filter(None, [groups, limit])))
    yield Fact(
        "Entrants",
        f"{len(board.rows):,}",
        count(len(board.pairs), "paired comparison") if board.pairs else "",
    )
    yield Fact("Judge", board.judge or "none", ORDERS.get(str((spec.get("judge") or {}).get("order")), ""))
    if board.baseline is not None:
        yield Fact("Baseline", board.baseline)
    yield from _spent(survey)
    if spec.get("source"):
        yield Fact("Source", str(spec["source"]))
    yield Fact("Seed", str(experiment.seed), f"run with moa {experiment.moa}")


def _spent(survey: Survey) -> Iterator[Fact]:
    answers = sum((record.spent for record in survey.records.values()), Spent())
    judging = sum((record.judging for record in survey.records.values()), Spent())
    whole = answers + judging
    asked = sum(record.asked for record in survey.records.values())
    note = (
        ""
        if whole.cost == 0
        else f"{dollars(answers.cost)} for answers, {dollars(judging.cost)} for verdicts; a call that entrants share is counted for each"
    )
    yield Fact("Cost", dollars(whole.cost), note)
    yield Fact("Answers", f"{asked:,}", f"{whole.calls:,} calls, {answers.calls:,} of them by entrants")
    yield Fact(
        "Tokens",
        f"{whole.input_tokens + whole.output_tokens:,}",
        f"{whole.input_tokens:,} in, {whole.output_tokens:,} out",
    )
