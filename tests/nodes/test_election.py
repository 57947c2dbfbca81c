"""The Venetian protocol: every body, every threshold, every bar, and what becomes of a deadlock."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moa.errors import UsageError
from moa.nodes.election import FULL, VENICE, Election, elect, nominations, scaled, threshold

COUNCIL = 200


def agree(elector: int, nominee: int) -> bool:
    return True


def venice(seed: int = 0, members: int = COUNCIL, **options: object) -> Election:
    return elect(members, agree, Random(seed), **options)  # type: ignore[arg-type]


def test_each_body_has_its_historical_size_and_each_college_its_threshold() -> None:
    held = venice()
    assert [(stage.kind, len(stage.body)) for stage in held.stages] == [
        ("lot", 30), ("lot", 9), ("election", 40), ("lot", 12), ("election", 25),
        ("lot", 9), ("election", 45), ("lot", 11), ("election", 41),
    ]  # fmt: skip
    elections = [stage for stage in held.stages if stage.kind == "election"]
    assert [(len(stage.college), stage.threshold) for stage in elections] == [
        (9, 7),
        (12, 9),
        (9, 7),
        (11, 9),
    ]
    assert (len(held.college), held.threshold, held.approvals, held.deadlock) == (41, 25, 41, False)


def test_each_lot_draws_from_the_body_before_and_each_college_is_the_body_before() -> None:
    held = venice(1)
    for before, after in pairwise(held.stages):
        assert len(set(after.body)) == len(after.body)
        if after.kind == "lot":
            assert set(after.body) < set(before.body)
        else:
            assert after.college == before.body
    assert held.college == held.stages[-1].body


@pytest.mark.parametrize("seed", range(5))
def test_nobody_is_elected_by_the_college_that_names_it(seed: int) -> None:
    for stage in venice(seed).stages:
        if stage.kind == "election":
            assert not set(stage.body) & set(stage.college)
            assert set(stage.college) <= set(stage.barred)


@pytest.mark.parametrize("seed", range(5))
def test_all_four_naming_colleges_are_barred_from_the_forty_one(seed: int) -> None:
    held = venice(seed, members=FULL)
    namers = {member for stage in held.stages for member in stage.college}
    assert len([stage for stage in held.stages if stage.college]) == 4
    assert set(held.stages[-1].barred) == namers
    assert not namers & set(held.college)
    assert len(held.college) == 41


def test_the_doge_may_be_one_of_the_forty_one_or_not() -> None:
    found = {held.doge in held.college for held in map(venice, range(20))}
    assert found == {True, False}


@pytest.mark.parametrize(
    ("seats", "electors", "each"),
    [
        (40, 9, [5, 5, 5, 5, 4, 4, 4, 4, 4]),
        (25, 12, [3] + [2] * 11),
        (45, 9, [5] * 9),
        (41, 11, [4] * 8 + [3] * 3),
    ],
)
def test_each_elector_names_as_many_as_history_says(seats: int, electors: int, each: list[int]) -> None:
    assert nominations(seats, electors) == each


def test_electors_name_in_turn() -> None:
    """Nine electors who each like other people get 5, 5, 5, 5, 4, 4, 4, 4, 4 of theirs."""
    likes: dict[int, list[int]] = {}

    def names(elector: int, eligible: Sequence[int], random: Random) -> Iterable[int]:
        return likes.setdefault(elector, [who for who in eligible if who % 9 == len(likes)])

    held = elect(1000, agree, Random(3), names=names)
    college, body = held.stages[2].college, held.stages[2].body
    counts = [sum(member in likes[elector] for member in body) for elector in college]
    assert counts == [5, 5, 5, 5, 4, 4, 4, 4, 4]


def test_equal_seeds_are_equal_elections() -> None:
    assert venice(7) == venice(7)
    assert len({venice(seed).doge for seed in range(10)}) > 5


@pytest.mark.parametrize(
    ("college", "approvals", "of", "needed"),
    [
        *((9, 7, 9, 7), (12, 9, 12, 9), (11, 9, 11, 9), (41, 25, 41, 25), (3, 7, 9, 3), (3, 25, 41, 2)),
        *((4, 7, 9, 4), (5, 7, 9, 4), (2, 25, 41, 2), (1, 7, 9, 1), (4, 1, 9, 3)),
    ],
)
def test_a_threshold_is_a_supermajority_at_every_size(
    college: int, approvals: int, of: int, needed: int
) -> None:
    assert threshold(college, approvals, of) == needed


def test_from_forty_five_members_on_the_sizes_are_historical() -> None:
    assert scaled(45) == scaled(1000) == VENICE
    assert [step.size for step in scaled(3).steps] == [3] * 9
    assert [step.size for step in scaled(6).steps] == [4, 3, 5, 3, 3, 3, 6, 3, 5]


@settings(max_examples=60, deadline=None)
@given(members=st.integers(1, 60), seed=st.integers(0, 10**6), share=st.floats(0, 1))
def test_any_electorate_elects_somebody(members: int, seed: int, share: float) -> None:
    random = Random(seed)
    likes = [[i == j or random.random() < share for j in range(members)] for i in range(members)]
    held = elect(members, lambda elector, nominee: likes[elector][nominee], Random(seed))
    assert 0 <= held.doge < members
    for stage in held.stages:
        assert stage.body and len(set(stage.body)) == len(stage.body)
        if stage.kind == "election":
            assert len(stage.college) // 2 < stage.threshold <= len(stage.college)
            assert stage.taken <= stage.threshold
    assert len(held.college) // 2 < held.threshold
    assert held.approvals == sum(likes[elector][held.doge] for elector in held.college)


def test_one_and_two_members() -> None:
    assert elect(1, agree, Random(0)).doge == 0
    held = elect(2, lambda elector, nominee: elector == nominee, Random(0))
    assert held.deadlock and held.approvals == 1
    with pytest.raises(UsageError, match="at least one member"):
        elect(0, agree, Random(0))
    with pytest.raises(UsageError, match="at least one candidate"):
        elect(3, agree, Random(0), candidates=[])


def partisans(faction: int) -> tuple[object, object]:
    """Members below `faction` are A, the others B; everyone approves and names its own alone."""

    def approves(elector: int, nominee: int) -> bool:
        return (elector < faction) == (nominee < faction)

    def names(elector: int, eligible: Sequence[int], random: Random) -> Iterator[int]:
        for _ in range(20):
            nominee = random.choice(eligible)
            if approves(elector, nominee):
                yield nominee

    return approves, names


@pytest.mark.parametrize("seed", range(30))
def test_three_honest_or_two_and_a_liar_elect_an_honest_one(seed: int) -> None:
    """With three references the protocol comes down to a majority: a lone liar never wins."""
    approves, _ = partisans(1)
    assert elect(3, approves, Random(seed)).doge != 0  # type: ignore[arg-type]


def test_a_faction_with_the_threshold_names_everyone() -> None:
    approves, names = partisans(999)
    held = elect(1000, approves, Random(0), names=names)  # type: ignore[arg-type]
    assert all(max(stage.body) < 999 for stage in held.stages if stage.kind == "election")


def test_a_deadlocked_college_relaxes_to_a_bare_majority_and_says_so() -> None:
    approves, names = partisans(500)
    stages = [
        stage
        for seed in range(20)
        for stage in elect(1000, approves, Random(seed), names=names).stages  # type: ignore[arg-type]
        if stage.kind == "election"
    ]
    relaxed = [stage for stage in stages if stage.taken < stage.threshold]
    assert relaxed
    assert all(stage.taken > len(stage.college) // 2 or stage.shared for stage in relaxed)


def test_a_deadlocked_college_can_share_its_seats() -> None:
    approves, names = partisans(500)
    shared = [
        stage
        for seed in range(20)
        for stage in elect(1000, approves, Random(seed), names=names, deadlock="share").stages  # type: ignore[arg-type]
        if stage.shared
    ]
    assert shared
    mixed = [stage for stage in shared if 0 < sum(member < 500 for member in stage.body) < len(stage.body)]
    assert len(mixed) > len(shared) / 2


def test_a_deadlocked_election_can_be_held_again() -> None:
    alone = [elect(9, lambda i, j: i == j, Random(seed), deadlock="redraw") for seed in range(3)]
    assert all(held.draws == 10 and held.deadlock and held.approvals <= 1 for held in alone)
    assert venice(0, deadlock="redraw").draws == 1


def test_the_urn_takes_the_first_with_enough_and_all_at_once_the_most_approved() -> None:
    """Candidate 0 is everyone's, candidate 1 is that of two thirds; who names what is even."""

    def approves(elector: int, nominee: int) -> bool:
        return nominee == 0 or (nominee == 1 and elector % 3 > 0)

    def names(elector: int, eligible: Sequence[int], random: Random) -> Iterable[int]:
        return [elector % 2] if len(eligible) == 2 else random.sample(eligible, len(eligible))

    def doges(at_once: bool) -> set[int]:
        return {
            elect(300, approves, Random(seed), names=names, candidates=[0, 1], at_once=at_once).doge
            for seed in range(12)
        }

    assert (doges(at_once=False), doges(at_once=True)) == ({0, 1}, {0})


def test_no_two_of_one_family_are_drawn_at_a_lot() -> None:
    families = [member // 2 for member in range(COUNCIL)]
    held = venice(2, families=families)
    lots = [stage for stage in held.stages if stage.kind == "lot"]
    for stage in lots[:2]:
        drawn = [families[member] for member in stage.body]
        assert not stage.lifted and len(set(drawn)) == len(drawn)
    assert any(stage.lifted for stage in venice(2, families=[0] * COUNCIL).stages)
