"""`moa score`: win rates from recorded preferences, with no model called."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moa.evaluate.numbers.intervals import Estimate
    from moa.evaluate.score import Options, Score

FITS = ("liblinear-cv", "newton")
COLUMNS = (
    "model",
    "LC win rate",
    "95% CI",
    "win rate",
    "SE",
    "95% CI",
    "wins",
    "draws",
    "losses",
    "n",
    "length",
)
ABSENT = "-"


def command(
    annotations: Annotated[
        list[Path],
        typer.Argument(
            metavar="ANNOTATIONS...",
            help="AlpacaEval's annotations.json; JSONL, CSV or Parquet with model, index or instruction, "
            "preference (1 to 2), len_1, len_2; or a folder of them.",
        ),
    ],
    reference: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="A folder with instruction_difficulty.csv and df_gamed.csv (default: the hub's, kept once fetched).",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array, one object a model.")] = False,
    row_index: Annotated[
        bool,
        typer.Option(
            "--row-index", help="Take a row's position for its instruction, as the official scorer does."
        ),
    ] = False,
    fit: Annotated[
        str, typer.Option(metavar="FIT", help="liblinear-cv is the official fit; newton is fast.")
    ] = FITS[0],
    bootstrap: Annotated[
        int, typer.Option(metavar="N", min=0, help="Replicates behind the intervals; 0: none.")
    ] = 1000,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Of the bootstrap.")] = 0,
    no_length_control: Annotated[
        bool, typer.Option("--no-length-control", help="Leave out the length-controlled win rate.")
    ] = False,
    drop_unjudged: Annotated[
        bool,
        typer.Option(
            "--drop-unjudged",
            help="Leave out rows of a table without a preference: the judge gave no verdict.",
        ),
    ] = False,
) -> None:
    """Compute win rates from recorded preferences: raw as AlpacaEval, and length-controlled, with intervals."""
    from moa.errors import MissingExtraError

    try:
        import numpy as np  # noqa: F401
    except ImportError:
        raise MissingExtraError("win rates", "eval") from None
    from moa.evaluate.score import Options

    options = Options(not no_length_control, reference, _fit(fit), row_index, bootstrap, seed)  # type: ignore[arg-type]
    _print(_scores(annotations, options, drop_unjudged), as_json)


def _fit(name: str) -> str:
    from moa.errors import UsageError

    if name not in FITS:
        raise UsageError(f"--fit {name}: known are {' and '.join(FITS)}")
    return name


def _scores(paths: list[Path], options: Options, drop_unjudged: bool) -> list[Score]:
    from moa.evaluate.annotations import read_annotations
    from moa.evaluate.score import score

    found = read_annotations(paths, drop_unjudged=drop_unjudged)
    return list(_watched(score(found, options), len(found)))


def _watched(scores: Iterator[Score], total: int) -> Iterator[Score]:
    """The scores, with a bar at a terminal while more than one is computed."""
    import sys

    if total < 2 or not sys.stderr.isatty():
        yield from scores
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(scores, "scoring", total, console=Console(stderr=True), transient=True)


def _print(scores: list[Score], as_json: bool) -> None:
    import json
    import sys

    for each in scores:
        for warning in each.warnings:
            typer.echo(f"{each.model}: {warning}", err=True)
    if as_json:
        typer.echo(json.dumps([each.to_json() for each in scores], indent=2, ensure_ascii=False))
        return
    rows = [_cells(each) for each in sorted(scores, key=_rank)]
    if sys.stdout.isatty():
        _show_table(rows)
    else:
        typer.echo("\n".join("\t".join(row) for row in [list(COLUMNS), *rows]))


def _rank(score: Score) -> tuple[float, float, str]:
    """The best first, by the length-controlled win rate where there is one."""
    controlled = score.length_controlled
    return (-controlled.win_rate if controlled else 1.0, -score.raw.win_rate, score.model)


def _cells(score: Score) -> list[str]:
    raw, controlled = score.raw, score.length_controlled
    return [
        score.model,
        f"{controlled.win_rate:.2f}" if controlled else ABSENT,
        _interval(score.lc_ci),
        f"{raw.win_rate:.2f}",
        ABSENT if raw.n_total < 2 else f"{raw.standard_error:.2f}",
        _interval(score.win_rate_ci),
        *map(str, (raw.n_wins, raw.n_draws, raw.n_wins_base, raw.n_total, score.avg_length)),
    ]


def _interval(estimate: Estimate | None) -> str:
    return f"{estimate.low:.2f}..{estimate.high:.2f}" if estimate else ABSENT


def _show_table(rows: list[list[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in COLUMNS:
        first = name == COLUMNS[0]
        table.add_column(name, justify="left" if first else "right", no_wrap=not first, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    Console(highlight=False).print(table)
