"""The raw win rate over a baseline, as AlpacaEval counts it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from moa.errors import UsageError
from moa.evaluate.numbers.intervals import Floats

Preferences = Sequence[float | None] | npt.NDArray[np.float64]
DRAW = 1.5


@dataclass(frozen=True, slots=True)
class WinRate:
    """How often a model is preferred over the baseline; rates in percent.

    A verdict above 1.5 is a win, below it a win of the baseline, and exactly 1.5 a draw, half a win in
    `discrete_win_rate`. `standard_error` is that of the mean (n - 1); NaN for a single verdict.
    """

    win_rate: float
    standard_error: float
    n_wins: int
    n_wins_base: int
    n_draws: int
    n_total: int
    discrete_win_rate: float


def win_rate(preferences: Preferences) -> WinRate:
    """The win rate of preferences from 1 (the baseline's output is better) to 2 (the model's).

    NaN and None stand for a judge that gave no verdict: they are dropped, with a `UserWarning` that
    counts them. (Dubois et al. 2024, arXiv:2404.04475, section 2; numbers as alpaca-eval 0.6.6.)

    Raises:
        UsageError: when a preference is outside 1..2 (preferences from 0 to 1 need 1 added), or none is left.
    """
    values = np.array([np.nan if value is None else value for value in preferences], dtype=np.float64)
    judged = values[~np.isnan(values)]
    if dropped := len(values) - len(judged):
        warnings.warn(f"{dropped} of {len(values)} preferences are missing and dropped", stacklevel=2)
    outside = np.flatnonzero((values < 1) | (values > 2))
    if len(outside):
        raise UsageError(
            f"preferences[{outside[0]}] is {values[outside[0]]:g}: must be from 1 (baseline) to 2 (model)"
        )
    if not len(judged):
        raise UsageError("no preferences: a win rate needs at least one verdict")
    return _counted(judged)


def _counted(preferences: Floats) -> WinRate:
    wins, losses = int(np.sum(preferences > DRAW)), int(np.sum(preferences < DRAW))
    n = len(preferences)
    draws = n - wins - losses
    return WinRate(
        win_rate=100 * float(np.mean(preferences - 1)),
        standard_error=100 * standard_error(preferences),
        n_wins=wins,
        n_wins_base=losses,
        n_draws=draws,
        n_total=n,
        discrete_win_rate=100 * (wins + draws / 2) / n,
    )


def standard_error(values: Floats) -> float:
    """The standard error of the mean, with n - 1; NaN for fewer than two values."""
    if len(values) < 2:
        return float("nan")
    return float(np.std(values, ddof=1) / np.sqrt(len(values)))


def average_length(lengths: npt.ArrayLike) -> int:
    """The mean length in characters, cut to a whole number as on AlpacaEval's leaderboard."""
    return int(np.mean(np.asarray(lengths, dtype=np.float64)))
