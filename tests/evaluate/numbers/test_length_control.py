"""Length-controlled win rates: the official numbers, both fits, and what has none."""

from __future__ import annotations

import csv
import time
from functools import cache

import numpy as np
import pytest
from sklearn.model_selection import GroupKFold

from moa.errors import UsageError
from moa.evaluate.numbers.bootstrap import bootstrap_interval, draw
from moa.evaluate.numbers.length_control import (
    Fit,
    GamedRows,
    LengthControlled,
    Resampled,
    baseline_itself,
    folds,
    length_controlled,
)
from moa.evaluate.reference import Reference, read_reference
from moa.evaluate.score import Keys, Options, score
from tests.support.annotated import Simulated, chance, simulate, simulate_gamed
from tests.support.shared import ALPACA_EVAL, alpaca_eval_annotations, needs_alpaca_eval

FITS: tuple[Fit, ...] = ("liblinear-cv", "newton")
ROWS = simulate(300, seed=0)
GAMED = simulate_gamed(ROWS.difficulty, seed=1)


@cache
def reference() -> Reference:
    return read_reference(ALPACA_EVAL)


def official() -> dict[str, dict[str, str]]:
    with (ALPACA_EVAL / "official_lc_reference.csv").open(encoding="utf-8") as file:
        return {row["model"]: row for row in csv.DictReader(file)}


def scores(fit: Fit) -> dict[str, LengthControlled]:
    options = Options(reference=ALPACA_EVAL, row_index=True, replicates=0, fit=fit)
    return {
        each.model: each.length_controlled
        for each in score(alpaca_eval_annotations(), options)
        if each.length_controlled is not None
    }


@needs_alpaca_eval
def test_by_row_position_every_number_is_the_official_one() -> None:
    found = scores("liblinear-cv")
    wanted = official()
    assert found.keys() == wanted.keys()
    for model, row in wanted.items():
        assert found[model].win_rate == pytest.approx(float(row["lc_reconstructed"]), rel=0, abs=1e-6)
        assert found[model].standard_error == pytest.approx(
            float(row["lc_se_reconstructed"]), rel=0, abs=1e-6
        )
        if row["C"]:
            assert found[model].c == pytest.approx(float(row["C"]))
            wanted_weights = [float(row[name]) for name in ("coef_len", "coef_difficulty", "coef_model")]
            assert list(found[model].coefficients) == pytest.approx(wanted_weights, abs=1e-6)


@needs_alpaca_eval
def test_by_instruction_only_models_with_missing_rows_differ() -> None:
    by_index, by_row = (
        Keys(alpaca_eval_annotations(), reference(), Options(reference=ALPACA_EVAL, row_index=row_index))
        for row_index in (False, True)
    )
    differing = [
        each
        for each in alpaca_eval_annotations()
        if any(
            not np.array_equal(*pair) for pair in zip(by_index.keyed(each), by_row.keyed(each), strict=True)
        )
    ]
    assert {each.model for each in differing} == {"alpaca-7b_concise", "phi-2", "text_davinci_001"}
    options = Options(reference=ALPACA_EVAL, replicates=0)
    for each in score(differing, options):
        assert each.length_controlled is not None
        gap = each.length_controlled.win_rate - float(official()[each.model]["lc_reconstructed"])
        assert 0.01 < abs(gap) < 5


@needs_alpaca_eval
def test_the_newton_fit_is_close_to_the_official_one() -> None:
    found = scores("newton")
    gaps = [abs(found[model].win_rate - float(row["lc_reconstructed"])) for model, row in official().items()]
    assert max(gaps) < 0.15
    assert np.median(gaps) < 0.01


