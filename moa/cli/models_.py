"""`moa models`: what can be asked from here, and what to do about what cannot."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from moa.cli.options import ModelsOption

if TYPE_CHECKING:
    from moa.backends.discover import Finding
    from moa.spec.model import ModelSpec

SHOWN = 3
"""Models of one place that the table shows."""


def command(
    models: ModelsOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object.")] = False,
) -> None:
    """Show which models can be asked from here: each place is checked, and each that fails says what to do."""
    import json
    import sys
    from dataclasses import asdict

    from moa.backends.discover import discover, without_key

    found = discover(_entries(models))
    if as_json:
        told = {"found": [asdict(finding) for finding in found], "without_key": without_key()}
        typer.echo(json.dumps(told, indent=2, ensure_ascii=False))
        return
    show = _show_table if sys.stdout.isatty() else _show_lines
    show(found, without_key())


def _entries(path: Path | None) -> dict[str, ModelSpec]:
    if path is None:
        return {}
    from moa.spec.loader import read_models

    return read_models(path).spec.models


def _short(finding: Finding) -> str:
    """The first models, and how many more there are."""
    rest = len(finding.models) - SHOWN
    shown = ", ".join(finding.models[:SHOWN])
    return f"{shown}, and {rest} more (--json lists them)" if rest > 0 else shown


def _hint(missing: dict[str, str]) -> str:
    return f"no key set: {', '.join(f'{variable} ({name})' for name, variable in missing.items())}"


def _show_lines(found: list[Finding], missing: dict[str, str]) -> None:
    """Fields between tabs, for `cut` and `awk`."""
    for finding in found:
        state = "ready" if finding.ready else "failed"
        typer.echo("\t".join((finding.name, state, finding.where, _short(finding), finding.remedy or "")))
    if missing:
        typer.echo(_hint(missing), err=True)


def _show_table(found: list[Finding], missing: dict[str, str]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("where", no_wrap=True)
    table.add_column("")
    table.add_column("models, as -m takes them", ratio=1, overflow="fold")
    for finding in found:
        mark = Text("ready", style="green") if finding.ready else Text("no", style="yellow")
        told = Text(_short(finding))
        if finding.remedy:
            told.append(f"{' ' if finding.models else ''}{finding.remedy}", style="dim")
        table.add_row(Text.assemble((finding.name, "bold"), f"\n{finding.where}"), mark, told)
    console = Console(highlight=False)
    console.print(table)
    if missing:
        console.print(Text(_hint(missing), style="dim"))
