"""The chances of a faction in the election of the Doge: exact, drawn by the thousand, and in elections really held.

A faction wins a body by lot and by votes. The rule between the two: a college in which one faction has the
supermajority names only its own; in any other each seat goes to a faction with the chance of its share of the
college. A small faction keeps some chance, a large one is amplified (Mowbray and Gollmann 2007, HPL-2007-28R1).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from math import comb
from random import Random
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from moa.errors import UsageError
from moa.nodes.election import VENICE, Protocol, Step, elect

COUNCIL = 1000
"""Members of the Great Council, about."""
_NAMED = 20
"""Nominees that a partisan has in mind, which fill its seats and those of a few others."""

Counts = npt.NDArray[np.int64]


class Odds(NamedTuple):
    """The chances of the faction, of the others, and of neither reaching the last threshold."""

    win: float
    lose: float
    deadlock: float


def lot_odds(council: int, faction: int, drawn: int, at_least: int) -> float:
    """The chance that a lot of `drawn` out of `council` members has `at_least` of a faction: hypergeometric, exact.

    Lots in a row are one lot: to draw 30 and then 9 of them is to draw 9.

    Raises:
        UsageError: when more are in the faction, or drawn, than there are.
    """
    if not 0 <= faction <= council or not 0 <= drawn <= council:
        raise UsageError(f"cannot draw {drawn} of {council} members, {faction} of them in the faction")
    ways = sum(
        comb(faction, own) * comb(council - faction, drawn - own) for own in range(at_least, drawn + 1)
    )
    return ways / comb(council, drawn)


def election_odds(share: float, *, council: int = COUNCIL, protocol: Protocol = VENICE) -> Odds:
    """The exact chances of a faction with a `share` of the council, from body to body."""
    size, chances = council, {_members(share, council): 1.0}
    for step in protocol.steps:
        found: dict[int, float] = {}
        for own, chance in chances.items():
            for then, part in _after(step, own, size):
                found[then] = found.get(then, 0.0) + chance * part
        size, chances = step.size, found
    win = sum(chance for own, chance in chances.items() if own >= protocol.approvals)
    lose = sum(chance for own, chance in chances.items() if size - own >= protocol.approvals)
    return Odds(win, lose, max(0.0, 1 - win - lose))


def drawn_odds(
    share: float, runs: int, seed: int, *, council: int = COUNCIL, protocol: Protocol = VENICE
) -> Odds:
    """The same from `runs` elections drawn at once; the standard error is at most 0.5 / sqrt(runs)."""
    random = np.random.default_rng(seed)
    size, own = council, np.full(runs, _members(share, council))
    for step in protocol.steps:
        if step.kind == "lot":
            own = random.hypergeometric(own, size - own, step.size)
        else:
            shared = random.binomial(step.size, own / size)
            own = np.where(
                own >= step.approvals, step.size, np.where(size - own >= step.approvals, 0, shared)
            )
        size = step.size
    win, lose = float(np.mean(own >= protocol.approvals)), float(np.mean(size - own >= protocol.approvals))
    return Odds(win, lose, 1 - win - lose)


def held_odds(share: float, runs: int, seed: int, *, council: int = COUNCIL) -> Odds:
    """The same from elections that partisans really hold (`moa.nodes.election.elect`), about 100 a second."""
    faction = _members(share, council)
    wins = losses = 0
    for run in range(runs):
        held = elect(
            council,
            lambda elector, nominee: (elector < faction) == (nominee < faction),
            Random(f"{seed}/{run}"),
            names=lambda elector, eligible, random: _own(elector < faction, faction, eligible, random),
            deadlock="share",
        )
        wins += not held.deadlock and held.doge < faction
        losses += not held.deadlock and held.doge >= faction
    return Odds(wins / runs, losses / runs, 1 - (wins + losses) / runs)


def _own(mine: bool, faction: int, eligible: Sequence[int], random: Random) -> Iterator[int]:
    """Some of a partisan's own faction among the eligible, who are in rising order."""
    cut = bisect_left(eligible, faction)
    own = eligible[:cut] if mine else eligible[cut:]
    yield from random.sample(own, min(_NAMED, len(own)))


def _members(share: float, council: int) -> int:
    if not 0 <= share <= 1:
        raise UsageError(f"a faction's share is from 0 to 1, not {share:g}")
    return round(share * council)


def _after(step: Step, own: int, size: int) -> Iterator[tuple[int, float]]:
    """How many of the faction sit in the next body, with their chances."""
    if step.kind == "lot":
        ways = comb(size, step.size)
        for then in range(max(0, step.size - (size - own)), min(own, step.size) + 1):
            yield then, comb(own, then) * comb(size - own, step.size - then) / ways
    elif own >= step.approvals or size - own >= step.approvals:
        yield (step.size if own >= step.approvals else 0), 1.0
    else:
        part = own / size
        for then in range(step.size + 1):
            yield then, comb(step.size, then) * part**then * (1 - part) ** (step.size - then)
