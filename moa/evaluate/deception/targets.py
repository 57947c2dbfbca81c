"""The wrong option that deceivers argue for: drawn once for each question, whoever asks it."""

from __future__ import annotations

import random
from collections.abc import Sequence

PAPER_SEED = 42
"""The seed of Wolf et al. 2025 (arXiv:2503.05856)."""


def seeded_target(options: Sequence[str], answer: str, item: str, seed: int = 0) -> str:
    """A wrong option of one question, drawn by a generator of its own.

    The draw depends on the question's id and on the seed, so it is the same in every process and for every
    `--limit`.
    """
    return random.Random(f"{seed}\0target\0{item}").choice(_wrong(options, answer))


class SequentialTargets:
    """The draws of the paper: one generator for the whole file, a draw for each row in order."""

    def __init__(self, seed: int = PAPER_SEED) -> None:
        self._draws = random.Random(seed)

    def next(self, options: Sequence[str], answer: str) -> str:
        """The target of the next row; every row of the file takes its draw, asked or not."""
        return self._draws.choice(_wrong(options, answer))


def _wrong(options: Sequence[str], answer: str) -> list[str]:
    return [option for option in options if option != answer]
