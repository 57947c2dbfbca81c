"""How `moa eval --plan` shows what an evaluation will cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from moa.evaluate.forecast import Amounts, Forecast


def show(found: Forecast) -> None:
    """Print a forecast on standard output: a row an entrant, the judge's, and what is shared once."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    turns = f", {found.turns:,} turns" if found.turns > found.items else ""
    table = Table(
        box=box.SIMPLE_HEAD,
        title=f"{found.items:,} items{turns}; nothing is asked yet",
        title_justify="left",
        show_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column("", style="bold", overflow="fold")
    for heading in ("Calls", "Tokens in", "Tokens out", "Cost"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, amounts in found.entrants.items():
        table.add_row(*map(Text, [name, *_cells(amounts)]))
    if found.shared.calls:
        table.add_row(*map(Text, ["shared, paid once", *_cells(found.shared, sign="-")]))
    if found.judge.calls:
        table.add_row(*map(Text, [f"judge {found.judge_name}", *_cells(found.judge)]))
    table.add_section()
    table.add_row(*map(Text, ["at most", *_cells(found.total)]), style="bold")
    Console(highlight=False).print(table)


def _cells(amounts: Amounts, sign: str = "") -> list[str]:
    numbers = (amounts.calls, amounts.input_tokens, amounts.output_tokens)
    usd = "n/a" if amounts.usd is None else "$0" if not amounts.usd else f"{sign}${amounts.usd:,.4f}"
    return [*(f"{sign}{number:,}" for number in numbers), usd]
