"""What the reader should know before believing a number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from moa.evaluate.figures import LengthControl
from moa.evaluate.standings import Finding, Row
from moa.evaluate.texts import Texts

BIASED = 0.1
"""Position bias from which on it is told: the first one shown wins 10 points more often."""
UNREAD = 0.05
"""The share of refused or unreadable verdicts from which on it is told."""


def findings(
    rows: Sequence[Row], controls: Mapping[str, LengthControl | None], texts: Mapping[str, Texts]
) -> Iterator[Finding]:
    """Everything that casts doubt on a row, row by row."""
    for row in rows:
        yield from texts[row.name].findings
        yield from _missing(row)
        yield from _unread(row)
        yield from _position(row)
        control = controls.get(row.name)
        if control is not None and control.extrapolates:
            yield Finding(row.name, "extrapolates", f"LC win rate of {row.name}: {control.extrapolates}")


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
