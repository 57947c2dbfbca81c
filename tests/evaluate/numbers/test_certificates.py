"""Certificates of votes over subsets: never violated by any adversary we can think of, and tight."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from itertools import combinations, product
from math import comb
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moa.errors import UsageError
from moa.evaluate.numbers.certificates import (
    Certificate,
    Subset,
    certifiable,
    certified_curve,
    certified_rate,
    certify,
    choose_size,
    size_table,
)
from moa.nodes.select_vote import Majority
from tests.nodes.scripted import Context, said

Ballots = Sequence[Hashable | None]


def of_size(references: int, size: int) -> list[Subset]:
    return list(combinations(range(references), size))


def every(references: int) -> list[Subset]:
    return [subset for size in range(1, references + 1) for subset in of_size(references, size)]


def winner(ballots: Ballots) -> Hashable:
    """The majority selector's rule: most votes, then the answer that came first."""
    votes = Counter(ballot for ballot in ballots if ballot is not None)
    return max(votes, key=lambda answer: votes[answer]) if votes else None


def rewritten(
    subsets: Sequence[Subset], ballots: Ballots, corrupted: set[int], random: Random
) -> Iterator[list[Hashable | None]]:
    """What an adversary may make of the ballots it reaches: every single rival, a new one, nothing, and mixtures."""
    touched = [bool(corrupted & set(subset)) for subset in subsets]
    options = [*dict.fromkeys(ballots), "new", None]
    for option in options:
        yield [option if hit else ballot for hit, ballot in zip(touched, ballots, strict=True)]
    for _ in range(2):
        yield [
            random.choice(options) if hit else ballot for hit, ballot in zip(touched, ballots, strict=True)
        ]


def changed(subsets: Sequence[Subset], ballots: Ballots, references: int, k: int, random: Random) -> bool:
    """Whether some k corrupted references change the winner, all sets of them tried."""
    right = winner(ballots)
    return any(
        winner(forged) != right
        for corrupted in combinations(range(references), k)
        for forged in rewritten(subsets, ballots, set(corrupted), random)
    )


def an_election(random: Random) -> tuple[int, list[Subset], list[str | None]]:
    """A vote of three to six references with one favourite, some unread ballots, and any kind of subsets."""
    references = random.randint(3, 6)
    subsets = random.choice(
        [every(references), of_size(references, 1), of_size(references, random.randint(1, references))]
    )
    if random.random() < 0.3:
        subsets = random.sample(subsets, random.randint(1, len(subsets)))
    lean = random.choice([1, 4, 30])
    ballots = random.choices(["A", "B", "C", None], [lean, 1, 1, 0.3], k=len(subsets))
    return references, subsets, ballots


def test_none_of_ten_thousand_certificates_is_violated_and_each_is_tight() -> None:
    random = Random(5)
    proved: Counter[int] = Counter()
    tight = 0
    for _ in range(10_000):
        references, subsets, ballots = an_election(random)
        found = certify(subsets, ballots, references)
        if found is None:
            assert winner(ballots) is None
            continue
        assert found.answer == winner(ballots)
        proved[found.k] += 1
        # Changing fewer ballots is always possible, so k corrupted references stand for all smaller sets.
        if found.k:
            assert not changed(subsets, ballots, references, found.k, random)
        if found.tight and proved.total() % 10 == 0:
            assert changed(subsets, ballots, references, found.k + 1, random)
            tight += 1
    assert proved[0] and proved[1] > 300 and proved[2] > 100
    assert tight > 500


def test_every_way_to_write_the_ballots_of_a_small_vote_is_tried() -> None:
    random = Random(1)
    for _ in range(30):
        subsets = of_size(4, 1)
        ballots = random.choices(["A", "B", None], [4, 1, 0.3], k=4)
        found = certify(subsets, ballots, 4)
        if found is None:
            continue
        for corrupted in combinations(range(4), found.k):
            for forged in product(["A", "B", "C", None], repeat=len(corrupted)):
                written = list(ballots)
                for place, ballot in zip(corrupted, forged, strict=True):
                    written[place] = ballot
                assert winner(written) == found.answer


async def test_the_vote_that_is_certified_is_the_majority_selectors() -> None:
    random = Random(9)
    for _ in range(100):
        _, _, ballots = an_election(random)
        said_so = said(*("I cannot say" if ballot is None else f"Answer: {ballot}" for ballot in ballots))
        [kept] = await Majority(answer="choice").select(said_so, Context())
        assert (kept.label if winner(ballots) else None) == winner(ballots)


def test_ties_count_against_the_winner_unless_it_is_provably_first() -> None:
    singles = of_size(4, 1)
    assert k_of(certify(singles, ["A", "A", "A", "B"], 4)) == 0
    assert k_of(certify(singles, ["A", "A", "A", None], 4)) == 1
    # One corrupted ballot ties A A with B B, and the first ballot may be that of the B.
    assert k_of(certify([(3,), (0,), (1,), (2,)], ["A", "A", "A", "B"], 4)) == 0
    # Here A A with B B is the most that both can reach, and the two A that nobody reaches come first.
    first: list[Subset] = [(), (), (0,), (1,)]
    assert k_of(certify(first, ["A", "A", "A", "B"], 2)) == 2
    assert k_of(certify(first, ["A", "A", "A", "B"], 2, ties="random")) == 0
    assert k_of(certify([(0,), (1,), (), ()], ["A", "B", "A", "A"], 2)) == 0


