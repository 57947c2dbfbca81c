"""`moa up`: vLLM engines that several runs share, started, watched and stopped together."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from moa.cli.session import at_terminal, tell

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack

    from moa.spec.model import ModelsSpec
    from moa.up.engine import Patience
    from moa.up.fleet import Fleet
    from moa.up.launch import Launch


def command(
    models: Annotated[
        Path, typer.Argument(metavar="MODELS.yaml", help="A models.yaml with entries of `provider: vllm`.")
    ],
    python: Annotated[
        str | None,
        typer.Option("--python", metavar="PATH", help="The Python that has vLLM; this one by default."),
    ] = None,
    write: Annotated[
        Path | None,
        typer.Option(
            "-w", "--write", metavar="FILE", help="Where the models.yaml of the running engines goes."
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            "--port", metavar="N", help="The first of neighbouring ports; any free ones by default."
        ),
    ] = None,
    sleep: Annotated[
        bool, typer.Option("--sleep", help="Let the engines of a device take turns on it, asleep in between.")
    ] = False,
    ready_timeout: Annotated[
        float, typer.Option("--ready-timeout", metavar="S", help="Seconds that an engine may take to start.")
    ] = 900.0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show commands, ports and memory shares; start nothing.")
    ] = False,
) -> None:
    """Start and supervise one vLLM server for each engine that a models.yaml needs; Ctrl-C stops them all."""
    from contextlib import ExitStack

    from moa.backends.upheld import open_folder
    from moa.errors import UsageError
    from moa.spec.loader import read_models
    from moa.up.engine import Patience

    if not 0 < ready_timeout < float("inf"):
        raise UsageError("--ready-timeout must be a number above 0")
    if sys.platform == "win32":
        raise UsageError("`moa up` needs Linux or macOS, as vLLM does")
    spec = read_models(models).spec
    with ExitStack() as stack:
        launches, cpu = _planned(spec, stack, python or sys.executable, port, sleep)
        if dry_run:
            _show_plan(launches)
            return
        folder, lock = open_folder()
        stack.enter_context(lock)
        written = (write or folder / "models.yaml").absolute()
        _check_writable(written, models)
        _uphold(spec, launches, folder, written, cpu, Patience(ready=ready_timeout))


def _planned(
    spec: ModelsSpec, stack: ExitStack, python: str, port: int | None, sleep: bool
) -> tuple[list[Launch], bool]:
    """What is to be started, all of it checked; and whether it runs on a CPU."""
    from moa.up.launch import plan_launches, probe
    from moa.up.ports import hold_ports
    from moa.up.shares import plan_shares
    from moa.up.wanted import wanted_engines

    engines = wanted_engines(spec.models)
    sleep = sleep or any(engine.sleep for engine in engines)
    build = probe(python)
    shares = plan_shares(engines, on_cpu=build.cpu, sleep=sleep)
    ports = hold_ports(len(engines), stack, port)
    return plan_launches(engines, ports, shares, python=python, cpu=build.cpu, sleep=sleep), build.cpu


def _show_plan(launches: list[Launch]) -> None:
    """Each engine with its address, device and share, and the command as a shell takes it."""
    for launch in launches:
        engine = launch.engine
        share = "memory as its options say" if launch.share is None else f"share {launch.share:.2f}"
        serves = ", ".join((*engine.names, *engine.adapters))
        typer.echo("\t".join((launch.name, f"{launch.root}/v1", engine.device or "-", share, serves)))
        typer.echo(f"  {launch}")


def _check_writable(path: Path, source: Path) -> None:
    """Nothing is started whose addresses could not be written, or would overwrite the user's own file."""
    from moa.errors import UsageError

    if path == source.absolute() or (path.exists() and source.exists() and path.samefile(source)):
        raise UsageError(f"--write {path} is the file that is read: choose another")
    if not path.parent.is_dir():
        raise UsageError(f"--write {path}: there is no folder {path.parent}")


def _uphold(
    spec: ModelsSpec, launches: list[Launch], folder: Path, written: Path, cpu: bool, patience: Patience
) -> None:
    """Run until Ctrl-C, SIGTERM, or until every engine has failed."""
    import asyncio

    from moa.cli.fleet import Status
    from moa.up.fleet import Fleet

    with Status(live=at_terminal()) as status:
        fleet = Fleet(spec, launches, folder, written, cpu=cpu, patience=patience, heard=status.heard)
        status.fleet = fleet
        asyncio.run(_until_told(fleet, lambda: _tell_ready(fleet)))
    if fleet.errors:
        sys.exit(1)


def _tell_ready(fleet: Fleet) -> None:
    """How to use what came up, if anything did."""
    from moa.up.engine import ANSWERING

    if any(engine.state in ANSWERING for engine in fleet.engines):
        tell(f"ready: moa run GRAPH PROMPT --models {fleet.written}")


async def _until_told(fleet: Fleet, settled: Callable[[], None]) -> None:
    """Run the fleet; the first signal stops it, the second one kills what still runs."""
    import asyncio
    import signal

    run = asyncio.ensure_future(fleet.run(settled))
    told: list[int] = []

    def hear(number: int) -> None:
        told.append(number)
        if len(told) == 1:
            tell("stopping the engines; once more to kill them")
            run.cancel()
        else:
            fleet.kill()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, hear, number)
    try:
        await run
    except asyncio.CancelledError:
        if not told:
            raise
