"""Raw win rates are AlpacaEval's."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from moa.errors import UsageError
from moa.evaluate.numbers.win_rate import average_length, standard_error, win_rate
from tests.support.shared import ALPACA_EVAL, alpaca_eval_annotations, needs_alpaca_eval


def test_wins_draws_and_losses() -> None:
    found = win_rate([1.0, 1.2, 1.5, 2.0])
    assert found.win_rate == pytest.approx(42.5)
    assert found.standard_error == pytest.approx(100 * np.std([0, 0.2, 0.5, 1.0], ddof=1) / 2)
    assert (found.n_wins, found.n_wins_base, found.n_draws, found.n_total) == (1, 2, 1, 4)
    assert found.discrete_win_rate == pytest.approx(37.5)


def test_only_an_exact_half_is_a_draw() -> None:
    found = win_rate([1.5, 1.5 + 1e-9, 1.5 - 1e-9])
    assert (found.n_wins, found.n_wins_base, found.n_draws) == (1, 1, 1)


def test_missing_preferences_are_dropped_and_counted() -> None:
    with pytest.warns(UserWarning, match="2 of 4 preferences are missing"):
        found = win_rate([1.0, None, float("nan"), 2.0])
    assert (found.win_rate, found.n_total) == (50.0, 2)


def test_a_single_preference_has_no_error() -> None:
    assert np.isnan(win_rate([1.7]).standard_error)
    assert np.isnan(standard_error(np.array([])))


@pytest.mark.parametrize("wrong", [0.0, 0.999, 2.001, -1.0, float("inf")])
def test_out_of_range(wrong: float) -> None:
    with pytest.raises(UsageError, match=r"preferences\[1\] is .* from 1 \(baseline\) to 2 \(model\)"):
        win_rate([1.5, wrong])


def test_nothing_to_count() -> None:
    with pytest.raises(UsageError, match="no preferences"):
        win_rate([])
    with pytest.warns(UserWarning, match="1 of 1"), pytest.raises(UsageError, match="no preferences"):
        win_rate([None])


def test_average_length_is_cut_not_rounded() -> None:
    assert average_length([1, 2, 2, 2]) == 1


@needs_alpaca_eval
def test_the_leaderboard() -> None:
    with (ALPACA_EVAL / "leaderboard.csv").open(encoding="utf-8") as file:
        board = {row["model"]: row for row in csv.DictReader(file)}
    assert len(alpaca_eval_annotations()) == 29
    for each in alpaca_eval_annotations():
        row = board[each.model]
        numbers = win_rate([one.preference for one in each.judgments])
        for name in ("win_rate", "standard_error", "discrete_win_rate"):
            assert getattr(numbers, name) == pytest.approx(float(row[name]), rel=0, abs=1e-9)
        for name in ("n_wins", "n_wins_base", "n_draws", "n_total"):
            assert getattr(numbers, name) == int(float(row[name]))
        if numbers.n_total == 805:
            assert average_length([one.len_2 for one in each.judgments]) == int(row["avg_length"])
