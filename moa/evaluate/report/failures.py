"""What failed, and why: counted by reason, and one by one as far as they are not too many."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

from moa.evaluate.report.survey import MOST_FAILURES, Survey
from moa.evaluate.report.tables import Cell, Column, table, words
from moa.evaluate.report.words import count

NAMES = {
    "answer": "no answer",
    "refused": "the judge refused",
    "unparsed": "the verdict could not be read",
    "failed": "the judge failed",
}
MOST_REASONS = 50
LONGEST = 600
"""Characters of a reason that are shown; the whole text stands with the question."""


def failures(survey: Survey) -> str:
    """Two tables, or a sentence where nothing failed; what is left out is counted."""
    if not any(record.reasons for record in survey.records.values()):
        return "<p>Nothing: every answer that was asked for came, and every verdict could be read.</p>"
    return "\n".join([*_reasons(survey), *_listed(survey), *_warnings(survey)])


def _reasons(survey: Survey) -> Iterator[str]:
    rows = [
        [Cell(entrant), Cell(NAMES[what]), Cell(_cut(reason)), Cell(f"{n:,}", n)]
        for entrant, record in survey.records.items()
        for (what, reason), n in record.reasons.most_common(MOST_REASONS)
    ]
    columns = [
        Column("Entrant", "text"),
        Column("What", "text"),
        Column("Reason", "long"),
        Column("How often"),
    ]
    yield table("Failures by reason", columns, rows)
    for entrant, record in survey.records.items():
        if len(record.reasons) > MOST_REASONS:
            yield _note(f"{entrant}: {count(len(record.reasons) - MOST_REASONS, 'rarer reason')} not shown.")


def _listed(survey: Survey) -> Iterator[str]:
    sampled = {asked.item.id for asked in survey.sample}
    rows = [
        [
            Cell(failure.item, link=_link(failure.item) if failure.item in sampled else ""),
            Cell(failure.entrant),
            Cell(NAMES[failure.what]),
            Cell(_cut(failure.reason)),
        ]
        for record in survey.records.values()
        for failure in record.failures
    ]
    columns = [
        Column("Question", "text"),
        Column("Entrant", "text"),
        Column("What", "text"),
        Column("Reason", "long"),
    ]
    listed = table("Failures one by one", columns, rows)
    yield f'<details class="folded"><summary>{count(len(rows), "failure")}, one by one</summary>{listed}</details>'
    for entrant, record in survey.records.items():
        if (n := sum(record.reasons.values())) > MOST_FAILURES:
            yield _note(f"{entrant}: the first {MOST_FAILURES} of {n:,} failures; the folder has all.")


def _warnings(survey: Survey) -> Iterator[str]:
    rows = [
        [Cell(entrant), Cell(_cut(warning)), Cell(f"{n:,}", n)]
        for entrant, record in survey.records.items()
        for warning, n in record.warnings.most_common(MOST_REASONS)
    ]
    if rows:
        yield table(
            "Warnings", [Column("Entrant", "text"), Column("Warning", "long"), Column("How often")], rows
        )


def _link(item: str) -> str:
    """Where the page shows a question."""
    return f"#item={quote(item, safe='', errors='replace')}"


def _note(text: str) -> str:
    return f'<p class="small faint">{words(text)}</p>'


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
