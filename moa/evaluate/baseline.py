"""Which answers the others are compared with: recorded outputs, or one of the entrants."""

from __future__ import annotations

from collections.abc import Sequence

from moa.errors import UsageError
from moa.evaluate.records import Entrant
from moa.spec.evaluation import EvalSpec
from moa.spec.words import nearest

USUAL = "single"
"""The graph that every ensemble has to beat."""


def choose_baseline(
    spec: EvalSpec, entrants: Sequence[Entrant], *, wanted: str | None, before: str | None
) -> str:
    """The baseline's name: the wanted one, that of the runs before, the recorded one, `single`, or the first entrant.

    `entrants` are those of this run and of the runs before. Raises `UsageError` for one that is not there.
    """
    names = [entrant.name for entrant in entrants]
    recorded = [spec.baseline.name] if spec.baseline else []
    if wanted is not None and wanted not in (*recorded, *names):
        meant = nearest(wanted, (*recorded, *names))
        hint = f"did you mean `{meant}`?" if meant else f"there are: {', '.join((*recorded, *names))}"
        raise UsageError(f"--baseline {wanted}: nobody of that name takes part; {hint}")
    usual = [entrant.name for entrant in entrants if entrant.graph == USUAL]
    return next(name for name in (wanted, before, *recorded, *usual, *names) if name is not None)


def is_recorded(spec: EvalSpec, baseline: str | None) -> bool:
    """Whether the baseline's outputs come with the items."""
    return spec.baseline is not None and spec.baseline.name == baseline


def check_opponents(spec: EvalSpec, baseline: str, entrants: Sequence[Entrant]) -> None:
    """Refuse a comparison of one entrant with itself."""
    if not is_recorded(spec, baseline) and all(entrant.name == baseline for entrant in entrants):
        raise UsageError(
            f"the judge compares answers in pairs and {baseline} is alone: name another graph, such as `single`"
        )
