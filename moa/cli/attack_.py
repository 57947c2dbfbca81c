"""`moa attack`: what deceivers do to a graph, and what brings it back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from moa.cli.experiment import (
    AnswersOption,
    BaselineOption,
    Conduct,
    DataOption,
    EvaluationArgument,
    ForkOption,
    GraphsArgument,
    InFlightOption,
    JudgeOption,
    LimitOption,
    NoReportOption,
    OutOption,
    PlanOption,
    ReplayOption,
    RetryOption,
    SetOption,
    carry_out,
    check_before_asking,
    conclude,
    read_sources,
)
from moa.cli.options import ModelOption, ModelsOption, ReferenceOption
from moa.cli.session import (
    ByModelOption,
    DollarsOption,
    NoStoreOption,
    SeedOption,
    TimeoutOption,
    TokensOption,
)

if TYPE_CHECKING:
    from moa.evaluate.deception.grid import Breakdown
    from moa.evaluate.standings import Board


def command(
    evaluation: EvaluationArgument,
    graphs: GraphsArgument,
    out: OutOption,
    deceive: Annotated[
        list[str] | None,
        typer.Option(
            "--deceive",
            metavar="ATTACK",
            help="Who deceives: 000_003, refined[2]=opposer, sample:1:promoter, a YAML file (repeatable).",
        ),
    ] = None,
    defend: Annotated[
        list[str] | None,
        typer.Option(
            "--defend",
            metavar="DEFENCE,...",
            help="Defences beside none, such as cluster-filter or dropout-vote: see `moa list defences`.",
        ),
    ] = None,
    breakdown: Annotated[
        bool, typer.Option("--breakdown", help="No deceiver, one, two, ... up to the whole last layer.")
    ] = False,
    role: Annotated[
        str | None,
        typer.Option(
            "--role",
            metavar="ROLE",
            help="Who they are in a breakdown (default: opposer where questions have options, else deceiver).",
        ),
    ] = None,
    order: Annotated[
        str | None,
        typer.Option("--order", metavar="NODE,...", help="Who turns first in a breakdown (default: by lot)."),
    ] = None,
    model: ModelOption = None,
    models: ModelsOption = None,
    judge: JudgeOption = None,
    data: DataOption = None,
    replay: ReplayOption = None,
    reference: ReferenceOption = None,
    limit: LimitOption = None,
    settings: SetOption = None,
    baseline: BaselineOption = None,
    in_flight: InFlightOption = None,
    by_model: ByModelOption = False,
    retry_failed: RetryOption = False,
    fork: ForkOption = False,
    plan: PlanOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object with everything.")] = False,
    no_report: NoReportOption = False,
    store: AnswersOption = None,
    no_store: NoStoreOption = False,
    seed: SeedOption = 0,
    budget_usd: DollarsOption = None,
    budget_tokens: TokensOption = None,
    timeout: TimeoutOption = None,
) -> None:
    """Put deceivers into graphs, defend them, and show what each attack does and each defence brings back.

    Every attack meets every defence; the graph without either is always among them. It is an evaluation like
    that of `moa eval`: the same command again goes on where it stopped, and more may be added to what is there.
    """
    from moa.cli.compare_ import check_extra, leaderboard

    check_extra()
    from moa.evaluate.deception.grid import check_given, grid
    from moa.evaluate.study import study
    from moa.spec.catalogue import load_eval

    sources = read_sources(evaluation, model, models, judge, data, replay, reference)
    alter = grid(
        load_eval(evaluation).spec, deceive or (), defend or (), _breakdown(breakdown, role, order), seed
    )
    planned = study(
        evaluation,
        graphs,
        sources.bindings,
        out=out,
        judge=sources.judge,
        data=sources.data,
        limit=limit,
        settings=settings or (),
        baseline=baseline,
        seed=seed,
        reference=sources.reference,
        alter=alter,
    )
    for contender in planned.contenders:
        check_given(planned.spec, contender.plan, contender.name)
    check_before_asking(planned.contenders, sources.bindings)
    if plan:
        from moa.cli.forecast import show as show_forecast

        return show_forecast(planned.forecast(sources.bindings))
    conduct = Conduct(
        out,
        fork,
        retry_failed,
        in_flight,
        by_model,
        store,
        no_store,
        seed,
        budget_usd,
        budget_tokens,
        timeout,
    )
    folder = carry_out(planned, sources, conduct)
    found = leaderboard([folder])
    _show(found, as_json=as_json)
    return conclude(folder, found, no_report=no_report)


def _show(found: Board, *, as_json: bool) -> None:
    import json

    from moa.cli.matrix import matrices_json, show_matrices

    if as_json:
        typer.echo(json.dumps(matrices_json(found), indent=2, ensure_ascii=False))
    else:
        show_matrices(found)


def _breakdown(wanted: bool, role: str | None, order: str | None) -> Breakdown | None:
    from moa.errors import UsageError
    from moa.evaluate.deception.grid import Breakdown

    if not wanted:
        for option, value in (("--role", role), ("--order", order)):
            if value is not None:
                raise UsageError(f"{option} {value}: belongs to --breakdown")
        return None
    nodes = tuple(node.strip() for node in (order or "").split(",") if node.strip())
    return Breakdown(role, nodes)
