"""`moa compare`: the leaderboard of an experiment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from moa.evaluate.standings import Board


def command(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Folders that `moa eval` wrote.")],
) -> None:
    """Show who is better, with error bars and paired differences."""
    from moa.evaluate.board import board
    from moa.evaluate.folder import Folder

    show(board([Folder(path) for path in folders]))


def show(found: Board) -> None:
    """Print a leaderboard on standard output."""
    for row in found.rows:
        typer.echo(f"{row.name} {row.headline}")
    for pair in found.pairs:
        typer.echo(f"{pair}")
    for finding in found.findings:
        typer.echo(finding.message)
