"""Every two entrants on the same questions: difference, interval, p-value, and what more questions would tell."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from math import isfinite
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from moa.errors import UsageError
from moa.evaluate.figures import LengthControl, Sizes
from moa.evaluate.numbers.bootstrap import draw
from moa.evaluate.numbers.intervals import Estimate, Floats
from moa.evaluate.numbers.multiplicity import holm
from moa.evaluate.numbers.paired import FLIPS, paired_difference
from moa.evaluate.numbers.power import resolution
from moa.evaluate.standings import Pair

MOST_FLIPPED = 50_000_000
"""Signs that one p-value draws, at most."""


class Compared(NamedTuple):
    """Two entrants, before the p-values of all pairs are known."""

    first: str
    second: str
    difference: Estimate
    p_value: float
    pairs: int
    missing: int


def paired(scores: Mapping[str, Floats], scale: float, seed: int) -> Iterator[Compared]:
    """Every two entrants by what each question adds to their figure (n,), NaN where one has nothing."""
    for first, second in combinations(scores, 2):
        flips = min(FLIPS, max(1000, MOST_FLIPPED // max(1, len(scores[first]))))
        try:
            found = paired_difference(scores[first], scores[second], flips=flips, seed=seed)
        except UsageError:  # fewer than two questions in common
            continue
        estimate = found.difference.scaled(scale)
        missing = found.only_first + found.only_second + found.neither
        yield Compared(first, second, estimate, found.p_value, found.pairs, missing)


def paired_by_length(
    controls: Mapping[str, LengthControl | None], n: int, sizes: Sizes
) -> Iterator[Compared]:
    """Every two entrants by their length-controlled win rates: the same questions are drawn for both.

    None stands for the baseline, which has 50 by definition. The p-value is the normal one of the
    replicates' deviation.
    """
    drawn = {name: _replicates(control, n, sizes) for name, control in controls.items()}
    for first, second in combinations(controls, 2):
        values = [
            50.0 if (control := controls[name]) is None else control.estimate.value
            for name in (first, second)
        ]
        difference = drawn[first] - drawn[second]
        difference = difference[~np.isnan(difference)]
        both = _rows(controls[first], n) * _rows(controls[second], n)
        pairs = int(both.sum())
        if len(difference) < 2 or pairs < 2:
            continue
        estimate = _bootstrapped(values[0] - values[1], difference, pairs)
        yield Compared(first, second, estimate, _normal_p(estimate), pairs, n - pairs)


def settled(found: Iterable[Compared]) -> tuple[Pair, ...]:
    """The comparisons of one board, their p-values adjusted together."""
    compared = list(found)
    adjusted = holm([each.p_value for each in compared]).p_values if compared else ()
    return tuple(_pair(each, p) for each, p in zip(compared, adjusted, strict=True))


def _pair(found: Compared, adjusted: float) -> Pair:
    smallest, more = _resolution(found.difference)
    return Pair(
        found.first,
        found.second,
        found.difference,
        found.p_value,
        adjusted,
        found.pairs,
        found.missing,
        smallest,
        more,
    )


def _resolution(difference: Estimate) -> tuple[float | None, int | None]:
    if not isfinite(difference.standard_error) or difference.n < 2:
        return None, None
    if difference.standard_error == 0:
        return 0.0, 0 if difference.value else None
    found = resolution(difference)
    return found.minimum_detectable_effect, found.more


def _replicates(control: LengthControl | None, n: int, sizes: Sizes) -> Floats:
    """The win rate in each replicate; the draws are the same for every entrant."""
    if control is None:
        return np.full(sizes.bootstrap, 50.0)
    kept = control.rows > 0
    counts = draw(n, sizes.bootstrap, sizes.seed)
    return np.concatenate([control.resampled(some[:, kept]) for some in counts])


def _rows(control: LengthControl | None, n: int) -> Floats:
    return np.ones(n) if control is None else control.rows


def _bootstrapped(value: float, drawn: Floats, n: int) -> Estimate:
    low, high = np.quantile(drawn, [0.025, 0.975])
    name = f"percentile bootstrap, {len(drawn)} replicates"
    return Estimate(value, float(drawn.std(ddof=1)), float(low), float(high), n, name)


def _normal_p(estimate: Estimate) -> float:
    if estimate.standard_error == 0:
        return 1.0 if estimate.value == 0 else 0.0
    return 2 * NormalDist().cdf(-abs(estimate.value) / estimate.standard_error)
