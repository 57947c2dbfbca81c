"""Arena-Hard's style control: Bradley-Terry strengths with length and markdown as covariates."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from moa.errors import UsageError
from moa.evaluate.numbers.intervals import (
    LEVEL,
    Estimate,
    Floats,
    Integers,
    Labels,
    Seed,
    bounded,
    group_numbers,
)
from moa.evaluate.numbers.logistic import coefficients, sigmoid

FEATURES = ("length", "headers", "lists", "bold")
Control = Literal["length", "markdown"]
REPLICATES = 100
RIDGE = 1e-6
"""Keeps a model that won or lost everything finite; too small to move any other."""

_CODE = re.compile(r"```[^`]*```")
_TOKEN = re.compile(r"\w+|[^\w\s]")
_HEADER = re.compile(r"^#{1,6}\s", re.MULTILINE)
_ITEM = re.compile(r"^\s*(?:\d+\.|[-*+])\s", re.MULTILINE)
_BOLD = re.compile(r"\*\*[^*\n]+\*\*|__[^_\n]+__")


class Style(NamedTuple):
    """How long and how decorated a text is; markdown is counted outside ``` blocks."""

    tokens: int
    headers: int
    lists: int
    bold: int


@dataclass(frozen=True, slots=True)
class StyleControlled:
    """Each model's win rate over the baseline (fractions), style held fixed, and what style is worth.

    `coefficients` are in log-odds for one standard deviation of each controlled feature.
    """

    win_rates: dict[str, Estimate]
    coefficients: dict[str, Estimate]
    reference: Literal["average", "equal"]


def style_of(text: str, tokens: int | None = None) -> Style:
    """The style of a text; `tokens` of a real tokenizer where there is one, else words and marks."""
    plain = _CODE.sub("", text)
    size = len(_TOKEN.findall(text)) if tokens is None else tokens
    return Style(size, *(len(mark.findall(plain)) for mark in (_HEADER, _ITEM, _BOLD)))


def style_differences(models: Sequence[Style], baselines: Sequence[Style]) -> Floats:
    """The four features of each row: length `(a-b)/(a+b)`, and `(d_a-d_b)/(d_a+d_b+1)` of each markdown density.

    A density is a count over `tokens + 1`.
    """
    if len(models) != len(baselines):
        raise UsageError(
            f"{len(models)} styles of models and {len(baselines)} of the baseline: pair them first"
        )
    ours = np.array(models, dtype=np.float64).reshape(-1, 4)
    theirs = np.array(baselines, dtype=np.float64).reshape(-1, 4)
    total = ours[:, 0] + theirs[:, 0]
    length = np.divide(ours[:, 0] - theirs[:, 0], total, out=np.zeros(len(ours)), where=total > 0)
    dense, other = ours[:, 1:] / (ours[:, :1] + 1), theirs[:, 1:] / (theirs[:, :1] + 1)
    return np.column_stack([length, (dense - other) / (dense + other + 1)])


def style_controlled(
    models: Sequence[str],
    scores: npt.ArrayLike,
    differences: Floats,
    *,
    weights: npt.ArrayLike | None = None,
    questions: Labels | None = None,
    control: Sequence[Control] = ("length", "markdown"),
    reference: Literal["average", "equal"] = "average",
    level: float = LEVEL,
    replicates: int = REPLICATES,
    seed: Seed = 0,
) -> StyleControlled:
    """The chance that each model beats the baseline once style is taken out.

    `scores` are the model's (1 win, 0.5 tie, 0 loss), `weights` 3 for a strong verdict, `differences` from
    `style_differences`. Features are standardised over all rows, as Arena-Hard does; dropping them then
    means the style of the `average` row, not that of a model as long as the baseline: `equal` gives the
    latter. Intervals are quantiles over drawn questions (Arena-Hard draws rows, and reports level 0.9).

    Raises:
        UsageError: when rows do not match or no feature is controlled.
    """
    given = bounded(scores, "scores")
    mass = np.ones(len(given)) if weights is None else bounded(weights, "weights", 0.0, np.inf)
    if not len(models) == len(given) == len(mass) == len(differences):
        raise UsageError("style control needs one model, score, weight and row of differences a verdict")
    names = tuple(dict.fromkeys(models))
    kept = _columns(control)
    standard, zero = _standardised(differences[:, kept], mass)
    features = np.column_stack([_one_hot(models, names), standard])
    asked = np.arange(len(given)) if questions is None else group_numbers(questions, len(given))
    value = coefficients(features, given, mass, ridge=RIDGE)
    drawn = _replicates(features, given, mass, asked, value, replicates, seed)
    shift = np.zeros(len(kept)) if reference == "average" else zero
    n = int(asked.max()) + 1
    m = len(names)
    rates = sigmoid(value[:m] + shift @ value[m:])
    rate_draws = sigmoid(drawn[:, :m] + (drawn[:, m:] @ shift)[:, None])
    return StyleControlled(
        dict(zip(names, _estimates(rates, rate_draws, level, n), strict=True)),
        dict(
            zip(
                [FEATURES[column] for column in kept],
                _estimates(value[m:], drawn[:, m:], level, n),
                strict=True,
            )
        ),
        reference,
    )


def _columns(control: Sequence[Control]) -> list[int]:
    kept = ([0] if "length" in control else []) + ([1, 2, 3] if "markdown" in control else [])
    if not kept:
        raise UsageError("style control needs `length`, `markdown`, or both")
    return kept


def _one_hot(models: Sequence[str], names: tuple[str, ...]) -> Floats:
    number = {name: index for index, name in enumerate(names)}
    matrix = np.zeros((len(models), len(names)))
    matrix[np.arange(len(models)), [number[model] for model in models]] = 1
    return matrix


def _standardised(features: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """The features with mean 0 and deviation 1 over all rows by weight, and what 0 has become.

    A feature that never varies stays 0 everywhere.
    """
    total = weights.sum()
    centre = weights @ features / total
    deviation = np.sqrt(weights @ np.square(features - centre) / max(total - 1, 1))
    scale = np.where(deviation > 1e-12, deviation, np.inf)
    return (features - centre) / scale, -centre / scale


def _replicates(
    features: Floats,
    scores: Floats,
    weights: Floats,
    questions: Integers,
    start: Floats,
    replicates: int,
    seed: Seed,
) -> Floats:
    random = np.random.default_rng(seed)
    n = int(questions.max()) + 1
    rows = []
    for _ in range(replicates):
        counts = np.bincount(random.integers(n, size=n), minlength=n)
        rows.append(coefficients(features, scores, weights * counts[questions], ridge=RIDGE, start=start))
    return np.array(rows)


def _estimates(values: Floats, drawn: Floats, level: float, n: int) -> list[Estimate]:
    low, high = np.quantile(drawn, [0.5 - level / 2, 0.5 + level / 2], axis=0)
    errors = drawn.std(axis=0, ddof=1)
    return [
        Estimate(float(value), float(error), float(a), float(b), n, "style-controlled, bootstrap")
        for value, error, a, b in zip(values, errors, low, high, strict=True)
    ]
