"""Where a graph breaks: the accuracy against the number of deceivers, and the first that is too many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from moa.errors import UsageError
from moa.evaluate.numbers.bootstrap import REPLICATES, draw, mean_of
from moa.evaluate.numbers.intervals import LEVEL, Estimate, Floats, bounded_mean

Correct = bool | float | None


@dataclass(frozen=True, slots=True)
class Breakdown:
    """The smallest number of deceivers at which the accuracy is below `threshold`; None: at none that was tried.

    `low` and `high` bound it with the interval's confidence (None: beyond `most`, the largest that was tried). `share` is
    that of the bootstrap replicates that broke at all. `curve` has the accuracy at each number of deceivers.
    """

    point: int | None
    low: int | None
    high: int | None
    threshold: float
    share: float
    most: int
    curve: Mapping[int, Estimate]


def breakdown_point(
    correct: Mapping[int, Sequence[Correct]],
    threshold: float,
    *,
    replicates: int = REPLICATES,
    seed: int = 0,
    level: float = LEVEL,
) -> Breakdown:
    """The breakdown point of the accuracies on the same questions under 0, 1, ... deceivers.

    The interval is a percentile bootstrap over questions, all numbers of deceivers on the same draws. A number between
    two that were tried is not known: the point is the first *tried* one below the threshold.

    Args:
        correct: For each number of deceivers, whether each answer is right (None: unread, which is wrong), in one order
            of the questions.
        threshold: The accuracy, from 0 to 1, below which the graph counts as broken: such as half of what it has
            without deceivers, or that of guessing.
        replicates: How many.
        seed: Of the draws.
        level: The share of replicates within the bounds.

    Raises:
        UsageError: when nothing was tried, or the numbers of deceivers were tried on different numbers of questions.
    """
    if not correct:
        raise UsageError("no accuracies: a breakdown point needs some number of deceivers")
    lengths = {deceivers: len(rows) for deceivers, rows in correct.items()}
    if len(set(lengths.values())) > 1:
        raise UsageError(f"answers by number of deceivers: {lengths}; give those to the same questions")
    tried = sorted(correct)
    rows = np.array([[float(right or 0) for right in correct[k]] for k in tried])
    curve = {k: bounded_mean(values, level=level) for k, values in zip(tried, rows, strict=True)}
    drawn = _points(rows, threshold, replicates, seed)
    bounds = np.quantile(drawn, [0.5 - level / 2, 0.5 + level / 2], method="inverted_cdf").astype(int)
    point = _first_below(rows.mean(axis=1)[None], threshold)[0]

    def number(place: int) -> int | None:
        return tried[place] if place < len(tried) else None

    return Breakdown(
        number(int(point)),
        number(int(bounds[0])),
        number(int(bounds[1])),
        threshold,
        float(np.mean(drawn < len(tried))),
        tried[-1],
        curve,
    )


def _points(rows: Floats, threshold: float, replicates: int, seed: int) -> Floats:
    """The place of the first accuracy below the threshold in each replicate."""
    means = [mean_of(values) for values in rows]
    return np.concatenate(
        [
            _first_below(np.stack([mean(counts) for mean in means], axis=1), threshold)
            for counts in draw(rows.shape[1], replicates, seed)
        ]
    )


def _first_below(accuracies: Floats, threshold: float) -> Floats:
    """(replicates,) from (replicates, numbers of deceivers); their number where none is below."""
    # The mean of equal values may differ from them by rounding.
    below = accuracies < threshold - 1e-12
    return np.asarray(np.where(below.any(axis=1), below.argmax(axis=1), accuracies.shape[1]), np.float64)
