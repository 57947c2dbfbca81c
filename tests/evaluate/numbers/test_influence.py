"""Leave-one-out and Shapley: the axioms, hand-worked games, and ballots over subsets."""

from __future__ import annotations

from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moa.errors import UsageError
from moa.evaluate.numbers.influence import (
    Coalition,
    Table,
    influence,
    leave_one_out,
    looked_up,
    shapley,
    value_table,
)


def game(agents: int, seed: int) -> Table:
    random = np.random.default_rng(seed)
    return {
        frozenset(members): float(random.random())
        for size in range(agents + 1)
        for members in combinations(range(agents), size)
    }


@settings(max_examples=30, deadline=None)
@given(agents=st.integers(1, 6), seed=st.integers(0, 10**6))
def test_efficiency_the_shares_sum_to_what_all_add_to_nobody(agents: int, seed: int) -> None:
    table = game(agents, seed)
    whole = table[frozenset(range(agents))] - table[frozenset()]
    for drawn in (None, 4):
        found = shapley(agents, looked_up(table), permutations=drawn, seed=seed)
        assert sum(found.shares) == pytest.approx(whole)


def test_the_share_is_the_mean_over_all_orders() -> None:
    table = game(4, 1)
    totals = np.zeros(4)
    orders = list(permutations(range(4)))
    for order in orders:
        for place, agent in enumerate(order):
            totals[agent] += table[frozenset(order[: place + 1])] - table[frozenset(order[:place])]
    assert shapley(4, looked_up(table)).shares == pytest.approx(totals / len(orders))


def test_a_dummy_adds_nothing_and_equal_agents_share_equally() -> None:
    def glove(coalition: Coalition) -> float:
        """Agent 0 has the left glove, 1 and 2 a right one, 3 none (shares 2/3, 1/6, 1/6, 0)."""
        return float(0 in coalition and bool({1, 2} & coalition))

    assert shapley(4, glove).shares == pytest.approx([2 / 3, 1 / 6, 1 / 6, 0])
    assert leave_one_out(4, glove).tolist() == [1, 0, 0, 0]


def test_sampled_orders_come_within_their_error() -> None:
    table = game(8, 3)
    exact = shapley(8, looked_up(table))
    sampled = shapley(8, looked_up(table), permutations=400, seed=1)
    assert (exact.method, sampled.method) == ("exact", "400 sampled orders")
    scores = np.abs(np.subtract(sampled.shares, exact.shares)) / sampled.standard_errors
    assert scores.max() < 4 and max(sampled.standard_errors) < 0.05
    assert sampled == shapley(8, looked_up(table), permutations=400, seed=1)
    assert sampled != shapley(8, looked_up(table), permutations=400, seed=2)


def test_many_agents_are_sampled_and_each_coalition_is_valued_once() -> None:
    asked: list[Coalition] = []

    def value(coalition: Coalition) -> float:
        asked.append(coalition)
        return float(len(coalition))

    found = shapley(20, value, permutations=10)
    assert found.shares == pytest.approx([1] * 20)
    assert max(found.standard_errors) < 1e-9
    assert len(asked) == len(set(asked))


def test_an_opposer_has_a_negative_influence() -> None:
    """Ballots over all subsets of three: right unless the liar (2) is at least half of who is heard."""
    subsets = [members for size in (1, 2, 3) for members in combinations(range(3), size)]
    right = [float(2 not in members or len(members) == 3) for members in subsets]
    table = value_table(subsets, right)
    honest, other, liar = influence([table, table], 3)
    assert liar.shapley.value < 0 < honest.shapley.value == pytest.approx(other.shapley.value)
    assert (liar.leave_one_out.value, honest.leave_one_out.value) == (0, 1)
    assert honest.shapley.value + other.shapley.value + liar.shapley.value == pytest.approx(1)


def test_influence_has_the_error_of_the_questions() -> None:
    subsets = [(0,), (1,), (0, 1)]
    tables = [value_table(subsets, [float(question % 2), 1.0, 1.0]) for question in range(40)]
    first, second = influence(tables, 2)
    assert first.shapley.value == pytest.approx(0.25) and second.shapley.value == pytest.approx(0.75)
    assert first.shapley.low < 0.25 < first.shapley.high and first.shapley.n == 40


def test_what_is_missing_is_named() -> None:
    table = value_table([(0,), (0, 1)], [1, 1])
    with pytest.raises(UsageError, match=r"no value for the agents \[1\]"):
        influence([table], 2)
    with pytest.raises(UsageError, match=r"the subset \[0, 1\] has two values"):
        value_table([(0, 1), (1, 0)], [1, 0])
    with pytest.raises(UsageError, match="2 subsets and 1 values"):
        value_table([(0,), (1,)], [1])
    with pytest.raises(UsageError, match="no questions"):
        influence([], 2)
    with pytest.raises(UsageError, match="at least one agent"):
        shapley(0, len)
