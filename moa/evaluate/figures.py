"""The numbers of one entrant: from columns of verdicts to estimates with error bars."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from moa.evaluate.numbers.bootstrap import bootstrap_interval
from moa.evaluate.numbers.intervals import Estimate, Floats, bounded_mean, mean
from moa.evaluate.numbers.length_control import NO_GAMED_ROWS, Fit, GamedRows, Resampled, length_controlled
from moa.evaluate.numbers.rewards import WILDBENCH, wildbench_score, without_long_winners
from moa.evaluate.sheet import Sheet
from moa.evaluate.standings import Figure

LABELS = {
    "win-rate": "win rate",
    "length-controlled": "LC win rate",
    "discrete-win-rate": "discrete win rate",
    "style-controlled": "style-controlled win rate",
    "wb-reward": "WB-Reward",
    "wb-score": "WB-Score",
    "mean-score": "score",
    "pass-rate": "pass rate",
    "accuracy": "accuracy",
    "parse-rate": "parse rate",
    "bradley-terry": "Bradley-Terry",
    "elo": "Elo",
}
"""What people call the figures."""
OF_KIND = {
    "preference": ("win-rate", "length-controlled", "discrete-win-rate"),
    "score": ("mean-score",),
    "checklist": ("pass-rate",),
    "correct": ("accuracy", "parse-rate"),
}
"""Figures that verdicts of a kind always have."""
ON_DEMAND = {"preference": ("style-controlled", "wb-reward"), "score": ("wb-score",)}
"""Figures that they have where the evaluation asks for them."""


MOST_DRAWN = 8_000_000
"""Items that all replicates of an interval draw together, about."""
FEWEST = 50


@dataclass(frozen=True, slots=True)
class LengthModel:
    """What length control rests on besides the verdicts: (n,) of each, and the baseline's gamed outputs."""

    baseline_lengths: Floats
    difficulty: Floats
    gamed: GamedRows = NO_GAMED_ROWS
    note: str = "newton fit, no difficulties"
    fit: Fit = "newton"
    """Which fit the value is of; intervals are always the Newton fit's."""
    order: npt.NDArray[np.int64] | None = None
    """The items in the order of AlpacaEval's list, on which its folds depend; None: as they are."""


