"""A few human labels correct many model labels: prediction-powered inference.

Angelopoulos et al. 2023 (arXiv:2301.09633) and, for the tuning, Angelopoulos, Duchi and Zrnic 2023 (PPI++,
arXiv:2311.01453), section 6.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from moa.errors import UsageError
from moa.evaluate.numbers.intervals import LEVEL, Estimate, Floats, around, mean, t_quantile

FEWEST = 4
"""Human labels below which no interval is given."""


@dataclass(frozen=True, slots=True)
class PredictionPowered:
    """A mean whose labels are partly human: `estimate` uses all, `human_only` and `model_only` are for comparison.

    `weight` is the trust in the model labels (0: none, as `human_only`; 1: plain prediction-powered; above 1 where
    a judge says less than it knows). `bias` is model minus human label on the rows that have both.
    `effective_labels` is how many human labels alone would have had the same standard error. `model_only` is
    what a judge says about itself: it is biased by however much the judge is.
    """

    estimate: Estimate
    human_only: Estimate
    model_only: Estimate
    weight: float
    bias: float
    human_labels: int
    model_labels: int
    effective_labels: float


def prediction_powered_mean(
    human: npt.ArrayLike,
    model: npt.ArrayLike,
    *,
    weight: float | Literal["power"] = "power",
    level: float = LEVEL,
) -> PredictionPowered:
    """The mean human label of all rows, of which only some have one (NaN: none); every row has a model label.

    Rows with a human label must be a random sample of all rows, chosen before the labels were seen.

    Raises:
        UsageError: when there are fewer than 4 human labels, a model label is missing, or the two differ in length.
    """
    people, judge = np.asarray(human, dtype=np.float64), np.asarray(model, dtype=np.float64)
    _check(people, judge)
    labelled = ~np.isnan(people)
    truth, said, rest = people[labelled], judge[labelled], judge[~labelled]
    trust = _power_weight(truth, said, judge, len(rest)) if weight == "power" else weight
    estimate = _combined(truth, said, rest, trust, level, tuned=weight == "power")
    alone = mean(truth, level=level)
    return PredictionPowered(
        estimate,
        alone,
        mean(judge, level=level),
        trust,
        bias=float((said - truth).mean()),
        human_labels=len(truth),
        model_labels=len(judge),
        effective_labels=_effective(alone, estimate),
    )


def prediction_powered_difference(
    human_first: npt.ArrayLike,
    human_second: npt.ArrayLike,
    model_first: npt.ArrayLike,
    model_second: npt.ArrayLike,
    *,
    weight: float | Literal["power"] = "power",
    level: float = LEVEL,
) -> PredictionPowered:
    """The same for first minus second on the same questions; a row counts as human where both have human labels."""
    human = np.asarray(human_first, dtype=np.float64) - np.asarray(human_second, dtype=np.float64)
    model = np.asarray(model_first, dtype=np.float64) - np.asarray(model_second, dtype=np.float64)
    return prediction_powered_mean(human, model, weight=weight, level=level)


def _check(people: Floats, judge: Floats) -> None:
    if people.shape != judge.shape or people.ndim != 1:
        raise UsageError(
            f"human labels {people.shape} and model labels {judge.shape} differ: align them first"
        )
    missing = np.flatnonzero(~np.isfinite(judge))
    if len(missing):
        raise UsageError(f"row {missing[0]} has no model label: drop and count such rows first")
    if np.isinf(people).any():
        raise UsageError(f"row {np.flatnonzero(np.isinf(people))[0]} has an infinite human label")
    labels = int((~np.isnan(people)).sum())
    if labels < FEWEST:
        raise UsageError(f"{labels} human labels are too few: label at least {FEWEST}")


def _power_weight(truth: Floats, said: Floats, judge: Floats, others: int) -> float:
    """The weight of the smallest variance: `cov(human, model) / ((1 + n/N) var(model))`; 0 without spread."""
    spread = float(judge.var(ddof=1))
    if spread == 0 or others == 0:
        return 0.0
    return float(np.cov(truth, said)[0, 1]) / ((1 + len(truth) / others) * spread)


def _combined(
    truth: Floats, said: Floats, rest: Floats, weight: float, level: float, *, tuned: bool
) -> Estimate:
    """The mean of the human labels, moved by how the unlabelled model labels differ from the labelled ones."""
    # A fitted weight costs a degree of freedom, as the slope of a regression does.
    n, lost = len(truth), 1 + (tuned and weight != 0)
    value, variance = float(truth.mean()), _variance(truth - weight * said, lost) / n
    if len(rest):
        value += weight * float(rest.mean() - said.mean())
        variance += weight**2 * (_variance(rest, 1) if len(rest) > 1 else _variance(said, 1)) / len(rest)
    name = "PPI++ (power-tuned)" if tuned else f"PPI (weight {weight:g})"
    return around(value, variance**0.5, t_quantile(level, n - lost), n + len(rest), name)


def _variance(values: Floats, lost: int) -> float:
    return float(np.square(values - values.mean()).sum() / (len(values) - lost))


def _effective(alone: Estimate, together: Estimate) -> float:
    """How many human labels would give the combined error."""
    if together.standard_error == 0:
        return float(together.n)
    return alone.n * (alone.standard_error / together.standard_error) ** 2
