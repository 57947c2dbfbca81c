"""What the reader should know before believing a number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from moa.errors import UsageError
from moa.evaluate.figures import LengthControl
from moa.evaluate.numbers.agreement import self_preference
from moa.evaluate.numbers.diversity import tradeoff
from moa.evaluate.sheet import Sheet
from moa.evaluate.standings import Finding, Row
from moa.evaluate.texts import Texts

BIASED = 0.1
"""Position or length bias from which on it is told: 10 points."""
UNREAD = 0.05
"""The share of refused or unreadable verdicts from which on it is told."""


def findings(
    rows: Sequence[Row],
    sheets: Mapping[str, Sheet],
    controls: Mapping[str, LengthControl | None],
    texts: Mapping[str, Texts],
) -> Iterator[Finding]:
    """Everything that casts doubt on a row, row by row; then what concerns all of them."""
    for row in rows:
        yield from texts[row.name].findings
        yield from _bound(row)
        yield from _missing(row)
        yield from _unread(row)
        yield from _position(row)
        yield from _length(row)
        control = controls.get(row.name)
        if control is not None and control.extrapolates:
            yield Finding(row.name, "extrapolates", f"LC win rate of {row.name}: {control.extrapolates}")
    yield from _judges(list(sheets.values()))
    yield from _own_family(list(sheets.values()))
    yield from _mixing(rows)


def _bound(row: Row) -> Iterator[Finding]:
    if not row.entrant.sees_verdicts:
        return
    message = (
        f"{row.name} chose by the very verdicts that are counted: an upper bound for any choice among its "
        "drafts, not a method"
    )
    if row.drafts is not None and (chance := row.drafts.quality) is not None:
        drawn = f"{chance.value:.1f} [{chance.low:.1f}, {chance.high:.1f}]"
        message += f"; a draft drawn by chance has a win rate of {drawn} in expectation"
    yield Finding(row.name, "bound", message)


def _missing(row: Row) -> Iterator[Finding]:
    counts = row.counts
    if counts.missing:
        message = f"{row.name}: {counts.missing} of {counts.items} items are not answered yet; run it again"
        yield Finding(row.name, "missing", message)
    if counts.failed:
        message = (
            f"{row.name}: {counts.failed} of {counts.items} answers failed; --retry-failed asks them again"
        )
        yield Finding(row.name, "failed", message)
    if (lost := counts.unjudged - counts.failed) > 0:
        message = f"{row.name}: {lost} verdicts failed and are left out of its numbers, so they are not of the same items as those of others"
        yield Finding(row.name, "unjudged", message)


def _unread(row: Row) -> Iterator[Finding]:
    counts = row.counts
    verdicts = counts.ok + counts.refused + counts.unparsed
    for kind, count in (("refused", counts.refused), ("unparsed", counts.unparsed)):
        if verdicts and count / verdicts > UNREAD:
            message = f"{row.name}: {count} of {verdicts} verdicts are {kind}"
            yield Finding(row.name, kind, message)


def _position(row: Row) -> Iterator[Finding]:
    found = row.consistency
    if found is None:
        return
    bias = found.first_shown
    if abs(bias.value) > BIASED and (bias.low > 0 or bias.high < 0):
        place = "first" if bias.value > 0 else "second"
        message = (
            f"{row.name}: the judge prefers what is shown {place} by {100 * abs(bias.value):.0f} points; "
            "both orders are averaged"
        )
        yield Finding(row.name, "position-bias", message)


def _length(row: Row) -> Iterator[Finding]:
    found = row.longer_preferred
    if found is None or abs(found.value - 0.5) <= BIASED or found.low <= 0.5 <= found.high:
        return
    side = "longer" if found.value > 0.5 else "shorter"
    share = 100 * max(found.value, 1 - found.value)
    message = (
        f"{row.name}: the judge gives the {side} answer {share:.0f}% of its preference; "
        "compare with the length-controlled win rate"
    )
    yield Finding(row.name, "length-bias", message)


def _judges(sheets: Sequence[Sheet]) -> Iterator[Finding]:
    names = sorted({name for sheet in sheets for name in sheet.judges})
    if len(names) > 1:
        yield Finding("", "judges", f"verdicts of different judges are mixed: {', '.join(names)}")


def _own_family(sheets: Sequence[Sheet]) -> Iterator[Finding]:
    """A judge that also answers; how much more it gives its own where there are others too."""
    judges = {name for sheet in sheets for name in sheet.judges}
    judged = [sheet for sheet in sheets if "preference" in sheet.kinds and sheet.judged]
    own = [bool(judges & set(sheet.entrant.models.values())) for sheet in judged]
    names = [sheet.name for sheet, ours in zip(judged, own, strict=True) if ours]
    if not names:
        return
    message = f"the judge also answers for {', '.join(names)}: judges prefer their own kind"
    if not all(own):
        known = [np.flatnonzero(np.isfinite(sheet.values)) for sheet in judged]
        given = np.concatenate([sheet.values[rows] for sheet, rows in zip(judged, known, strict=True)])
        flags = [ours for ours, rows in zip(own, known, strict=True) for _ in rows]
        items = [int(row) for rows in known for row in rows]
        gap = self_preference(given, flags, questions=items).difference.percent()
        message += f"; here it gives them {gap.value:+.1f} points [{gap.low:+.1f}, {gap.high:+.1f}]"
    yield Finding("", "self-preference", message)


def _mixing(rows: Sequence[Row]) -> Iterator[Finding]:
    """What quality and diversity of the drafts are worth, where enough ensembles take part."""
    known = [row for row in rows if row.headline and row.drafts and row.drafts.quality]
    performance = [row.headline.estimate.value for row in known if row.headline]
    quality = [row.drafts.quality.value for row in known if row.drafts and row.drafts.quality]
    diversity = [row.drafts.diversity for row in known if row.drafts]
    mixed = [len(set(row.entrant.models.values())) > 1 for row in known]
    both = mixed if len(set(mixed)) > 1 else None
    try:
        found = tradeoff(performance, quality, diversity, mixed=both)
    except UsageError:  # fewer than five ensembles, or all alike
        return
    yield Finding("", "tradeoff", f"over {len(known)} ensembles: {found.reading}")
