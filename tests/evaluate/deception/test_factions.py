"""The chances of a faction against the published numbers: minority chance and majority amplification."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moa.errors import UsageError
from moa.evaluate.deception.factions import drawn_odds, election_odds, held_odds, lot_odds
from moa.nodes.election import VENICE, Protocol, Step

WINS = {0.1: 0.010, 0.2: 0.055, 0.3: 0.149, 0.4: 0.272, 0.5: 0.425, 0.6: 0.599, 0.7: 0.760, 0.8: 0.901}
LOTS = [
    (9, 7, {0.4: 0.0245, 0.5: 0.0889, 0.6: 0.2307, 0.7: 0.4623, 0.8: 0.7387}),
    (12, 9, {0.5: 0.0718, 0.6: 0.2238, 0.7: 0.4921}),
    (11, 9, {0.5: 0.0320, 0.6: 0.1176, 0.7: 0.3115}),
    (41, 25, {0.4: 0.0046, 0.5: 0.1008, 0.6: 0.5170, 0.7: 0.9254}),
]


@pytest.mark.parametrize(("drawn", "at_least", "known"), LOTS)
def test_a_lot_gives_a_faction_the_supermajority_as_often_as_published(
    drawn: int, at_least: int, known: dict[float, float]
) -> None:
    for share, chance in known.items():
        assert lot_odds(1000, round(1000 * share), drawn, at_least) == pytest.approx(chance, abs=6e-5)


def test_two_lots_in_a_row_are_one() -> None:
    first, then = 30, 9
    chained = sum(
        (lot_odds(200, 90, first, own) - lot_odds(200, 90, first, own + 1)) * lot_odds(first, own, then, 7)
        for own in range(first + 1)
    )
    assert chained == pytest.approx(lot_odds(200, 90, then, 7))


@pytest.mark.parametrize("share", [share / 10 for share in range(1, 10)])
def test_the_chain_gives_the_published_chances(share: float) -> None:
    exact, drawn = election_odds(share), drawn_odds(share, 100_000, seed=1)
    assert exact == pytest.approx(drawn, abs=0.005)
    if share in WINS:
        assert exact.win == pytest.approx(WINS[share], abs=0.01)
        assert drawn.win == pytest.approx(WINS[share], abs=0.01)


def test_an_even_council_is_deadlocked_in_15_percent_and_both_sides_are_alike() -> None:
    even = election_odds(0.5)
    assert even.deadlock == pytest.approx(0.15, abs=0.01)
    assert even.win == pytest.approx(even.lose)
    for share in (0.1, 0.3):
        assert election_odds(share).win == pytest.approx(election_odds(1 - share).lose)


@settings(max_examples=40, deadline=None)
@given(share=st.integers(3, 997))
def test_minorities_have_a_chance_and_majorities_more_than_their_share(share: int) -> None:
    """In a council of 1000; two members can never keep the seven others of a nine from a supermajority."""
    found = election_odds(share / 1000)
    assert election_odds(0.002).win == 0
    small, large = sorted((found.win, found.lose))
    assert small > 0
    assert small < min(share, 1000 - share) / 1000
    decided = large / (small + large)
    assert decided >= max(share, 1000 - share) / 1000 - 1e-9


def test_a_larger_faction_wins_more_often() -> None:
    wins = [election_odds(share / 20).win for share in range(21)]
    assert all(before < after for before, after in pairwise(wins))
    assert (wins[0], wins[-1]) == (0, 1)


@pytest.mark.parametrize("share", [0.3, 0.5])
def test_elections_that_partisans_really_hold_have_the_same_chances(share: float) -> None:
    held, exact = held_odds(share, 120, seed=2), election_odds(share)
    assert held == pytest.approx(exact, abs=0.1)


def test_a_simpler_protocol_has_similar_chances() -> None:
    """One lot and one election before the last body (Mowbray and Gollmann 2007)."""
    simple = Protocol((Step("lot", 9), Step("election", 41, 7, 9)), VENICE.approvals, VENICE.of)
    for share in (0.2, 0.5, 0.8):
        assert election_odds(share, protocol=simple).win == pytest.approx(election_odds(share).win, abs=0.15)


def test_impossible_lots_are_refused() -> None:
    with pytest.raises(UsageError, match="cannot draw 9 of 5"):
        lot_odds(5, 2, 9, 7)
    with pytest.raises(UsageError, match=r"from 0 to 1, not 1\.5"):
        election_odds(1.5)
