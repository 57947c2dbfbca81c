"""`moa list`: the agents, graphs, defences and evaluations that can be named here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from moa.spec.catalogue import Entry, Kind


def command(
    kind: Annotated[
        str | None, typer.Argument(metavar="[agents|graphs|defences|evals]", help="List only this kind.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
) -> None:
    """List the agents, graphs, defences and evaluations that can be named: the shipped ones and your own."""
    import json
    import sys

    from moa.spec.catalogue import entries

    kinds = _kinds(kind)
    if as_json:
        listed = [entry._asdict() | {"path": str(entry.path)} for each in kinds for entry in entries(each)]
        typer.echo(json.dumps(listed, indent=2, ensure_ascii=False))
        return
    show = _show_table if sys.stdout.isatty() else _show_lines
    for each in kinds:
        show(each, entries(each), len(kinds) > 1)


def _kinds(kind: str | None) -> list[Kind]:
    from moa.errors import UsageError
    from moa.spec.catalogue import KINDS
    from moa.spec.words import nearest

    if kind is None:
        return list(KINDS)
    meant = [known for known in KINDS if kind in {known, known.removesuffix("s")}]
    if not meant:
        near = nearest(kind, KINDS)
        raise UsageError(
            f"cannot list {kind!r}{f'; did you mean `{near}`?' if near else ''} (known: {', '.join(KINDS)})"
        )
    return meant


def _show_lines(kind: Kind, found: list[Entry], several: bool) -> None:
    """Fields between tabs, for `cut` and `awk`."""
    for entry in found:
        fields = [*([kind] if several else []), entry.name, entry.description, entry.source]
        typer.echo("\t".join(" ".join(field.split()) for field in fields))


def _show_table(kind: Kind, found: list[Entry], several: bool) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=kind if several else None, title_justify="left", box=None, padding=(0, 2, 0, 0))
    table.add_column("name", style="bold", no_wrap=True)
    table.add_column("description", ratio=3)
    table.add_column("source", style="dim", ratio=2)
    for entry in found:
        table.add_row(*(Text(field) for field in (entry.name, entry.description, entry.source)))
    Console().print(table)
