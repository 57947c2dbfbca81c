"""The command line: one module a command, imported light so that `moa --help` is quick."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Annotated

import typer

from moa import __version__

COMMANDS = (
    "run",
    "batch",
    "chat",
    "plan",
    "graph",
    "list",
    "show",
    "models",
    "up",
    "validate",
    "schema",
    "store",
    "serve",
    "view",
    "eval",
    "attack",
    "compare",
    "report",
    "score",
)
"""Each is a module `moa.cli.<name>_` with a function or a typer app called `command`."""

app = typer.Typer(
    name="moa",
    help="Ensembles of language models as graphs: run them, plan them, look at them.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"moa {__version__}")
        raise typer.Exit


@app.callback()
def _globals(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and leave."),
    ] = False,
) -> None:
    pass


for _name in COMMANDS:
    _command = import_module(f"moa.cli.{_name}_").command
    if isinstance(_command, typer.Typer):
        app.add_typer(_command, name=_name)
    else:
        app.command(_name)(_command)


def main() -> None:
    """Run the command line; a user's mistake is one line on stderr and exit code 2."""
    from moa.errors import MoaError

    try:
        app()
    except MoaError as error:
        if "--debug" in sys.argv:
            raise
        typer.echo(str(error), err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)
