"""Subsets of references: their order, and drawing from more than could be listed."""

from __future__ import annotations

from itertools import combinations
from time import perf_counter

from hypothesis import given
from hypothesis import strategies as st

from moa.graph.subset import count_subsets, draw_subsets
from moa.spec.graph import Subsets


@given(st.integers(1, 7), st.none() | st.integers(1, 7))
def test_subsets_are_the_combinations_smallest_first(references: int, size: int | None) -> None:
    spec = Subsets(size=size)
    sizes = range(1, references + 1) if size is None else [size]
    expected = [subset for each in sizes for subset in combinations(range(references), each)]
    assert draw_subsets(spec, references) == expected
    assert count_subsets(spec, references) == len(expected)


@given(st.integers(3, 8), st.integers(1, 7), st.integers(0, 99))
def test_drawn_subsets_differ_and_keep_the_order_of_all(references: int, count: int, seed: int) -> None:
    everything = draw_subsets(Subsets(), references)
    drawn = draw_subsets(Subsets(count=count, seed=seed), references)
    assert len(set(drawn)) == count
    assert drawn == sorted(drawn, key=everything.index)
    assert drawn == draw_subsets(Subsets(count=count, seed=seed), references)


def test_every_subset_is_as_likely() -> None:
    drawn = [draw_subsets(Subsets(size=2, count=1, seed=seed), 4)[0] for seed in range(1200)]
    counts = [drawn.count(pair) for pair in combinations(range(4), 2)]
    assert min(counts) > 150 and max(counts) < 250


def test_drawing_from_astronomically_many_is_quick() -> None:
    began = perf_counter()
    drawn = draw_subsets(Subsets(count=20, seed=1), 400)
    assert len(set(drawn)) == 20
    assert perf_counter() - began < 1
