"""Many comparisons at once: p-values adjusted for a sweep."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from moa.evaluate.numbers.intervals import Floats, bounded


@dataclass(frozen=True, slots=True)
class Adjusted:
    """Adjusted p-values in the order of the given ones; `rejected` are those of at most `alpha`."""

    p_values: tuple[float, ...]
    rejected: tuple[bool, ...]
    alpha: float
    method: str


def holm(p_values: npt.ArrayLike, *, alpha: float = 0.05) -> Adjusted:
    """Holm 1979, step-down: at most `alpha` chance of any false rejection, whatever the dependence."""
    ordered, ranks = _sorted(p_values)
    n = len(ordered)
    adjusted = np.maximum.accumulate(ordered * (n - np.arange(n)))
    return _adjusted(adjusted[ranks], alpha, "Holm")


def benjamini_hochberg(p_values: npt.ArrayLike, *, alpha: float = 0.05) -> Adjusted:
    """Benjamini and Hochberg 1995, step-up: of what is rejected, at most `alpha` is false on average."""
    ordered, ranks = _sorted(p_values)
    n = len(ordered)
    adjusted = np.minimum.accumulate((ordered * n / np.arange(1, n + 1))[::-1])[::-1]
    return _adjusted(adjusted[ranks], alpha, "Benjamini-Hochberg")


def _sorted(p_values: npt.ArrayLike) -> tuple[Floats, npt.NDArray[np.intp]]:
    """The p-values in ascending order, and where each given one is found in it."""
    given = bounded(p_values, "p-values")
    order = np.argsort(given, kind="stable")
    ranks = np.empty_like(order)
    ranks[order] = np.arange(len(order))
    return given[order], ranks


def _adjusted(values: Floats, alpha: float, method: str) -> Adjusted:
    capped = np.minimum(values, 1.0).tolist()
    return Adjusted(tuple(capped), tuple(value <= alpha for value in capped), alpha, method)