@needs_alpaca_eval
def test_a_thousand_replicates_are_quick() -> None:
    each = next(one for one in alpaca_eval_annotations() if one.model == "claude-2.1")
    rows = (
        np.array([one.preference - 1 for one in each.judgments]),
        np.array([one.len_1 for one in each.judgments]),
        np.array([one.len_2 for one in each.judgments]),
        reference().difficulty,
        reference().gamed,
    )
    began = time.perf_counter()
    found = length_controlled(*rows)
    statistic = Resampled(*rows, c=found.c)
    interval = bootstrap_interval(statistic, len(statistic), replicates=1000)
    assert time.perf_counter() - began < 10
    assert interval.contains(found.win_rate)
    # The spread over resampled instructions is far wider than the official error says.
    assert interval.standard_error > 1.5 * found.standard_error


@pytest.mark.parametrize("n", [5, 23, 1000])
def test_the_folds_are_group_k_folds(n: int) -> None:
    """Where numpy sorts equal numbers into the order that they came in; elsewhere only the sizes are alike."""
    wanted = np.empty(n, dtype=np.int64)
    for number, (_, out) in enumerate(GroupKFold(5).split(np.zeros(n), groups=np.arange(n))):
        wanted[out] = number
    assert sorted(np.bincount(folds(n))) == sorted(np.bincount(wanted))
    if np.array_equal(np.argsort(np.full(n, 1)), np.arange(n)):
        assert np.array_equal(folds(n), wanted)


@pytest.mark.parametrize("n", [2, 3, 4])
@pytest.mark.parametrize("fit", FITS)
def test_fewer_rows_than_folds_have_a_number(fit: Fit, n: int) -> None:
    found = length_controlled([1.0, 0.0, 0.7, 0.2][:n], [100] * n, [80, 120, 90, 150][:n], [0.0] * n, fit=fit)
    assert 0 <= found.win_rate <= 100


@pytest.mark.parametrize("fit", FITS)
def test_what_was_simulated_is_found(fit: Fit) -> None:
    rows = simulate(6_000, seed=3, length=-1.2, difficulty=0.8, model=0.4)
    found = length_controlled(*rows, fit=fit)
    assert found.fit == fit
    assert list(found.coefficients) == pytest.approx([-1.2, 0.8, 0.4], abs=0.1)
    truth = 100 * chance(0.8 * rows.difficulty + 0.4).mean()
    assert found.win_rate == pytest.approx(truth, abs=1.0)
    assert found.extrapolates is None


def test_both_fits_agree() -> None:
    for seed in range(5):
        rows = simulate(400, seed=seed)
        exact, close = (length_controlled(*rows, GAMED, fit=fit) for fit in FITS)
        assert close.win_rate == pytest.approx(exact.win_rate, abs=0.15)


def test_gamed_rows_hold_the_length_coefficient() -> None:
    rows = simulate(300, seed=5, length=-2.5)
    free = length_controlled(*rows).coefficients.length
    held = length_controlled(*rows, simulate_gamed(rows.difficulty, seed=6, length=-0.5)).coefficients.length
    assert free < held - 0.1 < -0.6


@pytest.mark.parametrize("fit", FITS)
def test_rows_without_a_verdict_are_predicted_but_not_fitted(fit: Fit) -> None:
    preferences = ROWS.preferences.copy()
    preferences[:10] = np.nan
    some = length_controlled(preferences, *ROWS[1:], GAMED, fit=fit)
    changed = ROWS.difficulty.copy()
    changed[:10] += 5
    other = length_controlled(preferences, *ROWS[1:3], changed, GAMED, fit=fit)
    assert some.coefficients == other.coefficients
    assert other.win_rate > some.win_rate


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_preferences_that_are_all_alike(fit: Fit, value: float) -> None:
    found = length_controlled(np.full(300, value), *ROWS[1:], GAMED, fit=fit)
    assert found.win_rate == pytest.approx(100 * value, abs=3)


@pytest.mark.parametrize("difference", [0, 100])
def test_equal_differences_in_length_are_refused(difference: int) -> None:
    lengths = np.full(300, 1000.0)
    with pytest.raises(UsageError, match="by the same amount everywhere"):
        length_controlled(ROWS.preferences, lengths + difference, lengths, ROWS.difficulty, GAMED)


