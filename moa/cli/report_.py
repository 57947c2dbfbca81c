"""`moa report`: an experiment as one HTML page, with its plots as files beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from moa.cli.options import ReferenceOption


def command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of an experiment.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="The page; by default DIR/report.html."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Of the bootstrap.")] = 0,
    bootstrap: Annotated[
        int, typer.Option("--bootstrap", min=2, metavar="N", help="Replicates that an interval rests on.")
    ] = 1000,
    reference: ReferenceOption = None,
    items: Annotated[
        int,
        typer.Option(
            "--items", min=0, metavar="N", help="Questions whose texts go into the page; of more, a sample."
        ),
    ] = 2000,
) -> None:
    """Write an experiment's report: leaderboard, plots, every question with every answer and verdict.

    The page is one file that needs no network. The plots also go into DIR/plots as PNG and SVG.
    """
    from moa.evaluate.report.page import write_report

    written = write_report(folder, out, seed=seed, bootstrap=bootstrap, reference=reference, most_items=items)
    typer.echo(f"wrote {written.page} and {len(written.plots)} files in {folder / 'plots'}", err=True)
