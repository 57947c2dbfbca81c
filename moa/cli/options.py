"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from moa.graph.bind import Bindings

GraphArgument = Annotated[
    str, typer.Argument(metavar="GRAPH", help="A graph of the catalogue, or a path to a YAML file.")
]
ModelOption = Annotated[
    list[str] | None,
    typer.Option(
        "-m",
        "--model",
        metavar="[SLOT=]MODEL",
        help="Bind a slot to a model (repeatable), or to several: SLOT=MODEL,MODEL; without SLOT=, every slot that is not bound otherwise.",
    ),
]
ReferenceOption = Annotated[
    Path | None,
    typer.Option(
        "--reference", metavar="DIR", help="AlpacaEval's instruction difficulties, for length control."
    ),
]
ModelsOption = Annotated[
    Path | None, typer.Option("--models", metavar="FILE", help="A models.yaml with your models and slots.")
]


DefendOption = Annotated[
    str | None,
    typer.Option(
        "--defend",
        metavar="DEFENCE",
        help="Rewrite the last step by a defence: NAME, or 'NAME(option=value)' (`moa list defences`).",
    ),
]


def read_bindings(model: list[str] | None, models: Path | None) -> Bindings:
    """The bindings that `-m` and `--models` ask for."""
    from moa.graph.bind import Bindings

    return Bindings.parse(model or (), models)
