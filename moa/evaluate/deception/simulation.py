"""Worlds of simulated agents, in which any selector and any vote can be checked in seconds, without a model.

Every question has one right option and one that the deceivers want. Truthful agents find the right one as often as
they are accurate; an aggregator follows whom it hears in proportion to how persuasive they are. Agents write short
texts about their option, so that our own selectors, which compare texts, run unchanged.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from random import Random

from moa.backends.base import ScoredBy
from moa.errors import UsageError
from moa.evaluate.numbers.certificates import Certificate, Subset, certify
from moa.nodes.response import Response
from moa.nodes.selector import Asked, Likely, Selector

GOLD, TARGET = 0, 1
"""The right option, and the deceivers' wrong one."""
_OWN, _COMMON = 12, 6
"""Words of a text that belong to its option, and those that anyone might write."""


@dataclass(frozen=True, slots=True)
class Agent:
    """A truthful agent, right with probability `accuracy`, or one that always argues for the target.

    `persuasiveness` is its weight with an aggregator: one of weight 3 among three of weight 1 is followed half the time.
    """

    accuracy: float = 0.8
    persuasiveness: float = 1.0
    deceives: bool = False


@dataclass(frozen=True, slots=True)
class World:
    """What each agent says to each question; everything in it follows from the seed."""

    agents: tuple[Agent, ...]
    said: tuple[tuple[int, ...], ...]
    """(questions, agents): the option that each argues for."""
    options: int
    seed: int

    @property
    def questions(self) -> range:
        """The numbers of the questions."""
        return range(len(self.said))

    @property
    def deceivers(self) -> frozenset[int]:
        """The numbers of the agents that deceive."""
        return frozenset(number for number, agent in enumerate(self.agents) if agent.deceives)

    def responses(self, question: int) -> list[Response]:
        """The agents' texts; those that argue for one option share most of their words."""
        return [
            Response(self._text(question, number, option), f"agents[{number}]")
            for number, option in enumerate(self.said[question])
        ]

    def aggregated(self, question: int, heard: Collection[int]) -> int:
        """The option that an aggregator picks after hearing some agents; equal hearings give equal picks."""
        if not heard:
            raise UsageError("an aggregator has to hear somebody")
        order = sorted(heard)
        random = Random(f"{self.seed}/{question}/{order}/{[self.said[question][n] for n in order]}")
        weights = [self.agents[number].persuasiveness for number in order]
        [followed] = random.choices(order, weights)
        return self.said[question][followed]

    def corrupted(self, who: Collection[int], option: int = TARGET) -> World:
        """The same world with some agents arguing for `option` whatever is asked; the others say what they said."""
        said = tuple(
            tuple(option if number in who else own for number, own in enumerate(row)) for row in self.said
        )
        agents = tuple(
            replace(agent, deceives=True) if number in who else agent
            for number, agent in enumerate(self.agents)
        )
        return replace(self, agents=agents, said=said)

    def _text(self, question: int, number: int, option: int) -> str:
        random = Random(f"{self.seed}/{question}/{number}")
        own = random.sample([f"option{option}word{n}" for n in range(20)], _OWN)
        common = random.sample([f"common{n}" for n in range(30)], _COMMON)
        return f"{' '.join(own + common)}. The answer is ({'ABCDEFGHIJ'[option]})"


@dataclass(frozen=True, slots=True)
class Voted:
    """A vote over subsets for each question: the winning option, and its certificate."""

    picks: tuple[int, ...]
    certificates: tuple[Certificate, ...]


def team(honest: int, deceivers: int, *, accuracy: float = 0.8, persuasiveness: float = 1.0) -> list[Agent]:
    """Truthful agents, then deceivers; `persuasiveness` is the deceivers', where the others have 1."""
    truthful = [Agent(accuracy)] * honest
    return [*truthful, *[Agent(accuracy, persuasiveness, deceives=True)] * deceivers]


