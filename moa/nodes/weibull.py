"""Telling probable texts from improbable ones: a mixture of two Weibull distributions of their probabilities."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from statistics import fmean, pstdev
from typing import NamedTuple

FEWEST = 6
"""Probabilities without which two distributions of two parameters each are not told apart."""
_LEAST_WEIGHT = 2.0
"""Texts that each component must stand for: one alone fits itself perfectly."""
_NARROWEST = 0.05
"""The least spread of a component, as a share of that of all logarithms."""
_ROUNDS = 100
_CLOSE = 1e-6
"""The gain in the mean log-likelihood at which the climb ends, and the least spread."""


class Weibull(NamedTuple):
    """A component: of the logarithms y of the probabilities, exp(z - e^z) * shape with z = shape * (y - place).

    That is Weibull's density of the probabilities themselves, of which the logarithm is taken because whole texts have
    probabilities too small for a float. `place` is the logarithm of Weibull's scale.
    """

    weight: float
    shape: float
    place: float

    @property
    def median(self) -> float:
        """The logarithm that half of the component's texts stay below."""
        return self.place + math.log(math.log(2)) / self.shape

    def log_density(self, y: float) -> float:
        """The logarithm of the weighted density at a logarithm of a probability."""
        z = self.shape * (y - self.place)
        return math.log(self.weight * self.shape) + z - math.exp(min(z, 700.0))


class Mixture(NamedTuple):
    """Two components, of which `high` has the larger median."""

    low: Weibull
    high: Weibull

    def p_high(self, logprob: float) -> float:
        """The posterior probability that a text belongs to the component of the probable ones."""
        apart = self.low.log_density(logprob) - self.high.log_density(logprob)
        return 1 / (1 + math.exp(min(apart, 700.0)))


def fit(logprobs: Sequence[float]) -> Mixture | None:
    """The mixture of greatest likelihood, by expectation and maximisation; None where there are not two to tell apart.

    Args:
        logprobs: Natural logarithms of the probabilities of different texts, in any order.
    """
    ordered = sorted(logprobs)
    spread = pstdev(ordered) if len(ordered) >= FEWEST else 0.0
    if not spread > _CLOSE:
        return None
    gaps = [after - before for before, after in pairwise(ordered)]
    inner = range(1, len(gaps) - 1)
    starts = dict.fromkeys((len(ordered) // 2, 1 + max(inner, key=gaps.__getitem__)))
    found = [one for one in (_climb(ordered, start, spread) for start in starts) if one is not None]
    return max(found, key=lambda mixture: _likelihood(mixture, ordered), default=None)


def _climb(ordered: Sequence[float], start: int, spread: float) -> Mixture | None:
    """From the `start` lowest as one component and the rest as the other; None where one of them starves."""
    shares = [1.0 if place >= start else 0.0 for place in range(len(ordered))]
    last = -math.inf
    for _ in range(_ROUNDS):
        if min(sum(shares), len(shares) - sum(shares)) < _LEAST_WEIGHT:
            return None
        low = _component(ordered, [1 - share for share in shares], spread)
        high = _component(ordered, shares, spread)
        mixture = Mixture(low, high) if low.median <= high.median else Mixture(high, low)
        reached = _likelihood(mixture, ordered)
        if reached - last < _CLOSE * len(ordered):
            return mixture
        last = reached
        shares = [mixture.p_high(y) for y in ordered]
    return mixture


def _likelihood(mixture: Mixture, values: Sequence[float]) -> float:
    total = 0.0
    for y in values:
        low, high = mixture.low.log_density(y), mixture.high.log_density(y)
        most = max(low, high)
        total += most + math.log(math.exp(low - most) + math.exp(high - most))
    return total


def _component(values: Sequence[float], weights: Sequence[float], spread: float) -> Weibull:
    """The Weibull distribution of greatest weighted likelihood; no narrower than a share of `spread`."""
    whole = sum(weights)
    most = max(values)
    mean = sum(w * y for w, y in zip(weights, values, strict=True)) / whole

    def powers(shape: float) -> list[float]:
        return [w * math.exp(shape * (y - most)) for w, y in zip(weights, values, strict=True)]

    def slope(shape: float) -> float:
        """The likelihood's derivative by the shape, turned round: it rises, and is 0 at the best shape."""
        raised = powers(shape)
        return sum(p * y for p, y in zip(raised, values, strict=True)) / sum(raised) - mean - 1 / shape

    shape = _root(slope, 1e-3 / spread, 1 / (_NARROWEST * spread))
    return Weibull(whole / len(values), shape, most + math.log(sum(powers(shape)) / whole) / shape)


def _root(rising: Callable[[float], float], low: float, high: float) -> float:
    """Where a rising function is 0, or the end of the interval that is nearest to it."""
    for _ in range(30):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if rising(middle) > 0 else (middle, high)
    return math.sqrt(low * high)


def kept(logprobs: Sequence[float]) -> list[bool]:
    """Which texts are probable enough to have a say: RPC's pruning (Zhou et al. 2025, arXiv:2502.00511).

    A text goes where it more likely belongs to the low one of two Weibull distributions; one above the mean
    probability always stays. Where no two distributions can be told apart, the mean alone decides.
    """
    most = max(logprobs)
    mean = fmean(math.exp(logprob - most) for logprob in logprobs)
    above = [math.exp(logprob - most) >= mean for logprob in logprobs]
    mixture = fit(logprobs)
    if mixture is None:
        return above
    return [stays or mixture.p_high(y) >= 0.5 for stays, y in zip(above, logprobs, strict=True)]
