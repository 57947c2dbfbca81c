"""What `eval` and `attack` share: the options of an experiment, what is asked for with them, and how it is run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from moa.cli.options import read_bindings
from moa.cli.session import at_terminal, check_fits, note_default_model, open_runner, run_async, tell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import JsonValue

    from moa.evaluate.entrants import Contender
    from moa.evaluate.experiment import Trials
    from moa.evaluate.folder import Folder
    from moa.evaluate.recordings import Recordings
    from moa.evaluate.standings import Board
    from moa.evaluate.study import Study
    from moa.graph.bind import Bindings
    from moa.run.runner import Runner
    from moa.spec.model import ModelSpec

EvaluationArgument = Annotated[
    str, typer.Argument(metavar="EVAL", help="An evaluation of the catalogue, or a path to a YAML file.")
]
GraphsArgument = Annotated[
    list[str],
    typer.Argument(metavar="GRAPH...", help="Graphs of the catalogue, or paths to YAML files."),
]
OutOption = Annotated[
    Path,
    typer.Option("--out", "-o", metavar="DIR", help="The experiment's folder; an existing one is resumed."),
]
JudgeOption = Annotated[
    str | None, typer.Option("--judge", metavar="MODEL", help="Who judges, instead of the slot `judge`.")
]
DataOption = Annotated[
    Path | None,
    typer.Option("--data", metavar="FILE", help="Your own JSONL, JSON, CSV or Parquet as the data."),
]
ReplayOption = Annotated[
    Path | None,
    typer.Option(
        "--replay",
        metavar="DIR",
        help="Recorded outputs as models, by their names, with recorded preferences as the judge.",
    ),
]
LimitOption = Annotated[
    int | None,
    typer.Option("--limit", metavar="N", min=1, help="A sample of N items, part of every larger one."),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NODE.FIELD=V,V",
        help="An entrant for each value (repeatable: every combination); SLOT=MODEL,MODEL sweeps models.",
    ),
]
BaselineOption = Annotated[
    str | None,
    typer.Option("--baseline", metavar="NAME", help="Whom the others are compared with (default: single)."),
]
InFlightOption = Annotated[
    int | None,
    typer.Option(
        "--in-flight", metavar="N", min=1, help="Items under way at once (default: 64, with --by-model 4096)."
    ),
]
RetryOption = Annotated[bool, typer.Option("--retry-failed", help="Ask again what failed before.")]
ForkOption = Annotated[
    bool, typer.Option("--fork", help="Where something changed, go on in a new folder beside DIR.")
]
PlanOption = Annotated[
    bool, typer.Option("--plan", help="Show calls, tokens and money of it all, and ask nobody.")
]
NoReportOption = Annotated[bool, typer.Option("--no-report", help="Write no HTML report.")]
AnswersOption = Annotated[
    Path | None,
    typer.Option("--store", metavar="PATH", help="Where answers are kept (default: DIR/store.sqlite)."),
]


@dataclass(frozen=True, slots=True)
class Sources:
    """Who answers and who judges what, with everything that recordings bring along."""

    bindings: Bindings
    judge: str | None
    data: Path | None
    reference: Path | None


@dataclass(frozen=True, slots=True)
class Conduct:
    """How an experiment is run: where, how much at once, and what it may spend."""

    out: Path
    fork: bool
    retry_failed: bool
    in_flight: int | None
    by_model: bool
    store: Path | None
    no_store: bool
    seed: int
    budget_usd: float | None
    budget_tokens: int | None
    timeout: float | None


def read_sources(
    evaluation: str,
    model: list[str] | None,
    models: Path | None,
    judge: str | None,
    data: Path | None,
    replay: Path | None,
    reference: Path | None,
) -> Sources:
    """What the options name, recordings filled in where nothing else was said."""
    bindings = read_bindings(model, models)
    if replay is None:
        return Sources(bindings, judge, data, reference)
    recorded = _recorded(replay, evaluation)
    bindings = bindings.knowing(recorded.models)
    chosen = judge or (recorded.judge if "judge" not in bindings.slots else None)
    return Sources(bindings, chosen, data or recorded.data, reference or recorded.reference)


def check_before_asking(contenders: Sequence[Contender], bindings: Bindings) -> None:
    """Refuse before any call what cannot work: models that nobody knows, prompts that can never fit."""
    note_default_model([contender.plan for contender in contenders], bindings)
    for contender in contenders:
        check_fits(contender.plan, bindings)


def carry_out(planned: Study, sources: Sources, conduct: Conduct) -> Folder:
    """Ask and judge what the folder does not have yet; the folder, which another one may be with `--fork`."""
    from moa.evaluate.difficulty import keep_reference
    from moa.evaluate.opening import STORE, opened

    with opened(conduct.out, planned.design, planned.items, fork=conduct.fork) as folder:
        bindings = sources.bindings.knowing(_suited(planned, sources, folder))
        if planned.reference is not None:
            keep_reference(folder, planned.reference)
        if folder.path != conduct.out:
            tell(f"note: something changed, so this goes on in {folder.path}")
        keeping = conduct.store or conduct.no_store
        runner = open_runner(
            bindings,
            store=conduct.store if keeping else folder.path / STORE,
            no_store=conduct.no_store,
            seed=conduct.seed,
            budget_usd=conduct.budget_usd,
            budget_tokens=conduct.budget_tokens,
            timeout=conduct.timeout,
            by_model=conduct.by_model,
        )
        trials = planned.trials(runner, folder, in_flight=conduct.in_flight, retry=conduct.retry_failed)
        run_async(_run(runner, trials, folder.experiment.items * len(planned.contenders)))
    return folder


def _recorded(folder: Path, evaluation: str) -> Recordings:
    """What a folder of recordings holds; without its judge where the evaluation asks none."""
    from dataclasses import replace

    from moa.evaluate.recordings import read_recordings
    from moa.spec.catalogue import load_eval

    found = read_recordings(folder)
    return found if load_eval(evaluation).spec.judge is not None else replace(found, judge=None)


def _suited(planned: Study, sources: Sources, folder: Folder) -> dict[str, ModelSpec]:
    """Models that may be asked, told what an experiment needs of them, where no models.yaml speaks of them.

    An embedded one answers the same request alike whatever else is under way. A simulated one knows the right
    answers, where the evaluation has them.
    """
    from moa.backends.resolve import model_spec
    from moa.graph.bind import DEFAULT_MODEL

    known = sources.bindings
    names = {DEFAULT_MODEL, *(model for contender in planned.contenders for model in contender.plan.models)}
    for bound in (sources.judge, *known.slots.values()):
        names |= {bound} if isinstance(bound, str) else {*(bound or ())}
    truth = {"truth": str(folder.items_path)} if planned.spec.answer is not None else {}
    wanted: dict[str, dict[str, JsonValue]] = {"local": {"repeatable": True}, "sim": {**truth}}
    specs = [model_spec(name) for name in names - known.models.keys() if name.partition(":")[0] in wanted]
    return {
        spec.name: spec.model_copy(update={"options": {**wanted[spec.provider or ""], **spec.options}})
        for spec in specs
    }


async def _run(runner: Runner, trials: Trials, total: int) -> None:
    from moa.cli.meter import Meter

    async with runner:
        with Meter(total, live=at_terminal()) as meter:
            trials.report = meter
            try:
                await trials.run()
            finally:
                meter.close(trials.progress)


def conclude(folder: Folder, found: Board, *, no_report: bool) -> None:
    """Write the report, and leave with exit code 1 where something failed."""
    if not no_report:
        from moa.evaluate.report.page import write_report

        tell(f"report: {write_report(folder.path, known=found).page}")
    answers = sum(row.counts.failed for row in found.rows)
    verdicts = sum(row.counts.unjudged for row in found.rows)
    if answers or verdicts:
        tell(f"{answers} answers and {verdicts} verdicts failed: --retry-failed asks again")
        raise typer.Exit(1)
