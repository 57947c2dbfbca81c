"""`moa schema`: the JSON schema of a kind of file, for editors."""

from __future__ import annotations

from typing import Annotated

import typer


def command(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="agent, graph, defence, models or eval.")],
) -> None:
    """Print the JSON schema of agent, graph, defence, models or evaluation files, for completion in editors."""
    import json

    from moa.spec.schema import schema

    typer.echo(json.dumps(schema(kind), indent=2, ensure_ascii=False))
