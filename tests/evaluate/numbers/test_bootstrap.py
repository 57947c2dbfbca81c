"""Bootstrap by counts: the draws, both kinds of interval, and what cannot be computed."""

from __future__ import annotations

import numpy as np
import pytest

from moa.errors import UsageError
from moa.evaluate.numbers import bootstrap as module
from moa.evaluate.numbers.bootstrap import bootstrap_interval, draw, leave_out, mean_of
from moa.evaluate.numbers.intervals import Floats, bootstrap

VALUES = np.random.default_rng(0).exponential(size=80)


def test_each_replicate_draws_as_many_rows() -> None:
    counts = np.concatenate(list(draw(30, 200, seed=1)))
    assert counts.shape == (200, 30)
    assert (counts.sum(axis=1) == 30).all()
    assert counts.mean() == 1
    assert 0.9 < counts.var() < 1.05


def test_equal_seeds_draw_alike_whatever_fits_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = np.concatenate(list(draw(20, 50, seed=3)))
    monkeypatch.setattr(module, "AT_ONCE", 60)
    assert len(list(draw(20, 50, seed=3))) == 17
    assert np.array_equal(np.concatenate(list(draw(20, 50, seed=3))), whole)
    assert not np.array_equal(np.concatenate(list(draw(20, 50, seed=4))), whole)


def test_the_jackknife_leaves_out_each_row_once() -> None:
    assert np.array_equal(np.concatenate(list(leave_out(7))), 1 - np.eye(7))


def test_the_jackknife_of_many_rows_leaves_out_groups() -> None:
    counts = np.concatenate(list(leave_out(1000)))
    assert counts.shape == (200, 1000)
    assert ((counts == 0).sum(axis=0) == 1).all()


@pytest.mark.parametrize("method", ["bca", "percentile"])
def test_same_interval_as_one_replicate_at_a_time(method: module.Method) -> None:
    found = bootstrap_interval(mean_of(VALUES), 80, replicates=4000, method=method)
    slow = bootstrap(VALUES, replicates=4000, method=method, seed=5)
    assert found.value == pytest.approx(VALUES.mean())
    assert found.standard_error == pytest.approx(slow.standard_error, rel=0.05)
    assert found.low == pytest.approx(slow.low, abs=0.02)
    assert found.high == pytest.approx(slow.high, abs=0.02)
    assert found.n == 80


def test_the_method_is_said() -> None:
    assert bootstrap_interval(mean_of(VALUES), 80, replicates=50).method == "BCa bootstrap, 50 replicates"


def test_skew_moves_the_bca_interval() -> None:
    bca = bootstrap_interval(mean_of(VALUES), 80, replicates=2000)
    plain = bootstrap_interval(mean_of(VALUES), 80, replicates=2000, method="percentile")
    assert bca.low > plain.low
    assert bca.high > plain.high


def test_a_wider_level_is_wider() -> None:
    wide, narrow = (bootstrap_interval(mean_of(VALUES), 80, level=level) for level in (0.99, 0.8))
    assert wide.low < narrow.low < narrow.high < wide.high


def test_gaps_are_left_out_of_the_mean() -> None:
    found = bootstrap_interval(mean_of(np.array([1.0, np.nan, 3.0, np.nan])), 4, replicates=200)
    assert found.value == 2
    assert (found.low, found.high) == (1, 3)


def test_replicates_without_a_value_are_left_out() -> None:
    def often_undefined(counts: Floats) -> Floats:
        return np.where(counts[:, 0] > 0, counts[:, 1], np.nan)

    found = bootstrap_interval(often_undefined, 10, replicates=400, method="percentile")
    used = int(found.method.split()[2])
    assert 200 < used < 300


def test_mostly_undefined_is_refused() -> None:
    def undefined(counts: Floats) -> Floats:
        return np.where(counts.max(axis=1) > 1, np.nan, 1.0)

    with pytest.raises(UsageError, match="of 100 bootstrap replicates could be computed"):
        bootstrap_interval(undefined, 30, replicates=100)


def test_one_row_is_refused() -> None:
    with pytest.raises(UsageError, match="at least two rows"):
        bootstrap_interval(mean_of(np.ones(1)), 1)


def test_where_no_row_can_be_left_out_the_quantiles_are_plain() -> None:
    def of_all(counts: Floats) -> Floats:
        return np.where(counts.sum(axis=1) == 9, counts @ VALUES[:9] / 9, np.nan)

    found, plain = (bootstrap_interval(of_all, 9, method=method) for method in ("bca", "percentile"))
    assert (found.low, found.high) == (plain.low, plain.high)
