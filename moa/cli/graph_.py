"""`moa graph`: a picture of a graph."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from moa.cli.options import GraphArgument, ModelOption, ModelsOption, read_bindings

if TYPE_CHECKING:
    from moa.graph.plan import Plan

Format = Literal["mermaid", "dot", "svg", "png"]
_ENDINGS: dict[str, Format] = {
    ".mmd": "mermaid",
    ".mermaid": "mermaid",
    ".dot": "dot",
    ".gv": "dot",
    ".svg": "svg",
    ".png": "png",
}


def command(
    graph: GraphArgument,
    format: Annotated[
        Format | None, typer.Option("--format", "-f", help="Default: what FILE ends in, else mermaid.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Where to write; standard output by default."),
    ] = None,
    model: ModelOption = None,
    models: ModelsOption = None,
) -> None:
    """Draw a graph: Mermaid or DOT text, an SVG or a PNG.

    Without -m and --models the slots are shown by their names.
    """
    from moa.cli.session import compile_from

    bindings = read_bindings(model, models) if model or models else None
    plan = compile_from(graph, bindings)
    chosen = format or _ENDINGS.get(output.suffix.lower() if output else "", "mermaid")
    _write(_drawn(plan, chosen), output, chosen)


def _drawn(plan: Plan, format: Format) -> bytes:
    if format == "png":
        from moa.graph.png import png

        return png(plan)
    if format == "svg":
        from moa.graph.svg import svg

        return svg(plan).encode()
    from moa.graph import draw

    return (draw.dot(plan) if format == "dot" else draw.mermaid(plan)).encode()


def _write(content: bytes, output: Path | None, format: Format) -> None:
    from moa.errors import UsageError

    if output is not None:
        try:
            output.write_bytes(content)
        except OSError as error:
            raise UsageError(
                f"cannot write {output}: {(error.strerror or 'no reason given').lower()}"
            ) from None
        typer.echo(f"wrote {output}", err=True)
    elif format == "png" and sys.stdout.isatty():
        raise UsageError("a PNG is not for a terminal: add -o FILE.png")
    else:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