def test_one_row_is_refused() -> None:
    with pytest.raises(UsageError, match="nothing to learn from"):
        length_controlled([0.5], [10], [20], [0.0], GAMED)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (0, 1.01, "from 0"),
        (0, -0.01, "from 0"),
        (1, np.nan, "finite"),
        (2, np.inf, "finite"),
        (3, np.nan, "finite"),
    ],
)
def test_rows_out_of_range_are_refused(place: int, value: float, message: str) -> None:
    rows = Simulated(*(values.copy() for values in ROWS))
    rows[place][7] = value
    with pytest.raises(UsageError, match=message):
        length_controlled(*rows, GAMED)


def test_rows_must_be_as_many() -> None:
    with pytest.raises(UsageError, match="got 300, 299, 300, 300"):
        length_controlled(ROWS.preferences, ROWS.len_1[1:], ROWS.len_2, ROWS.difficulty)


def test_no_verdict_at_all_is_refused() -> None:
    with pytest.raises(UsageError, match="needs verdicts"):
        length_controlled(np.full(300, np.nan), *ROWS[1:], GAMED)


def test_the_baseline_itself() -> None:
    found = baseline_itself()
    assert (found.win_rate, found.standard_error, found.fit) == (50, 0, None)


def test_always_longer_extrapolates() -> None:
    found = length_controlled(ROWS.preferences, ROWS.len_1, ROWS.len_1 + ROWS.len_2, ROWS.difficulty, GAMED)
    assert found.extrapolates == "every output is longer than the baseline's: equal lengths were never seen"


def test_mostly_shorter_extrapolates() -> None:
    lengths = ROWS.len_1 - 3000
    lengths[0] = ROWS.len_1[0] + 1
    found = length_controlled(ROWS.preferences, ROWS.len_1 + 3000, ROWS.len_2, ROWS.difficulty, GAMED)
    assert found.extrapolates is not None
    some = length_controlled(
        ROWS.preferences,
        np.concatenate([[10.0], ROWS.len_1[1:] + 3000]),
        ROWS.len_2 + 20,
        ROWS.difficulty,
        GAMED,
    )
    assert some.extrapolates is not None
    assert "shorter than the baseline's by" in some.extrapolates


def test_resampling_every_row_once_is_the_fit_itself() -> None:
    found = length_controlled(*ROWS, GAMED)
    statistic = Resampled(*ROWS, GAMED, c=found.c)
    assert statistic(np.ones((1, 300)))[0] == pytest.approx(found.win_rate, abs=1e-6)


def test_counts_are_rows_repeated() -> None:
    found = length_controlled(*ROWS, GAMED)
    statistic = Resampled(*ROWS, GAMED, c=found.c)
    counts = np.concatenate(list(draw(300, 3, seed=0)))
    for each, value in zip(counts, statistic(counts), strict=True):
        repeated = Simulated(*(np.repeat(values, each.astype(int)) for values in ROWS))
        again = Resampled(*repeated, GAMED, c=found.c)(np.ones((1, 300)))
        assert value == pytest.approx(again[0], abs=1e-6)


def test_a_replicate_of_equal_differences_has_no_value() -> None:
    statistic = Resampled([0.2, 0.9, 0.4], [10, 20, 30], [5, 15, 20], [0.0, 1.0, 2.0], GAMED, c=1.0)
    values = statistic(np.array([[1.0, 2.0, 0.0], [1.0, 1.0, 1.0], [0.0, 0.0, 3.0]]))
    assert np.isnan(values[[0, 2]]).all()
    assert 0 < values[1] < 100


def test_no_gamed_rows_are_the_default() -> None:
    empty = GamedRows(np.empty(0), np.empty(0), np.empty(0))
    assert length_controlled(*ROWS) == length_controlled(*ROWS, empty)
