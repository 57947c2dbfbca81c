"""Subsets of references, counted and drawn without listing them all."""

from __future__ import annotations

from math import comb
from random import Random

from moa.spec.graph import Subsets


def count_subsets(spec: Subsets, references: int) -> int:
    """How many subsets there are to choose from: `size` at a time, or every non-empty one."""
    return comb(references, spec.size) if spec.size is not None else 2**references - 1


def draw_subsets(spec: Subsets, references: int) -> list[tuple[int, ...]]:
    """Positions of the references in each subset: smaller subsets first, then in lexicographic order.

    With `count`, that many are drawn without replacement from a generator seeded with `seed`, and
    keep this order.
    """
    total = count_subsets(spec, references)
    if spec.count is None or spec.count >= total:
        ranks = list(range(total))
    else:
        ranks = sorted(_distinct(Random(spec.seed), spec.count, total))
    return [_subset(rank, references, spec.size) for rank in ranks]


def _distinct(generator: Random, count: int, total: int) -> set[int]:
    """`count` distinct numbers below `total`, which may be larger than any list."""
    drawn: set[int] = set()
    while len(drawn) < count:
        drawn.add(generator.randrange(total))
    return drawn


def _subset(rank: int, references: int, size: int | None) -> tuple[int, ...]:
    if size is None:
        size = 1
        while rank >= comb(references, size):
            rank -= comb(references, size)
            size += 1
    chosen: list[int] = []
    position = 0
    while len(chosen) < size:
        rest = comb(references - position - 1, size - len(chosen) - 1)
        if rank < rest:
            chosen.append(position)
        else:
            rank -= rest
        position += 1
    return tuple(chosen)
