"""From a specification to a judge."""

from __future__ import annotations

from pathlib import Path

from moa.errors import UsageError
from moa.evaluate.judges.base import Judge
from moa.evaluate.judges.checklist import ChecklistJudge
from moa.evaluate.judges.pairwise import PairwiseJudge
from moa.evaluate.judges.panel import open_panel
from moa.evaluate.judges.recorded import is_recorded, open_recorded
from moa.evaluate.judges.scoring import ScoreJudge
from moa.run.runner import Runner
from moa.spec.evaluation import JudgeSpec

_AGENTS = {"pairwise": "judge-pairwise", "score": "judge-score", "checklist": "checklist-answerer"}


def open_judge(
    spec: JudgeSpec, runner: Runner, *, model: str | None = None, seed: int = 0, near: Path | None = None
) -> Judge:
    """The judge that `spec` describes; nothing is asked before the first verdict.

    Args:
        spec: Who judges, and how.
        runner: Asks the models; it stays open as long as the judge is used.
        model: Judges in the place of the specification's `model`: any model's name, or `recorded:FILE`.
        seed: For labels and fences.
        near: The folder that relative paths mean.

    Raises:
        UsageError: for a judge that cannot be; one line that says what to do.
        SpecError: for mistakes in its agent or graph.
    """
    chosen = model or spec.model
    if is_recorded(chosen):
        if spec.kind != "pairwise":
            raise UsageError(
                f"{chosen}: recorded preferences are of pairs; this evaluation wants a {spec.kind}"
            )
        return open_recorded(chosen, near)
    agent = spec.agent or _AGENTS[spec.kind]
    if spec.kind == "pairwise":
        panel = open_panel(spec, agent, runner, "preference", model=model, near=near)
        return PairwiseJudge(panel, order=spec.order, labels=spec.labels, seed=seed)
    if spec.kind == "score":
        panel = open_panel(spec, agent, runner, "score", model=model, near=near)
        return ScoreJudge(panel, scale=spec.scale, seed=seed)
    panel = open_panel(spec, agent, runner, "preference", model=model, near=near)
    alone = spec.model_copy(update={"graph": None, "samples": 1})
    writer = open_panel(alone, spec.writer, runner, "text", model=model, near=near)
    return ChecklistJudge(panel, writer, seed=seed)