def k_of(found: Certificate | None) -> int:
    assert found is not None
    return found.k


def test_all_subsets_certify_nothing_and_one_size_does() -> None:
    """One reference is in more than half of the 2^n - 1 subsets: Dropout & Vote of the paper proves nothing."""
    for references in range(2, 7):
        assert certifiable(every(references), references) == 0
    assert certifiable(of_size(5, 1), 5) == 2
    assert certifiable(of_size(5, 2), 5) == 1
    assert certifiable(of_size(7, 2), 7) == 1
    assert certifiable(of_size(9, 2), 9) == 2


@pytest.mark.parametrize("references", [3, 5, 7])
def test_the_table_agrees_with_the_enumeration(references: int) -> None:
    for row in size_table(references):
        subsets = of_size(references, row.size)
        assert (row.calls, row.certifiable) == (len(subsets), certifiable(subsets, references))


@pytest.mark.parametrize(("references", "size", "k"), [(5, 1, 1), (7, 2, 1), (9, 2, 2), (6, 1, 2)])
def test_the_share_that_is_needed_is_enough_and_no_less_is(references: int, size: int, k: int) -> None:
    """For the worst votes: against one rival, with the ballots that any k reach all the winner's."""
    row = size_table(references, k)[size - 1]
    assert row.share is not None
    subsets = of_size(references, size)
    needed = round(row.share * row.calls)
    random = Random(0)
    for votes, enough in ((needed, True), (needed - 1, False)):
        ks = []
        for _ in range(200):
            ballots = ["A"] * votes + ["B"] * (row.calls - votes)
            random.shuffle(ballots)
            ks.append(k_of(certify(subsets, ballots, references)))
        assert (min(ks) >= k) >= enough


def test_the_size_for_a_wanted_k() -> None:
    assert [choose_size(9, k).size for k in (0, 1, 2, 3, 4)] == [9, 4, 2, 1, 1]
    assert choose_size(9, 1).calls == comb(9, 4)
    with pytest.raises(UsageError, match="withstands 3 corrupted ones: take at least 7 references"):
        choose_size(6, 3)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_the_bound_by_counting_never_exceeds_the_exact_certificate(seed: int) -> None:
    references, subsets, ballots = an_election(Random(seed))
    exact, bound = certify(subsets, ballots, references), certify(subsets, ballots, references, most_sets=0)
    if exact is not None and bound is not None:
        assert bound.k <= exact.k
        assert not bound.tight or bound.k == exact.k


def test_the_bound_is_exact_for_a_unanimous_vote_and_serves_where_sets_are_many() -> None:
    subsets = of_size(7, 2)
    for most in (0, 10**6):
        assert k_of(certify(subsets, ["A"] * 21, 7, most_sets=most)) == 1
    found = certify(of_size(40, 1), ["A"] * 40, 40, most_sets=1000)
    assert found is not None and (found.k, found.tight) == (19, False)


def test_an_agent_that_reaches_several_references_corrupts_all_of_them() -> None:
    subsets, ballots = of_size(5, 1), ["A"] * 5
    assert k_of(certify(subsets, ballots, 5)) == 2
    assert k_of(certify(subsets, ballots, 5, agents=[{0, 1}, {2}, {3}, {4}])) == 1
    assert k_of(certify(subsets, ballots, 5, agents=[{0, 1, 2, 3, 4}])) == 0


def test_an_unread_ballot_has_no_vote_but_may_become_the_rivals() -> None:
    found = certify(of_size(5, 1), ["A", "A", "A", None, None], 5)
    assert found is not None
    assert (found.votes, found.margin, found.unread, found.k) == (3, 3, 2, 1)
    assert certify(of_size(2, 1), [None, None], 2) is None


def test_certified_accuracy() -> None:
    certificates, correct = [2, 1, 0, None], [True, False, True, None]
    assert [certified_rate(certificates, k).value for k in range(4)] == [0.75, 0.5, 0.25, 0]
    curve = certified_curve(certificates, correct=correct)
    assert [point.value for point in curve] == [0.5, 0.25, 0.25, 0]
    assert all(point.low <= point.value <= point.high for point in curve)
    with pytest.raises(UsageError, match="4 certificates and 1 verdicts"):
        certified_rate(certificates, 0, correct=[True])


def test_mistakes_name_their_place() -> None:
    with pytest.raises(UsageError, match=r"subsets\[1\] is \(3,\): there are 3 references"):
        certify([(0,), (3,)], ["A", "A"], 3)
    with pytest.raises(UsageError, match="1 subsets and 2 ballots"):
        certify([(0,)], ["A", "A"], 3)
    with pytest.raises(UsageError, match=r"agents\[0\] is \[7\]"):
        certify([(0,)], ["A"], 1, agents=[{7}])