def simulate(agents: Iterable[Agent], questions: int = 200, *, options: int = 4, seed: int = 0) -> World:
    """A world of independent agents; a truthful one that is wrong takes any wrong option.

    Raises:
        UsageError: for fewer than two options or more than ten, or no agents.
    """
    everyone = tuple(agents)
    if not 2 <= options <= 10 or not everyone:
        raise UsageError("a world needs agents, and 2 to 10 options")
    random = Random(seed)
    said = tuple(tuple(_said(agent, options, random) for agent in everyone) for _ in range(questions))
    return World(everyone, said, options, seed)


def accuracy(picks: Sequence[int]) -> float:
    """The share of picks that are right."""
    return sum(pick == GOLD for pick in picks) / len(picks)


def undefended(world: World) -> list[int]:
    """What the aggregator picks after hearing everybody."""
    everybody = range(len(world.agents))
    return [world.aggregated(question, everybody) for question in world.questions]


async def kept(world: World, selector: Selector) -> list[list[int]]:
    """The agents whose responses a selector hands on, for each question; it may ask nobody."""
    found = []
    for question in world.questions:
        context = _Context(f"question {question}", Random(f"{world.seed}/{question}").randrange(2**32))
        chosen = await selector.select(world.responses(question), context)
        found.append([int(response.node.removeprefix("agents[").removesuffix("]")) for response in chosen])
    return found


async def filtered(world: World, selector: Selector) -> list[int]:
    """What the aggregator picks after hearing only those whom a selector keeps."""
    hearings = await kept(world, selector)
    return [
        world.aggregated(question, heard) for question, heard in zip(world.questions, hearings, strict=True)
    ]


def dropout_vote(world: World, size: int | None = None) -> Voted:
    """Dropout & Vote: an aggregation of every subset (of one `size`, or of all), the commonest pick, and its certificate."""
    subsets = all_subsets(len(world.agents), size)
    found = [
        certify(subsets, [world.aggregated(question, subset) for subset in subsets], len(world.agents))
        for question in world.questions
    ]
    certificates = tuple(certificate for certificate in found if certificate is not None)
    return Voted(tuple(int(str(each.answer)) for each in certificates), certificates)


def all_subsets(agents: int, size: int | None = None) -> list[Subset]:
    """The subsets of agents, of one size or of all, smaller ones first."""
    sizes = range(1, agents + 1) if size is None else (size,)
    return [members for each in sizes for members in combinations(range(agents), each)]


def violations(world: World, size: int, k: int) -> int:
    """How many answers that are certified for `k` agents some set of k deceivers changes all the same: none.

    Every set of k agents is corrupted, to argue for each of the options in turn, and the vote is held again.
    """
    clean = dropout_vote(world, size)
    broken = set()
    for who in combinations(range(len(world.agents)), k):
        for option in range(world.options):
            attacked = dropout_vote(world.corrupted(who, option), size)
            broken |= {
                question
                for question in world.questions
                if clean.certificates[question].k >= k and attacked.picks[question] != clean.picks[question]
            }
    return len(broken)


@dataclass(slots=True)
class _Context:
    """A `SelectContext` that has nobody to ask."""

    question: str
    seed: int

    async def ask(self, responses: Sequence[Response]) -> Asked:
        raise UsageError("a simulated world has no agent to ask: take a selector that asks nobody")

    async def embed(self, texts: Sequence[str], embedder: str) -> list[Sequence[float]]:
        raise UsageError("a simulated world has no embedding model: compare texts by `tfidf`")

    async def likelihood(self, model: str, prompt: str, text: str) -> Likely:
        raise UsageError("a simulated world has no model to ask: take a selector that asks nobody")

    async def score(
        self, question: str, answers: Sequence[str], scorer: str, how: ScoredBy = "classify"
    ) -> list[float]:
        raise UsageError("a simulated world has no model that scores: take a selector that asks nobody")

    def warn(self, message: str) -> None:
        """A simulation counts what is kept; what a run would report is not of interest."""


def _said(agent: Agent, options: int, random: Random) -> int:
    if agent.deceives:
        return TARGET
    return GOLD if random.random() < agent.accuracy else random.randrange(1, options)
