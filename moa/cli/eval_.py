"""`moa eval`: graphs over an evaluation, judged and compared, resumable."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from moa.cli.options import ModelOption, ModelsOption, ReferenceOption, read_bindings
from moa.cli.session import (
    DollarsOption,
    NoStoreOption,
    SeedOption,
    TimeoutOption,
    TokensOption,
    at_terminal,
    check_fits,
    note_default_model,
    open_runner,
    run_async,
    tell,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moa.evaluate.entrants import Contender
    from moa.evaluate.experiment import Trials
    from moa.evaluate.folder import Folder
    from moa.evaluate.recordings import Recordings
    from moa.evaluate.study import Study
    from moa.graph.bind import Bindings
    from moa.run.runner import Runner
    from moa.spec.model import ModelSpec


def command(
    evaluation: Annotated[
        str, typer.Argument(metavar="EVAL", help="An evaluation of the catalogue, or a path to a YAML file.")
    ],
    graphs: Annotated[
        list[str],
        typer.Argument(metavar="GRAPH...", help="Graphs of the catalogue, or paths to YAML files."),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", metavar="DIR", help="The experiment's folder; an existing one is resumed."
        ),
    ],
    model: ModelOption = None,
    models: ModelsOption = None,
    judge: Annotated[
        str | None, typer.Option("--judge", metavar="MODEL", help="Who judges, instead of the slot `judge`.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", metavar="FILE", help="Your own JSONL, JSON, CSV or Parquet as the data."),
    ] = None,
    replay: Annotated[
        Path | None,
        typer.Option(
            "--replay",
            metavar="DIR",
            help="Recorded outputs as models, by their names, with recorded preferences as the judge.",
        ),
    ] = None,
    reference: ReferenceOption = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", metavar="N", min=1, help="A sample of N items, part of every larger one."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NODE.FIELD=V,V",
            help="An entrant for each value (repeatable: every combination); SLOT=MODEL,MODEL sweeps models.",
        ),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            "--baseline", metavar="NAME", help="Whom the others are compared with (default: single)."
        ),
    ] = None,
    in_flight: Annotated[
        int, typer.Option("--in-flight", metavar="N", min=1, help="Items under way at once.")
    ] = 64,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Ask again what failed before.")
    ] = False,
    fork: Annotated[
        bool, typer.Option("--fork", help="Where something changed, go on in a new folder beside DIR.")
    ] = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="Show calls, tokens and money of it all, and ask nobody.")
    ] = False,
    no_report: Annotated[bool, typer.Option("--no-report", help="Write no HTML report.")] = False,
    store: Annotated[
        Path | None,
        typer.Option("--store", metavar="PATH", help="Where answers are kept (default: DIR/store.sqlite)."),
    ] = None,
    no_store: NoStoreOption = False,
    seed: SeedOption = 0,
    budget_usd: DollarsOption = None,
    budget_tokens: TokensOption = None,
    timeout: TimeoutOption = None,
) -> None:
    """Ask graphs the questions of an evaluation, judge the answers, and show who is better.

    The same command again goes on where it stopped. More graphs and a larger --limit add to what is there.
    """
    from moa.cli.compare_ import check_extra

    check_extra()
    from moa.evaluate.difficulty import keep_reference
    from moa.evaluate.opening import STORE, opened
    from moa.evaluate.study import study

    bindings = read_bindings(model, models)
    if replay is not None:
        recorded = _recorded(replay, evaluation)
        bindings = bindings.knowing(recorded.models)
        data, reference = data or recorded.data, reference or recorded.reference
        judge = judge or (recorded.judge if "judge" not in bindings.slots else None)
    planned = study(
        evaluation,
        graphs,
        bindings,
        out=out,
        judge=judge,
        data=data,
        limit=limit,
        settings=settings or (),
        baseline=baseline,
        seed=seed,
        reference=reference,
    )
    _check_before_asking(planned.contenders, bindings)
    if plan:
        from moa.cli.forecast import show

        return show(planned.forecast(bindings))
    bindings = bindings.knowing(_repeatable(planned.contenders, bindings, judge))
    with opened(out, planned.design, planned.items, fork=fork) as folder:
        if planned.reference is not None:
            keep_reference(folder, planned.reference)
        if folder.path != out:
            tell(f"note: something changed, so this goes on in {folder.path}")
        runner = open_runner(
            bindings,
            store=store if store or no_store else folder.path / STORE,
            no_store=no_store,
            seed=seed,
            budget_usd=budget_usd,
            budget_tokens=budget_tokens,
            timeout=timeout,
        )
        trials = planned.trials(runner, folder, in_flight=in_flight, retry=retry_failed)
        run_async(_run(runner, trials, _total(folder, planned)))
    return _conclude(folder, no_report=no_report)


def _recorded(folder: Path, evaluation: str) -> Recordings:
    """What a folder of recordings holds; without its judge where the evaluation asks none."""
    from dataclasses import replace

    from moa.evaluate.recordings import read_recordings
    from moa.spec.catalogue import load_eval

    found = read_recordings(folder)
    return found if load_eval(evaluation).spec.judge is not None else replace(found, judge=None)


def _repeatable(
    contenders: Sequence[Contender], bindings: Bindings, judge: str | None
) -> dict[str, ModelSpec]:
    """The embedded models that may be asked, told to answer the same request alike whatever else is under way."""
    from moa.backends.resolve import model_spec
    from moa.graph.bind import DEFAULT_MODEL

    names = {DEFAULT_MODEL, *(model for contender in contenders for model in contender.plan.models)}
    for bound in (judge, *bindings.slots.values()):
        names |= {bound} if isinstance(bound, str) else {*(bound or ())}
    specs = [model_spec(name) for name in names if name.startswith("local:") and name not in bindings.models]
    return {spec.name: spec.model_copy(update={"options": {"repeatable": True}}) for spec in specs}


def _check_before_asking(contenders: Sequence[Contender], bindings: Bindings) -> None:
    note_default_model([contender.plan for contender in contenders], bindings)
    for contender in contenders:
        check_fits(contender.plan, bindings)


def _total(folder: Folder, planned: Study) -> int:
    return folder.experiment.items * len(planned.contenders)


async def _run(runner: Runner, trials: Trials, total: int) -> None:
    from moa.cli.meter import Meter

    async with runner:
        with Meter(total, live=at_terminal()) as meter:
            trials.report = meter
            try:
                await trials.run()
            finally:
                meter.close(trials.progress)


def _conclude(folder: Folder, *, no_report: bool) -> None:
    """Show the leaderboard, write the report, and say what failed."""
    from moa.cli.compare_ import leaderboard, show

    found = leaderboard([folder])
    show(found)
    if not no_report:
        from moa.evaluate.report.page import write_report

        tell(f"report: {write_report(folder.path, known=found).page}")
    answers = sum(row.counts.failed for row in found.rows)
    verdicts = sum(row.counts.unjudged for row in found.rows)
    if answers or verdicts:
        tell(f"{answers} answers and {verdicts} verdicts failed: --retry-failed asks again")
        raise typer.Exit(1)
