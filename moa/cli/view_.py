"""`moa view`: finished runs in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from moa.cli.session import run_async, tell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moa.serve.viewer.source import Source


def command(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="DIR or STORE",
            help="Folders of experiments and stores (default: $MOA_STORE, or the usual place).",
        ),
    ] = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Where to listen; 0: any.")] = 8601,
) -> None:
    """Look at finished runs in a browser: what every node was asked and said, and two runs side by side.

    Nothing is asked of any model and nothing is written. Only this machine can reach the page.
    """
    from moa.run.store import Store
    from moa.serve.viewer.sources import open_sources

    run_async(_view(open_sources(paths or [Store.default_path()]), port))


async def _view(sources: Sequence[Source], port: int) -> None:
    from moa.serve.listen import listen
    from moa.serve.viewer.alone import make_viewer

    def ready(address: str) -> None:
        tell(f"{', '.join(source.name for source in sources)}: {address}/")

    await listen(make_viewer(sources), "127.0.0.1", port, grace=0, ready=ready)
