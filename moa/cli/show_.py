"""`moa show`: one agent, graph or evaluation, and for a graph the nodes that it becomes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from moa.cli.options import DefendOption

if TYPE_CHECKING:
    from pathlib import Path

    from moa.evaluate.tasks import About


def command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name of the catalogue, or a path.")],
    kind: Annotated[
        str | None,
        typer.Option(
            "--kind", metavar="KIND", help="agents, graphs, defences or evals, where several have NAME."
        ),
    ] = None,
    defend: DefendOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Print the YAML of an agent, a graph, a defence or an evaluation, its source, and who hears whom or what it needs.

    What is added to the file stands in comments, so the output is the start of a file of your own.
    """
    import json

    from moa.cli.session import compile_from
    from moa.cli.wiring import wiring_json, wiring_lines
    from moa.spec.catalogue import entry_at, find_any
    from moa.spec.loader import read_text

    found = find_any(name, "graphs" if defend else kind)
    entry, text = entry_at(found.kind, found.path), read_text(found.path)
    plan = compile_from(str(found.path), None, defend) if found.kind == "graphs" else None
    text = _defended(found.path, defend) if defend else text
    known = _about(found.path) if found.kind == "evals" else None
    if as_json:
        shown = entry._asdict() | {"path": str(entry.path), "yaml": text}
        more = wiring_json(plan) if plan else known._asdict() if known else {}
        typer.echo(json.dumps(shown | more, indent=2, ensure_ascii=False))
        return
    by = f", defended by {defend}" if defend else ""
    _print_yaml(f"# {entry.path}{by}\n{text.rstrip()}\n")
    comments = [f"source: {entry.source}"] if entry.source else []
    comments += ["", *wiring_lines(plan)] if plan else []
    comments += _about_lines(known) if known else []
    if comments:
        typer.echo("\n".join(["", *(f"# {line}".rstrip() for line in comments)]))


def _defended(path: Path, defence: str) -> str:
    """The file of the graph with its last step rewritten."""
    from moa.cli.session import defended
    from moa.spec.build import yaml_of
    from moa.spec.catalogue import load_graph

    return yaml_of(defended(load_graph(str(path)), defence))


def _about(path: Path) -> About:
    """What an evaluation asks and needs; nothing is downloaded."""
    from moa.evaluate.tasks import about
    from moa.spec.catalogue import load_eval

    located = load_eval(str(path))
    return about(located.spec, located.folder)


def _about_lines(known: About) -> list[str]:
    count = [] if known.items is None else [f"items: {known.items}"]
    return [*count, *known.needs]


def _print_yaml(text: str) -> None:
    import sys

    if not sys.stdout.isatty():
        typer.echo(text, nl=False)
        return
    from rich.console import Console
    from rich.syntax import Syntax

    Console().print(Syntax(text, "yaml", background_color="default", word_wrap=True))