class Sizes(NamedTuple):
    """How much is drawn to find an interval."""

    bootstrap: int
    seed: int

    def of(self, n: int) -> Sizes:
        """For so many items: with very many of them fewer replicates, which differ less and take longer."""
        return self._replace(bootstrap=min(self.bootstrap, max(FEWEST, MOST_DRAWN // max(1, n))))


class LengthControl(NamedTuple):
    """A length-controlled win rate in percent, why it may be doubted, and how to compute it for drawn rows."""

    estimate: Estimate
    extrapolates: str | None
    resampled: Resampled
    rows: Floats
    """Which of the items it rests on, as 1 and 0."""


def names_of(asked: Sequence[str], kinds: Sequence[str]) -> tuple[str, ...]:
    """The figures of an experiment: those its evaluation asks for, then those that its verdicts always have."""
    always = [name for kind in kinds for name in OF_KIND.get(kind, ())]
    possible = {*always, *(name for kind in kinds for name in ON_DEMAND.get(kind, ()))}
    fitting = [name for name in asked if name in possible or not kinds]
    return tuple(dict.fromkeys([*fitting, *always]))


def plain_figure(name: str, sheet: Sheet, lengths: Floats) -> Figure | None:
    """A figure that rests on the entrant's verdicts alone; None where there are none."""
    compute = _PLAIN.get(name)
    scores = scores_for(name, sheet, lengths)
    known = scores[np.isfinite(scores)]
    if compute is None or not len(known):
        return None
    estimate, unit, note = compute(known)
    return Figure(name, LABELS[name], estimate, unit, note)


def scores_for(name: str, sheet: Sheet, lengths: Floats) -> Floats:
    """What each item adds to a figure (n,), as a fraction or on the score's own scale; NaN: nothing.

    `lengths` are those of the baseline's outputs. An unread answer is wrong, and an unread reward is 0, as the
    papers have it; other unread verdicts are left out, never a tie.
    """
    values = sheet.values
    if name == "discrete-win-rate":
        return np.where(np.isfinite(values), (np.sign(values - 0.5) + 1) / 2, np.nan)
    if name == "accuracy":
        return np.where(np.isfinite(sheet.read), np.nan_to_num(values), np.nan)
    if name == "parse-rate":
        return sheet.read
    if name == "wb-reward":
        return _rewards(sheet, lengths)
    return values


def _rewards(sheet: Sheet, lengths: Floats) -> Floats:
    """WildBench's reward of each item after the length rule; of several verdicts the mean."""
    rewards = np.where(np.isfinite(sheet.read), 0.0, np.nan)
    for row, grades in sheet.grades.items():
        worth = np.array([WILDBENCH.get(grade or "", 0.0) for grade in grades])
        ours, theirs = (np.full(len(worth), each[row]) for each in (sheet.lengths, lengths))
        rewards[row] = float(without_long_winners(worth, ours, theirs).mean())
    return rewards


def length_control(sheet: Sheet, model: LengthModel, sizes: Sizes) -> LengthControl:
    """The length-controlled win rate; raises `UsageError` where length control has nothing to learn from."""
    usable = np.isfinite(sheet.lengths) & np.isfinite(model.baseline_lengths)
    order = np.arange(len(usable)) if model.order is None else model.order
    listed = _columns(sheet, model, order[usable[order]])
    fitted = length_controlled(*listed, model.gamed, fit=model.fit)
    resampled = Resampled(*_columns(sheet, model, np.flatnonzero(usable)), model.gamed, c=fitted.c)
    found = bootstrap_interval(resampled, len(resampled), replicates=sizes.bootstrap, seed=sizes.seed)
    estimate = replace(found, value=fitted.win_rate)
    doubt = fitted.extrapolates
    if found.low == found.high and np.ptp(sheet.values[usable]) > 0:
        # The L1 penalty that few verdicts choose sets every coefficient to zero, in each replicate as well.
        estimate = replace(estimate, standard_error=float("nan"), low=0.0, high=100.0)
        doubt = f"{int(usable.sum())} verdicts are too few to fit it: nothing is known of it yet"
    return LengthControl(estimate, doubt, resampled, usable.astype(np.float64))


def _columns(
    sheet: Sheet, model: LengthModel, rows: npt.NDArray[np.int64]
) -> tuple[Floats, Floats, Floats, Floats]:
    """What a fit takes: preferences, both lengths, and difficulties."""
    return sheet.values[rows], model.baseline_lengths[rows], sheet.lengths[rows], model.difficulty[rows]


def _percent(scores: Floats) -> tuple[Estimate, str, str]:
    return bounded_mean(scores).percent(), "%", ""


def _reward(scores: Floats) -> tuple[Estimate, str, str]:
    return mean(scores).percent(), "", "slight wins by more than 500 characters are ties"


def _score(scores: Floats) -> tuple[Estimate, str, str]:
    return mean(scores), "", ""


def _wildbench(scores: Floats) -> tuple[Estimate, str, str]:
    return wildbench_score(scores).scaled(10.0), "", ""


_PLAIN: dict[str, Callable[[Floats], tuple[Estimate, str, str]]] = {
    "win-rate": _percent,
    "discrete-win-rate": _percent,
    "accuracy": _percent,
    "parse-rate": _percent,
    "pass-rate": _percent,
    "mean-score": _score,
    "wb-score": _wildbench,
    "wb-reward": _reward,
}


def scale_of(name: str) -> float:
    """What a difference of `scores_for` is multiplied with to be in the figure's unit."""
    return {"mean-score": 1.0, "wb-score": 20.0}.get(name, 100.0)
