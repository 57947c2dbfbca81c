"""Who is shown first."""

from __future__ import annotations

from random import Random

from moa.spec.evaluation import Order


def seeded_swap(instruction: str) -> bool:
    """Whether AlpacaEval shows the model before the baseline: a draw that the instruction alone decides.

    Dubois et al. 2024, arXiv:2404.04475; equal to the official annotator with its seed 0.
    """
    return Random(f"is_switched_outputs{instruction}0").choices([False, True], k=1)[0]


def swaps(order: Order, instruction: str) -> tuple[bool, ...]:
    """For each judgment of a pair, whether the entrant's answer is shown first."""
    if order == "both":
        return (False, True)
    return (seeded_swap(instruction),) if order == "seeded" else (False,)


_MIRROR = str.maketrans("AB", "BA")


def mirrored(grade: str | None) -> str | None:
    """A grade with the roles of `A` and `B` exchanged."""
    return None if grade is None else "A=B" if grade == "A=B" else grade.translate(_MIRROR)
