"""The election of the Doge of Venice (1268-1797): lots and supermajority elections by turns.

Chance keeps a faction from planning who will decide; supermajorities keep one from deciding alone. Wolf et al. 2025
(arXiv:2503.05856) take their defences from it; Mowbray and Gollmann 2007 (HPL-2007-28R1) analyse it. Members are
numbers from 0; whom they name and approve is up to two callbacks, and all chance comes from one seeded generator.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, islice
from random import Random
from typing import Literal, NamedTuple

from moa.errors import UsageError

Approves = Callable[[int, int], bool]
"""Whether a member (first) approves of another or of itself (second)."""
Names = Callable[[int, Sequence[int], Random], Iterable[int]]
"""Those of the eligible whom a member would name, in its order of preference; those it leaves out it never names."""
Deadlock = Literal["relax", "share", "redraw"]
"""Where no supermajority agrees: lower the threshold, let members drawn by lot name, or begin again."""

FEW = 3
"""A college has no fewer members than these where there are that many, so that nobody decides alone."""
REDRAWS = 10


class Step(NamedTuple):
    """One operation: draw `size` members by lot, or have the body elect `size` with `approvals` of `of` votes each."""

    kind: Literal["lot", "election"]
    size: int
    approvals: int = 0
    of: int = 1
    barred: Literal["namers", "all namers"] = "namers"
    """Who cannot be elected: the naming college, or every college that has named so far."""


class Protocol(NamedTuple):
    """The steps, and the `approvals` of `of` votes that the Doge needs in the last body."""

    steps: tuple[Step, ...]
    approvals: int
    of: int


VENICE = Protocol(
    (
        Step("lot", 30),
        Step("lot", 9),
        Step("election", 40, 7, 9),
        Step("lot", 12),
        Step("election", 25, 9, 12),
        Step("lot", 9),
        Step("election", 45, 7, 9),
        Step("lot", 11),
        Step("election", 41, 9, 11, "all namers"),
    ),
    25,
    41,
)
FULL = 45 + 9 + 12 + 9 + 11
"""Members from which on every body of Venice has its historical size, whoever is barred."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What one step did: the body that came of it, and how.

    `college` are those who voted (none, for a lot), `threshold` the approvals that were asked of them and `taken` what
    they came down to; `lifted` says that a rule (barred namers, or families at a lot) had to be given up for want of members.
    """

    kind: Literal["lot", "election"]
    body: tuple[int, ...]
    college: tuple[int, ...] = ()
    barred: tuple[int, ...] = ()
    threshold: int = 0
    taken: int = 0
    shared: bool = False
    """Whether members drawn by lot named whom they liked, because the college agreed on nobody."""
    lifted: bool = False


@dataclass(frozen=True, slots=True)
class Election:
    """The Doge, the votes in the last body, and every stage that led to it.

    `deadlock` says that nobody had the supermajority of the last body: `taken` is then the lower number of
    approvals that was enough. `draws` counts the protocols that were begun.
    """

    doge: int
    approvals: int
    threshold: int
    taken: int
    college: tuple[int, ...]
    stages: tuple[Stage, ...]
    draws: int = 1

    @property
    def deadlock(self) -> bool:
        """Whether the last body found no supermajority."""
        return self.taken < self.threshold


def scaled(members: int) -> Protocol:
    """Venice for any number of members.

    From 45 members on, sizes and thresholds are the historical ones. With fewer, every size is multiplied by
    members / 45 and rounded, to no fewer than three (or all members, where there are not three). Thresholds are
    always those parts of the college that votes, rounded up, and more than half of it: 7/9 of three is three.
    Members who may not be elected make a body smaller; where fewer than three (or than the body) are left, the bar is lifted.
    """
    if members < 1:
        raise UsageError("an election needs at least one member")

    def size(of: int) -> int:
        return min(members, max(FEW, round(of * min(1.0, members / 45))))

    steps = tuple(step._replace(size=size(step.size)) for step in VENICE.steps)
    return VENICE._replace(steps=steps)


def threshold(college: int, approvals: int, of: int) -> int:
    """That part of a college, rounded up, and always more than half of it."""
    return max(-(-college * approvals // of), college // 2 + 1)


def nominations(seats: int, electors: int) -> list[int]:
    """How many each elector names, the first ones one more: 40 by 9 is 5, 5, 5, 5, 4, 4, 4, 4, 4."""
    each, more = divmod(seats, electors)
    return [each + (place < more) for place in range(electors)]


def elect(
    members: int,
    approves: Approves,
    random: Random,
    *,
    names: Names | None = None,
    candidates: Sequence[int] | None = None,
    families: Sequence[Hashable] | None = None,
    protocol: Protocol | None = None,
    deadlock: Deadlock = "relax",
    at_once: bool = False,
) -> Election:
    """Elect one of `candidates` (default: any member) by the protocol (default: `scaled(members)`).

    Args:
        members: How many there are, numbered from 0.
        approves: Whether the first member approves of the second (or of itself).
        random: Where every lot comes from.
        names: Whom a member names; by default everybody, those it approves of first, each in random order.
        candidates: Who may become Doge.
        families: The family of each member: no two of one family are drawn at a lot, as far as there are enough.
        protocol: The steps.
        deadlock: `relax` lowers the threshold of a college step by step to a bare majority until three (or as
            many as it needs) are elected; `share` fills its seats with those named by members drawn by lot, a faction's
            share on average; `redraw` relaxes colleges, and holds up to ten elections anew where the last body
            is deadlocked. What remains deadlocked in the end goes to the most approved of those named.
        at_once: Vote on all names together and take the most approved, as in later practice; otherwise names are
            drawn from an urn and the first with enough approvals wins. Ties fall to the one drawn first.

    Raises:
        UsageError: when there are no members or no candidates.
    """
    steps = protocol or scaled(members)
    who = tuple(range(members)) if candidates is None else tuple(candidates)
    if not who:
        raise UsageError("an election needs at least one candidate")
    run = _Run(members, approves, names or by_approval(approves), random, families, deadlock)
    held = run.hold(steps, who, at_once)
    for draw in range(2, 1 + (REDRAWS if deadlock == "redraw" else 1)):
        if not held.deadlock:
            break
        held = replace(run.hold(steps, who, at_once), draws=draw)
    return held


def by_approval(approves: Approves) -> Names:
    """Naming everybody, those approved of first, in random order."""

    def names(elector: int, eligible: Sequence[int], random: Random) -> Iterable[int]:
        order = random.sample(eligible, len(eligible))
        return sorted(order, key=lambda nominee: not approves(elector, nominee))

    return names


@dataclass(frozen=True, slots=True)
class _Run:
    members: int
    approves: Approves
    names: Names
    random: Random
    families: Sequence[Hashable] | None
    deadlock: Deadlock

    def hold(self, protocol: Protocol, candidates: Sequence[int], at_once: bool) -> Election:
        """One election from the first lot to the Doge."""
        body: tuple[int, ...] = tuple(range(self.members))
        namers: set[int] = set()
        stages: list[Stage] = []
        for step in protocol.steps:
            if step.kind == "lot":
                stages.append(self._lot(body, step.size))
            else:
                barred = namers | set(body) if step.barred == "all namers" else body
                namers.update(body)
                stages.append(self._election(body, step, barred))
            body = stages[-1].body
        return self._ballot(body, candidates, protocol, tuple(stages), at_once)

    def _lot(self, body: Sequence[int], size: int) -> Stage:
        order = self.random.sample(body, len(body))
        drawn = order if self.families is None else _distinct(order, self.families)
        lifted = len(drawn) < min(size, len(order))
        if lifted:
            drawn = [*drawn, *(member for member in order if member not in drawn)]
        return Stage("lot", tuple(drawn[:size]), lifted=lifted)

    def _election(self, college: tuple[int, ...], step: Step, barred: Collection[int]) -> Stage:
        bar = frozenset(barred)
        eligible = [member for member in range(self.members) if member not in bar]
        lifted = len(eligible) < min(FEW, step.size)
        if lifted:
            eligible = list(range(self.members))
        asked = threshold(len(college), step.approvals, step.of)
        seats = min(step.size, len(eligible))
        body, taken = self._agreed(college, eligible, seats, asked)
        shared = not body
        if shared:
            body = self._shared(college, eligible, seats)
        return Stage(
            "election", tuple(body), college, tuple(sorted(bar)), asked, taken, shared=shared, lifted=lifted
        )

    def _agreed(
        self, college: Sequence[int], eligible: Sequence[int], seats: int, asked: int
    ) -> tuple[list[int], int]:
        """Whom the college elects, and with how many approvals; nobody, where it agrees on nobody."""
        least = asked if self.deadlock == "share" else len(college) // 2 + 1
        best: list[int] = []
        taken = asked
        for needed in range(asked, least - 1, -1):
            elected = self._elected(college, eligible, seats, needed)
            if len(elected) > len(best) or not best:
                best, taken = elected, needed
            if len(best) >= min(FEW, seats):
                break
        return best, taken

    def _elected(self, college: Sequence[int], eligible: Sequence[int], seats: int, needed: int) -> list[int]:
        """Each elector names in turn until its own have the approvals; what it cannot fill falls to the next."""
        elected: list[int] = []
        heard: set[int] = set()
        turns = zip(college, accumulate(nominations(seats, len(college))), strict=True)
        for elector, due in (*turns, *((elector, seats) for elector in college)):
            if len(elected) == seats:
                break
            for nominee in self.names(elector, eligible, self.random):
                if len(elected) >= due:
                    break
                if nominee not in heard:
                    heard.add(nominee)
                    if self._votes(college, nominee) >= needed:
                        elected.append(nominee)
        return elected

    def _shared(self, college: Sequence[int], eligible: Sequence[int], seats: int) -> list[int]:
        """Seats, each of which a member drawn by lot gives to the first it likes that has none."""
        seated: dict[int, None] = {}
        for _ in range(seats):
            liked = self.names(self.random.choice(college), eligible, self.random)
            first = next((nominee for nominee in liked if nominee not in seated), None)
            if first is None:
                first = self.random.choice([member for member in eligible if member not in seated])
            seated[first] = None
        return list(seated)

    def _ballot(
        self,
        body: tuple[int, ...],
        candidates: Sequence[int],
        protocol: Protocol,
        stages: tuple[Stage, ...],
        at_once: bool,
    ) -> Election:
        """Each member of the last body names one; the names are voted on in the order of an urn."""
        named = dict.fromkeys(
            name for elector in body for name in islice(self.names(elector, candidates, self.random), 1)
        )
        urn = self.random.sample(list(named) or candidates, len(named) or len(candidates))
        asked = threshold(len(body), protocol.approvals, protocol.of)
        votes = {name: self._votes(body, name) for name in urn}
        most = max(votes.values())
        taken = min(asked, most)
        enough = most if at_once else taken
        doge = next(name for name in urn if votes[name] >= enough)
        return Election(doge, votes[doge], asked, taken, body, stages)

    def _votes(self, college: Sequence[int], nominee: int) -> int:
        return sum(self.approves(elector, nominee) for elector in college)


def _distinct(order: Sequence[int], families: Sequence[Hashable]) -> list[int]:
    """The first of each family."""
    first: dict[Hashable, int] = {}
    for member in order:
        first.setdefault(families[member], member)
    return list(first.values())
