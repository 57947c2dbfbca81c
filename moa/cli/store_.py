"""`moa store`: what is kept, how to take it out, and how to throw it away."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from moa.run.inventory import Stock

command = typer.Typer(
    help="Count, export and clean up the stored answers.", no_args_is_help=True, rich_markup_mode=None
)

PathOption = Annotated[
    Path | None,
    typer.Option("--store", metavar="PATH", help="The store (default: $MOA_STORE, or the usual place)."),
]
ModelOption = Annotated[
    str | None,
    typer.Option("--model", metavar="MODEL", help="Only this model, as `moa store stats` names it."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object.")]

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


@command.command()
def stats(store: PathOption = None, json: JsonOption = False) -> None:
    """What the store holds, by model."""
    from json import dumps

    from moa.run.inventory import take_stock

    stock = take_stock(_path(store))
    typer.echo(dumps(_as_json(stock)) if json else "\n".join(_described(stock)))


@command.command()
def export(
    store: PathOption = None,
    model: ModelOption = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="FILE", help="Write here instead of stdout.")
    ] = None,
) -> None:
    """Every stored sample with its whole request, one JSON object a line."""
    from moa.run.inventory import export as exported

    lines = _lines(exported(_path(store), model))
    if out is None:
        stream = typer.get_binary_stream("stdout")
        for line in lines:
            stream.write(line)
        stream.flush()
    else:
        _write(out, lines)


@command.command()
def gc(
    store: PathOption = None,
    older_than: Annotated[
        str | None, typer.Option(metavar="AGE", help="Delete samples older than this: 30d, 12h, 2w.")
    ] = None,
    model: ModelOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be deleted.")] = False,
) -> None:
    """Delete samples, then what nothing refers to any more, and give the space back."""
    import time

    from moa.run.inventory import collect

    before = None if older_than is None else time.time() - _age(older_than)
    gone = collect(_path(store), before=before, model=model, dry_run=dry_run)
    verb = "would delete" if dry_run else "deleted"
    parts = [_number(gone.samples, "sample"), _number(gone.requests, "request"), _number(gone.texts, "text")]
    typer.echo(f"{verb} {parts[0]}, {parts[1]} and {parts[2]}")
    if not dry_run:
        typer.echo(f"freed {_bytes(gone.bytes)}")


def _path(store: Path | None) -> Path:
    from moa.run.store import Store

    return (store or Store.default_path()).expanduser()


def _age(text: str) -> float:
    """Seconds of an age such as `30d`."""
    from moa.errors import UsageError

    number, unit = text[:-1], text[-1:]
    if not (number.isascii() and number.isdigit()) or unit not in _SECONDS:
        raise UsageError(f"--older-than {text}: write a number and s, m, h, d or w, such as 30d")
    return int(number) * _SECONDS[unit]


def _lines(samples: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    from json import dumps

    for sample in samples:
        try:
            yield (dumps(sample, ensure_ascii=False) + "\n").encode()
        except UnicodeEncodeError:
            yield (dumps(sample) + "\n").encode()


def _write(out: Path, lines: Iterator[bytes]) -> None:
    """Write all lines or none: an error in the store leaves an older file as it was."""
    from moa.errors import UsageError

    partial = out.with_name(f"{out.name}.part")
    try:
        with partial.open("wb") as stream:
            stream.writelines(lines)
        partial.replace(out)
    except OSError as error:
        raise UsageError(f"--out {out}: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)


def _as_json(stock: Stock) -> dict[str, Any]:
    from dataclasses import asdict

    return {**asdict(stock), "models": [count._asdict() for count in stock.models]}


def _described(stock: Stock) -> list[str]:
    samples, requests = _number(stock.samples, "sample"), _number(stock.requests, "request")
    lines = [f"{stock.path}: {samples} of {requests}, {_bytes(stock.bytes)}"]
    if stock.oldest is not None and stock.newest is not None:
        lines.append(f"from {_date(stock.oldest)} to {_date(stock.newest)}")
    if stock.models:
        head = ("model", "requests", "samples", "tokens in", "tokens out")
        lines += [
            "",
            *_table([head, *((count.model, *(f"{n:,}" for n in count[2:])) for count in stock.models)]),
        ]
    return lines


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    """The first column to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width) for place, (cell, width) in enumerate(cells)
        )
        for cells in (list(zip(row, widths, strict=True)) for row in rows)
    ]


def _number(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _bytes(number: int) -> str:
    amount = float(number)
    for unit in ("B", "KB", "MB"):
        if amount < 1000:
            return f"{amount:.3g} {unit}"
        amount /= 1000
    return f"{amount:.3g} GB"


def _date(seconds: float) -> str:
    from datetime import UTC, datetime

    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"
