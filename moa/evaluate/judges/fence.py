"""Names and delimiters that a text cannot foresee: drawn anew for each judgment, from what is judged."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from random import Random
from typing import NamedTuple

LETTERS = "BCDFGHJKLMNPQRSTVWXZ"
"""Labels are single consonants: one token everywhere, no word by themselves, and not the usual A and B."""
_ALPHABET = "BCDFGHJKLMNPQRSTVWXZ23456789"
_LENGTH = 10


class Dress(NamedTuple):
    """What the texts of one judgment wear."""

    labels: tuple[str, str]
    fence: str
    """A code that stands in the lines round each text and in no text."""


def dress(seed: int, texts: Sequence[str], labels: tuple[str, str] | None = None) -> Dress:
    """Labels and a fence for these texts, in the order in which they are shown.

    They depend on `seed` and the texts alone: equal texts are judged by equal prompts, whoever wrote them, and a
    text that held its own fence would have to foresee a digest of itself. `labels` are used in the
    place of drawn ones.
    """
    draws = Random(_digest(seed, texts))
    first, second = draws.sample(LETTERS, 2)
    return Dress(labels or (first, second), _fence(draws, texts))


def _fence(draws: Random, texts: Sequence[str]) -> str:
    folded = [text.casefold() for text in texts]
    while True:
        fence = "".join(draws.choices(_ALPHABET, k=_LENGTH))
        if not any(fence.casefold() in text for text in folded):
            return fence


def _digest(seed: int, texts: Sequence[str]) -> int:
    digest = hashlib.sha256(str(seed).encode())
    for text in texts:
        raw = text.encode("utf-8", "surrogatepass")
        digest.update(len(raw).to_bytes(8, "big") + raw)
    return int.from_bytes(digest.digest()[:16], "big")
