"""`moa batch`: many questions, resumable, into a file that AlpacaEval reads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from moa.cli.options import GraphArgument, ModelOption, ModelsOption, read_bindings
from moa.cli.session import (
    ByModelOption,
    DollarsOption,
    NoStoreOption,
    SeedOption,
    StoreOption,
    TimeoutOption,
    TokensOption,
    at_terminal,
    check_before_asking,
    compile_from,
    open_runner,
    run_async,
    tell,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moa.run.batch import Batch, Progress
    from moa.run.output import Output
    from moa.run.records import Entry


def command(
    graph: GraphArgument,
    source: Annotated[
        Path,
        typer.Argument(
            metavar="INPUT",
            help="JSONL, JSON, CSV or Parquet with `instruction`, `prompt` or `messages`; - for JSONL on stdin.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="JSONL, or a JSON list if it ends in .json; an existing one is resumed.",
        ),
    ],
    model: ModelOption = None,
    models: ModelsOption = None,
    generator: Annotated[
        str | None, typer.Option("--generator", metavar="NAME", help="Who AlpacaEval should say answered.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", min=1, help="Only the first N questions.")
    ] = None,
    in_flight: Annotated[
        int | None,
        typer.Option(
            "--in-flight",
            metavar="N",
            min=1,
            help="Questions under way at once (default: 256, with --by-model 4096).",
        ),
    ] = None,
    by_model: ByModelOption = False,
    fresh: Annotated[
        bool, typer.Option("--no-reuse", help="Ask anew even where the store has the answer.")
    ] = False,
    store: StoreOption = None,
    no_store: NoStoreOption = False,
    seed: SeedOption = 0,
    budget_usd: DollarsOption = None,
    budget_tokens: TokensOption = None,
    timeout: TimeoutOption = None,
) -> None:
    """Answer every question of a file; the same command again resumes."""
    from moa.run.batch import Batch
    from moa.run.output import Output
    from moa.run.records import count_records, read_records

    bindings = read_bindings(model, models)
    plan = compile_from(graph, bindings)
    check_before_asking(plan, bindings)
    _check_files(source, out)
    total = count_records(source, limit)
    with Output(out, f"{plan.fingerprint[:16]}-{seed}") as output:
        runner = open_runner(
            bindings,
            store=store,
            no_store=no_store,
            seed=seed,
            budget_usd=budget_usd,
            budget_tokens=budget_tokens,
            timeout=timeout,
            reuse=not fresh,
            by_model=by_model,
        )
        batch = Batch(runner, plan, output, generator or plan.name, in_flight)
        progress = run_async(_answer(batch, read_records(source, limit), total))
    _conclude(progress, output)


def _check_files(source: Path, out: Path) -> None:
    """Refuse to read questions from a file that this batch is going to write."""
    from moa.errors import UsageError
    from moa.run.batch import Failures

    if source.exists() and out.exists() and source.samefile(out):
        raise UsageError(f"--out {out} is the INPUT itself; choose another file")
    failures = Failures.path_of(out)
    if source.exists() and failures.exists() and source.samefile(failures):
        raise UsageError(
            f"{source} lists what failed for --out {out}: run the same command as before, which retries it"
        )


async def _answer(batch: Batch, entries: Iterator[Entry], total: int | None) -> Progress:
    from moa.cli.meter import Meter

    async with batch.runner:
        with Meter(total, live=at_terminal()) as meter:
            batch.report = meter
            try:
                return await batch.run(entries)
            finally:
                meter.close(batch.progress)


def _conclude(progress: Progress, output: Output) -> None:
    if progress.failed:
        from moa.run.batch import Failures

        tell(
            f"{progress.failed} failed: see {Failures.path_of(output.path)}; the same command again retries them"
        )
        raise typer.Exit(1)
