"""AlpacaEval's own formulas for its weighted annotator (Dubois et al. 2024, arXiv:2404.04475)."""

from __future__ import annotations

import math
from collections.abc import Mapping

from moa.evaluate.judges.order import seeded_swap as seeded_swap

FIRST, SECOND = "m", "M"
"""What the two outputs are called, in the order in which they are shown."""


def weighted_preference(logprobs: Mapping[str, float]) -> float | None:
    """The preference of AlpacaEval between two shown outputs: 2 - p(m), from 1 (the first) to 2 (the second).

    `logprobs` are the alternatives at the first token; p(m) = exp(lp_m - logsumexp(lp_m, lp_M)). A token that is
    missing has probability 0; where both are, there is no preference (None).
    """
    first, second = (logprobs.get(token, -math.inf) for token in (FIRST, SECOND))
    most = max(first, second)
    if most == -math.inf:
        return None
    return 2 - math.exp(first - most - math.log(math.exp(first - most) + math.exp(second - most)))


def unswitched(preference: float, switched: bool) -> float:
    """The preference for the model's output, from 1 to 2: 3 minus it where the model's was shown first."""
    return 3 - preference if switched else preference
