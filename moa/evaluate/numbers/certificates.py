"""How many corrupted references provably cannot change a vote over subsets of references.

One aggregation of each subset gives a ballot, and the commonest answer wins (Dropout & Vote: Wolf et al. 2025,
arXiv:2503.05856). A corrupted reference reaches only the ballots of subsets that hold it, as in the certificates of
deep partition aggregation and randomised ablation (Levine and Feizi 2020, arXiv:1911.09076 and 2006.14768). We let
the adversary choose the references and write every ballot it reaches.

Assumed: a ballot depends on nothing but the references of its subset (so those of untouched subsets stay as they
are: replies come from the store, or the model is deterministic); the final aggregator and the vote are honest; and
a reference counts as corrupted as soon as anyone it heard is. An agent of an earlier layer that all references hear
corrupts all of them: `agents` says which references each agent reaches.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, islice
from math import comb
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from moa.errors import UsageError
from moa.evaluate.numbers.intervals import LEVEL, Estimate, Labels, bounded_mean

Subset = tuple[int, ...]
Ties = Literal["first", "random"]
"""To whom the vote gives a tie: the answer whose first ballot came first, or one by chance."""
_Bools = npt.NDArray[np.bool_]

MOST_SETS = 200_000
"""Sets of agents that are tried one by one; where there are more, the bound by counting decides."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """Any `k` agents may be corrupted and `answer` still wins.

    `tight` says that some k + 1 agents can change it (an exact certificate below all agents, ties by the order of
    ballots); otherwise more may be safe than is proved here. `votes` and `margin` (over the strongest rival) are
    numbers of ballots.
    """

    k: int
    answer: Hashable
    votes: int
    margin: int
    ballots: int
    unread: int
    tight: bool


class SubsetSize(NamedTuple):
    """What voting over all subsets of one size costs and what it can prove.

    `certifiable` is the k of a unanimous vote, the largest there can be; `share` the least share of all ballots
    that two-way votes need to be certified for the wanted k (None: not even all).
    """

    size: int
    calls: int
    certifiable: int
    share: float | None


def certify(
    subsets: Sequence[Subset],
    ballots: Sequence[Hashable | None],
    references: int,
    *,
    ties: Ties = "first",
    agents: Sequence[Collection[int]] | None = None,
    most_sets: int = MOST_SETS,
) -> Certificate | None:
    """The largest number of corrupted agents that cannot change the winner of a vote; None where nothing was read.

    Every set of agents is tried, the smallest first: the ballots it reaches all go to the winner's strongest
    rival (a new answer included), which is the best that an adversary can do. A tie counts as lost unless the
    winner's first untouched ballot comes before any that the rival can have. Where a size has more than `most_sets`
    sets, the winner has to lead by more than twice the ballots that so many agents can reach at most.

    Args:
        subsets: The references of each ballot, as positions from 0, in the order of the vote.
        ballots: The answer of each; None for an unread or failed one, which has no vote but may become the rival's.
        references: How many references there are.
        ties: How the vote breaks them; with `random` ones, `answer` is the first of those in front.
        agents: The references that each agent reaches; by default each reference is an agent of its own.
        most_sets: Sets of one size that are tried at most.

    Raises:
        UsageError: when a ballot has no subset, or a subset or an agent names a reference that is not there.
    """
    groups = _groups(references, agents)
    vote = _vote(subsets, ballots, references, ties)
    if vote is None:
        return None
    k = 0
    exact = True
    while k < len(groups):
        exact = comb(len(groups), k + 1) <= most_sets
        if exact and not all(_holds(vote, touched) for touched in _touched(vote.subsets, groups, k + 1)):
            break
        if not exact and not vote.margin > 2 * _reach(vote.subsets, groups, k + 1):
            break
        k += 1
    tight = exact and ties == "first" and k < len(groups)
    return Certificate(
        k, vote.answer, vote.votes, vote.margin, len(ballots), sum(b is None for b in ballots), tight
    )


def certifiable(
    subsets: Sequence[Subset],
    references: int,
    *,
    agents: Sequence[Collection[int]] | None = None,
    most_sets: int = MOST_SETS,
) -> int:
    """The certificate of a unanimous vote over these subsets: what no vote over them can exceed."""
    found = certify(subsets, [0] * len(subsets), references, agents=agents, most_sets=most_sets)
    return 0 if found is None else found.k


def size_table(references: int, k: int = 1) -> list[SubsetSize]:
    """Every size of subsets, with its calls and what it certifies: size s of n references has C(n, s) ballots.

    k references reach C(n, s) - C(n-k, s) of them, so a unanimous vote holds while these are fewer than half. All
    2^n - 1 subsets together certify nothing: one reference is in more than half of them.
    """
    return [_size(references, size, k) for size in range(1, references + 1)]


def choose_size(references: int, k: int) -> SubsetSize:
    """The largest size whose unanimous votes are certified for `k` corrupted references.

    Larger subsets show the aggregator more at a time, smaller ones keep more ballots out of reach.

    Raises:
        UsageError: when no size is: k must be below half of the references.
    """
    enough = [row for row in size_table(references, k) if row.certifiable >= k]
    if k < 0 or not enough:
        raise UsageError(
            f"no vote over {references} references withstands {k} corrupted ones: "
            f"take at least {2 * max(k, 0) + 1} references"
        )
    return enough[-1]


def certified_rate(
    certificates: Sequence[int | None],
    k: int,
    *,
    correct: Sequence[bool | None] | None = None,
    questions: Labels | None = None,
    level: float = LEVEL,
) -> Estimate:
    """The share of all questions whose answer is certified for `k` agents; with `correct`, right as well.

    The second is the certified accuracy at k: what no k corrupted agents can push the accuracy below. A question
    without a certificate (None) counts as not certified, an unread answer as wrong.

    Raises:
        UsageError: when there are no questions, or not one verdict for each.
    """
    if correct is not None and len(correct) != len(certificates):
        raise UsageError(
            f"{len(certificates)} certificates and {len(correct)} verdicts: give one of each a question"
        )
    right = [True] * len(certificates) if correct is None else [bool(verdict) for verdict in correct]
    held = [found is not None and found >= k for found in certificates]
    values = [float(safe and good) for safe, good in zip(held, right, strict=True)]
    return bounded_mean(values, clusters=questions, level=level)


def certified_curve(
    certificates: Sequence[int | None],
    *,
    correct: Sequence[bool | None] | None = None,
    questions: Labels | None = None,
    level: float = LEVEL,
) -> list[Estimate]:
    """`certified_rate` at k = 0, 1, ... up to one more than the largest certificate."""
    most = max((found for found in certificates if found is not None), default=0)
    return [
        certified_rate(certificates, k, correct=correct, questions=questions, level=level)
        for k in range(most + 2)
    ]


@dataclass(frozen=True, slots=True)
class _Vote:
    subsets: tuple[Subset, ...]
    answer: Hashable
    votes: int
    margin: int
    winner: _Bools
    """(ballots,): those of the winner."""
    rivals: _Bools
    """(answers, ballots): those of each other answer, and of one that nobody gave."""
    by_order: bool


def _vote(
    subsets: Sequence[Subset], ballots: Sequence[Hashable | None], references: int, ties: Ties
) -> _Vote | None:
    if len(subsets) != len(ballots):
        raise UsageError(f"{len(subsets)} subsets and {len(ballots)} ballots: give one of each")
    for place, subset in enumerate(subsets):
        if any(not 0 <= reference < references for reference in subset):
            raise UsageError(f"subsets[{place}] is {subset}: there are {references} references, from 0")
    answers = list(dict.fromkeys(ballot for ballot in ballots if ballot is not None))
    if not answers:
        return None
    cast = np.array([[ballot is not None and ballot == answer for ballot in ballots] for answer in answers])
    counts = cast.sum(axis=1)
    first = int(counts.argmax())
    rivals = np.vstack([np.delete(cast, first, axis=0), np.zeros((1, len(ballots)), dtype=np.bool_)])
    votes = int(counts[first])
    margin = votes - int(rivals.sum(axis=1).max())
    by_order = ties == "first"
    return _Vote(tuple(map(tuple, subsets)), answers[first], votes, margin, cast[first], rivals, by_order)


def _holds(vote: _Vote, touched: _Bools) -> bool:
    """Whether the winner wins against every rival in every row of touched ballots (sets, ballots)."""
    kept = vote.winner & ~touched
    own = kept.sum(axis=1)[:, None]
    theirs = touched[:, None, :] | vote.rivals
    against = theirs.sum(axis=2)
    safe = own > against
    if vote.by_order:
        # Equal votes go to the earlier answer; a winner without a ballot is never first.
        earlier = _first(kept)[:, None] < _first(theirs)
        safe |= (own == against) & earlier
    return bool(safe.all())


def _first(ballots: _Bools) -> npt.NDArray[np.int64]:
    """The place of the first ballot along the last axis; their number where there is none."""
    return np.asarray(np.where(ballots.any(axis=-1), ballots.argmax(axis=-1), ballots.shape[-1]))


def _groups(references: int, agents: Sequence[Collection[int]] | None) -> tuple[frozenset[int], ...]:
    if agents is None:
        return tuple(frozenset([reference]) for reference in range(references))
    for place, reached in enumerate(agents):
        if any(not 0 <= reference < references for reference in reached):
            raise UsageError(
                f"agents[{place}] is {sorted(reached)}: there are {references} references, from 0"
            )
    return tuple(map(frozenset, agents))


def _touched(subsets: tuple[Subset, ...], groups: tuple[frozenset[int], ...], k: int) -> Iterator[_Bools]:
    """The ballots that each set of k agents reaches, a block of sets at a time."""
    reached = _reached(subsets, groups)
    sets = combinations(range(len(groups)), k)
    size = max(1, 200_000 // max(1, len(subsets)))
    while block := list(islice(sets, size)):
        yield reached[np.array(block)].any(axis=1)


@lru_cache(maxsize=64)
def _reached(subsets: tuple[Subset, ...], groups: tuple[frozenset[int], ...]) -> _Bools:
    """(agents, ballots): whether the agent reaches a reference of the ballot's subset."""
    return np.array(
        [[not group.isdisjoint(subset) for subset in subsets] for group in groups], dtype=np.bool_
    )


def _reach(subsets: tuple[Subset, ...], groups: tuple[frozenset[int], ...], k: int) -> int:
    """Ballots that any k agents can reach, at most: the sum of the k that reach the most, and no more than all.

    Where the ballots are all C(n, s) subsets of one size and each agent is one reference, it is
    C(n, s) - C(n-k, s), which is exact.
    """
    sizes = {len(subset) for subset in subsets}
    if len(sizes) == 1 and all(len(group) == 1 for group in groups):
        [size] = sizes
        if len(set(subsets)) == len(subsets) == comb(len(groups), size):
            return comb(len(groups), size) - comb(len(groups) - k, size)
    each = np.sort(_reached(subsets, groups).sum(axis=1))[::-1]
    return min(int(each[:k].sum()), len(subsets))


def _size(references: int, size: int, k: int) -> SubsetSize:
    calls = comb(references, size)
    held = [j for j in range(references + 1) if 2 * comb(references - j, size) > calls]
    share = (calls // 2 + calls - comb(references - k, size) + 1) / calls if k <= references else 2.0
    return SubsetSize(size, calls, max(held), share if share <= 1 else None)
