"""From what a user asks for to what is run: evaluation, entrants, judge and baseline, checked before any call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from moa.backends.resolve import model_spec
from moa.errors import SpecError, UsageError
from moa.evaluate.baseline import check_opponents, choose_baseline, is_recorded
from moa.evaluate.entrants import Alter, Contender, contenders
from moa.evaluate.experiment import IN_FLIGHT, Trials
from moa.evaluate.fingerprint import rests_on
from moa.evaluate.folder import Folder
from moa.evaluate.forecast import Forecast, forecast
from moa.evaluate.judges import Judge, open_judge
from moa.evaluate.judges.recorded import RecordedJudge, recorded_path
from moa.evaluate.judges.recorded import is_recorded as is_recorded_judge
from moa.evaluate.judging import EXACT, Referee
from moa.evaluate.opening import Design
from moa.evaluate.records import Experiment, Item
from moa.evaluate.reference import GAMED, read_reference
from moa.evaluate.tasks import load_items, with_data, without_baseline
from moa.graph.bind import Bindings
from moa.run.runner import IN_FLIGHT_BY_MODEL, Runner
from moa.spec.catalogue import load_eval
from moa.spec.evaluation import EvalSpec


@dataclass(frozen=True, slots=True)
class Study:
    """An experiment that is about to be run."""

    design: Design
    near: Path | None
    """The folder from which the evaluation's paths are meant."""
    judge_model: str | None
    compared: bool = False
    """Whether the judge needs the baseline's answers."""
    reference: Path | None = None
    """A folder with AlpacaEval's instruction difficulties."""

    @property
    def spec(self) -> EvalSpec:
        """The evaluation."""
        return self.design.spec

    @property
    def contenders(self) -> Sequence[Contender]:
        """The entrants of this run."""
        return self.design.contenders

    def items(self) -> Iterator[Item]:
        """What is asked, read anew."""
        return load_items(self.spec, self.near, limit=self.design.limit, seed=self.design.seed)

    def trials(
        self, runner: Runner, folder: Folder, *, in_flight: int | None = None, retry: bool = False
    ) -> Trials:
        """The run of this study in an opened folder."""
        return Trials(
            runner,
            folder,
            self.contenders,
            Referee(self.spec.answer, self._judge(runner), self.compared),
            self.design.baseline,
            is_recorded(self.spec, self.design.baseline),
            in_flight or (IN_FLIGHT_BY_MODEL if runner.by_model else IN_FLIGHT),
            retry,
        )

    def forecast(self, bindings: Bindings) -> Forecast:
        """What it will cost, with nobody asked."""
        judge = self._judge(Runner(models=bindings.models))
        names = bindings.models
        return forecast(
            self.items(), self.contenders, judge, self.design.baseline, lambda name: model_spec(name, names)
        )

    def _judge(self, runner: Runner) -> Judge | None:
        return _open(self.spec, runner, self.judge_model, self.design.seed, self.near)


def study(
    evaluation: str,
    graphs: Sequence[str],
    bindings: Bindings,
    *,
    out: Path,
    judge: str | None = None,
    data: Path | None = None,
    limit: int | None = None,
    settings: Sequence[str] = (),
    baseline: str | None = None,
    seed: int = 0,
    reference: Path | None = None,
    alter: Alter | None = None,
) -> Study:
    """What is to be run, checked as far as it can be without asking anybody.

    `alter` makes several entrants of each graph, as attacks and defences do. Raises `SpecError` and `UsageError` with one line for everything that a user can get wrong.
    """
    located = load_eval(evaluation)
    spec = located.spec if data is None else with_data(located.spec, data)
    model = _judge_model(spec, judge, bindings)
    preferences = recorded_path(model, located.folder) if model and is_recorded_judge(model) else None
    found = contenders(
        graphs, bindings, settings, preferences=preferences, alter=alter, protocol=spec.protocol
    )
    # Opened only for its fingerprint: the runner that asks has a store, which lies in a folder still to be chosen.
    judging = _open(spec, Runner(models=bindings.models), model, seed, located.folder)
    own = _recorded_baseline(spec, judging) if baseline is None else None
    compared = judging is not None and own is None and (judging.needs_baseline or preferences is not None)
    chosen = own or _baseline(spec, found, baseline, _before(out), compared=compared)
    parts = rests_on(
        spec.name,
        answer=spec.answer,
        judge=judging.name if judging else None,
        judge_fingerprint=judging.fingerprint if judging else None,
        baseline=chosen if compared or own else None,
        seed=seed,
    )
    if own is not None or not is_recorded(spec, chosen):
        spec = without_baseline(spec)
    design = Design(spec, found, chosen, judging.name if judging else EXACT, parts, seed, limit)
    return Study(design, located.folder, model, compared, _reference(reference, preferences))


def _reference(given: Path | None, preferences: Path | None) -> Path | None:
    """The folder with difficulties that was named, or that of recorded preferences where they lie beside them."""
    if given is not None:
        read_reference(given)  # a wrong one is refused before anybody is asked
        return given
    beside = preferences.parent if preferences is not None else None
    return beside if beside is not None and (beside / GAMED).is_file() else None


def _recorded_baseline(spec: EvalSpec, judge: Judge | None) -> str | None:
    """Whom recorded preferences compare with; None for any other judge. No output of it is needed."""
    if not isinstance(judge, RecordedJudge):
        return None
    return judge.baseline or (spec.baseline.name if spec.baseline else "the recorded baseline")


def _before(out: Path) -> Experiment | None:
    folder = Folder(out)
    return folder.experiment if folder.experiment_path.exists() else None


def _baseline(
    spec: EvalSpec,
    found: Sequence[Contender],
    wanted: str | None,
    before: Experiment | None,
    *,
    compared: bool,
) -> str | None:
    entrants = [*(before.entrants if before else ()), *(contender.entrant for contender in found)]
    if not compared and wanted is None:
        return before.baseline if before else None
    chosen = choose_baseline(spec, entrants, wanted=wanted, before=before.baseline if before else None)
    if compared:
        check_opponents(spec, chosen, entrants)
    return chosen


def _judge_model(spec: EvalSpec, judge: str | None, bindings: Bindings) -> str | None:
    """The model that judges; a graph of judges may name its own."""
    if spec.judge is None:
        if judge is not None:
            raise UsageError(
                f"--judge {judge}: {spec.name} compares answers with the right ones and asks no judge"
            )
        return None
    try:
        return judge or bindings.model_of(spec.judge.model)
    except SpecError:
        raise UsageError("nobody judges: add --judge MODEL (or -m judge=MODEL)") from None


def _open(spec: EvalSpec, runner: Runner, model: str | None, seed: int, near: Path | None) -> Judge | None:
    if spec.judge is None:
        return None
    return open_judge(spec.judge, runner, model=model, seed=seed, near=near)
