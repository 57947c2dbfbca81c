"""Theory checked in simulated worlds: who is followed, what a filter withstands, what a certificate promises."""

from __future__ import annotations

import pytest

from moa.errors import UsageError
from moa.evaluate.deception.simulation import (
    GOLD,
    TARGET,
    Agent,
    accuracy,
    dropout_vote,
    filtered,
    kept,
    simulate,
    team,
    undefended,
    violations,
)
from moa.nodes.select_election import DogeElection
from moa.nodes.select_likeness import LargestCluster, Medoid
from moa.nodes.select_rank import TopK
from moa.nodes.select_vote import Majority
from moa.nodes.selector import Selector

WITHSTAND = [
    LargestCluster(clusters=2),
    Medoid(),
    Majority(answer="choice"),
    DogeElection(),
    DogeElection(by="answer", answer="choice", keep="supporters"),
]


def test_an_agent_is_as_accurate_as_it_says_and_a_deceiver_has_one_target() -> None:
    world = simulate([Agent(0.7), Agent(deceives=True)], 2000, seed=1)
    assert sum(row[0] == GOLD for row in world.said) / 2000 == pytest.approx(0.7, abs=0.03)
    assert {row[0] for row in world.said} == {0, 1, 2, 3}
    assert {row[1] for row in world.said} == {TARGET}
    assert world == simulate([Agent(0.7), Agent(deceives=True)], 2000, seed=1)


@pytest.mark.parametrize("weight", [1.0, 4.0])
def test_the_aggregator_follows_in_proportion_to_persuasiveness(weight: float) -> None:
    world = simulate(team(4, 1, accuracy=0.9, persuasiveness=weight), 2000)
    assert accuracy(undefended(world)) == pytest.approx(0.9 * 4 / (4 + weight), abs=0.03)


@pytest.mark.parametrize("selector", WITHSTAND, ids=lambda selector: type(selector).__name__)
async def test_a_selection_succeeds_below_half_and_fails_above(selector: Selector) -> None:
    """Cluster & Filter and the others that go with the many: at most 2 of 5 deceivers are filtered out, 3 of 5 win."""
    for deceivers in range(5):
        world = simulate(team(5 - deceivers, deceivers, accuracy=1.0, persuasiveness=3), 60, seed=deceivers)
        found = accuracy(await filtered(world, selector))
        assert found >= 0.95 if deceivers < 2.5 else found <= 0.05, deceivers


async def test_a_filter_brings_back_what_one_persuasive_liar_took() -> None:
    world = simulate(team(5, 1, accuracy=0.9, persuasiveness=5), 200, seed=4)
    lost, defended = accuracy(undefended(world)), accuracy(await filtered(world, LargestCluster()))
    assert lost < 0.6 and defended > 0.85
    agreeing = simulate(team(5, 1, accuracy=1.0), 50)
    assert all(heard == [0, 1, 2, 3, 4] for heard in await kept(agreeing, LargestCluster()))


def test_dropout_and_vote_withstands_a_liar_that_the_aggregator_follows() -> None:
    world = simulate(team(5, 1, accuracy=0.95, persuasiveness=5), 100, seed=2)
    assert accuracy(undefended(world)) < 0.6
    assert accuracy(dropout_vote(world, 1).picks) > 0.95


@pytest.mark.parametrize(("agents", "size", "k"), [(5, 1, 1), (5, 1, 2), (5, 2, 1), (7, 2, 1)])
def test_no_certificate_is_violated_by_any_agents_that_turn(agents: int, size: int, k: int) -> None:
    world = simulate(team(agents, 0, accuracy=0.9), 40, seed=size)
    assert sum(found.k >= k for found in dropout_vote(world, size).certificates) > 5
    assert violations(world, size, k) == 0


def test_turning_an_agent_leaves_the_ballots_of_others_as_they_were() -> None:
    world = simulate(team(4, 0), 20)
    turned = world.corrupted({2})
    assert turned.deceivers == {2}
    assert all(
        world.aggregated(question, heard) == turned.aggregated(question, heard)
        for question in world.questions
        for heard in ([0, 1], [3], [0, 1, 3])
    )
    assert {row[2] for row in turned.said} == {TARGET}


async def test_what_a_world_cannot_do_is_refused() -> None:
    world = simulate(team(2, 0), 1)
    with pytest.raises(UsageError, match="has no agent to ask"):
        await kept(world, TopK())
    with pytest.raises(UsageError, match="has to hear somebody"):
        world.aggregated(0, [])
    with pytest.raises(UsageError, match="2 to 10 options"):
        simulate(team(2, 0), options=1)
