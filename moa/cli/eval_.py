"""`moa eval`: graphs over an evaluation, judged and compared, resumable."""

from __future__ import annotations

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


def command(
    evaluation: EvaluationArgument,
    graphs: GraphsArgument,
    out: OutOption,
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
    no_report: NoReportOption = False,
    store: AnswersOption = None,
    no_store: NoStoreOption = False,
    seed: SeedOption = 0,
    budget_usd: DollarsOption = None,
    budget_tokens: TokensOption = None,
    timeout: TimeoutOption = None,
) -> None:
    """Ask graphs the questions of an evaluation, judge the answers, and show who is better.

    The same command again goes on where it stopped. More graphs and a larger --limit add to what is there.
    """
    from moa.cli.compare_ import check_extra, leaderboard, show

    check_extra()
    from moa.evaluate.study import study

    sources = read_sources(evaluation, model, models, judge, data, replay, reference)
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
    )
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
    show(found)
    return conclude(folder, found, no_report=no_report)
