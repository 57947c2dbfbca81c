"""`moa serve`: ensembles behind an OpenAI-compatible address."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from moa.cli.options import ModelOption, ModelsOption, read_bindings
from moa.cli.session import (
    NoStoreOption,
    ReuseOption,
    SeedOption,
    StoreOption,
    TimeoutOption,
    note_default_model,
    open_runner,
    run_async,
    tell,
)

if TYPE_CHECKING:
    from moa.graph.bind import Bindings
    from moa.run.runner import Runner
    from moa.serve.house import Served, Settings
    from moa.serve.keys import Keys
    from moa.serve.viewer.source import Source

LOCAL = ("localhost", "127.0.0.1", "::1")


def command(
    graphs: Annotated[
        list[str], typer.Argument(metavar="GRAPH...", help="Graphs of the catalogue, or YAML files.")
    ],
    model: ModelOption = None,
    models: ModelsOption = None,
    host: Annotated[str, typer.Option("--host", metavar="HOST", help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Where to listen; 0: any.")] = 8600,
    models_too: Annotated[
        bool, typer.Option("--models-too", help="Serve the plain models behind the graphs as well.")
    ] = False,
    api_key_file: Annotated[
        Path | None,
        typer.Option("--api-key-file", metavar="FILE", help="Who may ask: one `NAME KEY` a line."),
    ] = None,
    budget_usd_per_key: Annotated[
        float | None,
        typer.Option("--budget-usd-per-key", metavar="X", help="Dollars that each key may spend."),
    ] = None,
    max_running: Annotated[
        int, typer.Option("--max-running", min=1, metavar="N", help="Questions under way at once.")
    ] = 512,
    max_queued: Annotated[
        int, typer.Option("--max-queued", min=0, metavar="N", help="Questions that may wait.")
    ] = 256,
    max_per_key: Annotated[
        int | None,
        typer.Option("--max-per-key", min=1, metavar="N", help="Questions of one key, running or waiting."),
    ] = None,
    max_body: Annotated[
        int, typer.Option("--max-body", min=1, metavar="MB", help="Megabytes of a request, at most.")
    ] = 32,
    grace: Annotated[
        float, typer.Option("--grace", min=0, metavar="S", help="Seconds to finish in when told to stop.")
    ] = 30,
    keep_alive: Annotated[
        float,
        typer.Option("--keep-alive", min=0.1, metavar="S", help="Seconds between comments in a stream."),
    ] = 5,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-host", metavar="NAME", help="Another name of this server, where no key is needed."
        ),
    ] = None,
    store: StoreOption = None,
    no_store: NoStoreOption = False,
    reuse: ReuseOption = False,
    seed: SeedOption = 0,
    timeout: TimeoutOption = None,
) -> None:
    """Serve ensembles behind an OpenAI-compatible address."""
    from moa.serve.house import Settings
    from moa.serve.menu import menu

    bindings = read_bindings(model, models)
    served = menu(graphs, bindings, models_too=models_too)
    note_default_model([each.plan for each in served], bindings)
    keys = _keys(api_key_file, budget_usd_per_key, host)
    if budget_usd_per_key is not None:
        _check_prices(served, bindings)
    names = {*LOCAL, host.lower(), *(name.lower() for name in allow_host or ())}
    settings = Settings(
        keys=keys,
        max_running=max_running,
        max_queued=max_queued,
        max_per_key=max_per_key,
        body_limit=max_body << 20,
        keep_alive=keep_alive,
        hosts=None if keys.needed else frozenset(names),
        detailed=not keys.needed,
        log=_log,
    )
    runner = open_runner(
        bindings,
        store=store,
        no_store=no_store,
        seed=seed,
        budget_usd=None,
        budget_tokens=None,
        timeout=timeout,
        reuse=reuse,
    )
    run_async(_serve(served, runner, settings, host, port, grace))


async def _serve(
    served: list[Served], runner: Runner, settings: Settings, host: str, port: int, grace: float
) -> None:
    from moa.serve.app import make_app
    from moa.serve.listen import listen, settle
    from moa.serve.viewer.site import mount

    def ready(address: str) -> None:
        settle()
        tell(f"{', '.join(each.id for each in served)}: {address}/v1; to look at: {address}/")

    async with runner:
        app = make_app(served, runner, settings)
        mount(app, _past(runner, settings))
        if not await listen(app, host, port, grace=grace, ready=ready):
            tell(f"stopped after {grace:g} s with questions under way")


def _past(runner: Runner, settings: Settings) -> list[Source]:
    """What the page shows of earlier runs: the store, unless several share it, whose words it would mix."""
    from moa.serve.viewer.sources import open_sources

    if runner.store is None or settings.keys.needed:
        return []
    return open_sources([Path(runner.store.path)])


def _keys(path: Path | None, dollars: float | None, host: str) -> Keys:
    """Who may ask; only this machine may do so without a key."""
    from moa.errors import UsageError
    from moa.run.budget import Budget
    from moa.serve.keys import Keys
    from moa.serve.listen import is_loopback

    if dollars is not None and not 0 < dollars < float("inf"):
        raise UsageError("--budget-usd-per-key must be a number above 0")
    budget = Budget(usd=dollars)
    if path is not None:
        return Keys.read(path, budget=budget)
    if not is_loopback(host):
        raise UsageError(
            f"--host {host}: others can reach this address, so it needs keys: add --api-key-file FILE"
        )
    return Keys(budget=budget)


def _check_prices(served: list[Served], bindings: Bindings) -> None:
    """A budget in dollars needs every price."""
    from moa.backends.resolve import model_spec
    from moa.errors import UsageError

    for name in dict.fromkeys(model for each in served for model in each.plan.models):
        if model_spec(name, bindings.models).known_price is None:
            raise UsageError(
                f"--budget-usd-per-key needs the price of {name!r}: give `price: {{input: ..., output: ...}}` "
                "(dollars per million tokens) in a models.yaml"
            )


def _log(line: Mapping[str, Any]) -> None:
    """The access log: a JSON object a line on standard output."""
    with suppress(OSError):  # A log that nobody reads any more is no reason to stop answering.
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
