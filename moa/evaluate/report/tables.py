"""Tables of the report as HTML: with captions, sortable columns, and every cell escaped."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple


class Cell(NamedTuple):
    """What a cell shows, what it is sorted by, a small second line, and where it leads.

    `value` is None for a cell that is sorted by its text, and NaN for one that is always last.
    """

    text: str
    value: float | None = None
    small: str = ""
    link: str = ""


class Column(NamedTuple):
    """A heading; `kind` is `number`, `text` or `long` for text that wraps.

    `up` says that small is good, and `sorted` how the rows are sorted by it now: `ascending` or `descending`.
    """

    title: str
    kind: str = "number"
    up: bool = False
    sorted: str = ""
    small: str = ""


def table(
    caption: str,
    columns: Sequence[Column],
    rows: Sequence[Sequence[Cell]],
    *,
    sortable: bool = True,
    headed: int = 1,
) -> str:
    """An HTML table in a box that scrolls; the cell number `headed` of each row (from 1) is its heading; 0: none."""
    head = "".join(_heading(column, sortable) for column in columns)
    body = "\n".join(
        f"<tr>{''.join(_cell(cell, column, place == headed) for place, (cell, column) in enumerate(zip(row, columns, strict=True), 1))}</tr>"
        for row in rows
    )
    kind = ' class="sortable"' if sortable else ""
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{words(caption)}">\n<table{kind}>'
        f"<caption>{words(caption)}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table>\n</div>"
    )


def _heading(column: Column, sortable: bool) -> str:
    title = words(column.title)
    inside = f'<button type="button">{title}</button>' if sortable else title
    small = f"<small>{words(column.small)}</small>" if column.small else ""
    kind = "" if column.kind == "number" else ' class="text"'
    # The first click on a number puts the best on top.
    first = ' data-first="up"' if column.up or column.kind != "number" else ""
    order = f' aria-sort="{column.sorted}"' if sortable and column.sorted else ""
    return f'<th scope="col"{kind}{first}{order}>{inside}{small}</th>'


def _cell(cell: Cell, column: Column, heads: bool) -> str:
    tag = 'th scope="row"' if heads else "td"
    kind = "" if column.kind == "number" else f' class="{"text" if column.kind == "text" else "text long"}"'
    value = "" if cell.value is None else f' data-value="{_sorted_by(cell.value)}"'
    small = f"<small>{words(cell.small)}</small>" if cell.small else ""
    text = f"<bdi>{words(cell.text)}</bdi>"
    shown = f'<a href="{words(cell.link)}">{text}</a>' if cell.link else text
    return f"<{tag}{kind}{value}>{shown}{small}</{tag.split()[0]}>"


def _sorted_by(value: float) -> str:
    return f"{value:.10g}" if math.isfinite(value) else ""


def words(text: str) -> str:
    """Escaped, and without what would make the text around it run another way or end the document."""
    return escape("".join(c if c.isprintable() or c in "\n\t" else "�" for c in text))
