"""What a leaderboard holds."""

from __future__ import annotations

from dataclasses import dataclass

from moa.evaluate.folder import Folder
from moa.evaluate.numbers.intervals import Estimate
from moa.evaluate.records import Entrant, Experiment


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of an entrant, such as its win rate."""

    name: str
    """As in an evaluation's `numbers`: `win-rate`, `length-controlled`, `accuracy`, ..."""
    label: str
    """The same for people."""
    estimate: Estimate
    """In percent where `unit` is `%`."""
    unit: str
    """`%`, or empty for a score's own scale."""
    note: str = ""
    """How it was computed, where there is more than one way."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of an entrant's items and of the verdicts on them."""

    items: int
    """How many the experiment asks."""
    answered: int
    failed: int
    """Answers that failed."""
    ok: int
    """Verdicts with a value."""
    refused: int
    unparsed: int
    unjudged: int
    """Verdicts that failed, for want of an answer or of the judge's."""
    wins: int = 0
    losses: int = 0
    draws: int = 0

    @property
    def missing(self) -> int:
        """Items without an answer so far."""
        return self.items - self.answered - self.failed


@dataclass(frozen=True, slots=True)
class Cost:
    """What an entrant takes for one question, as if nothing had been stored; the judge's part is not in it."""

    calls: float
    input_tokens: float
    output_tokens: float
    cached_tokens: float
    """Of the input, what servers found in a prefix cache; 0 also where they do not tell."""
    usd: float | None
    """None where a price is unknown."""
    latency_median: float
    latency_p90: float
    length: float
    """Mean length of its answers, in characters."""


@dataclass(frozen=True, slots=True)
class Consistency:
    """How the judge dealt with the order in which two answers were shown."""

    pairs: int
    """Answers that were judged in both orders."""
    consistent: float
    """The share of them on which both orders agree who is better."""
    first_shown: Estimate
    """How much more often the answer shown first wins than the other, from -1 to 1: 0 is no bias."""


@dataclass(frozen=True, slots=True)
class Drafts:
    """What an entrant's members proposed before their answers were put together."""

    drafts: float
    """A question, on average."""
    diversity: float
    """The mean Vendi score: how many different drafts they amount to."""
    quality: Estimate | None
    """The mean share of right drafts, or the mean of their recorded preferences, in percent; None where neither is known."""


@dataclass(frozen=True, slots=True)
class Row:
    """One entrant."""

    name: str
    """Unique on the board."""
    entrant: Entrant
    folder: Folder
    headline: Figure | None
    """None where nothing was judged yet, and for a baseline."""
    figures: tuple[Figure, ...]
    """All numbers, those of the evaluation first, in its order."""
    counts: Counts
    cost: Cost | None
    """None where nothing was answered yet."""
    judge_cost: float | None
    """US dollars a question for its verdicts; None where a price is unknown."""
    consistency: Consistency | None
    drafts: Drafts | None
    is_baseline: bool = False
    longer_preferred: Estimate | None = None
    """The mean preference for the longer of the two answers, as a fraction; 0.5 is no bias, or no merit in length."""

    def figure(self, name: str) -> Figure | None:
        """One of its numbers by name."""
        return next((figure for figure in self.figures if figure.name == name), None)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two entrants on the questions that both have a verdict on: first minus second, in the headline's unit."""

    first: str
    second: str
    difference: Estimate
    p_value: float
    p_adjusted: float
    """After Holm, over all pairs of the board."""
    pairs: int
    missing: int
    """Questions that only one of them, or neither, has a verdict on."""
    minimum_detectable_effect: float | None
    """The smallest difference that so many questions would have found with 80% power."""
    more: int | None
    """How many more questions would settle the difference that is seen; None where none would."""

    @property
    def significant(self) -> bool:
        """Whether they differ, at 5% over the whole board."""
        return self.p_adjusted <= 0.05


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that the reader should know before believing a number."""

    entrant: str
    """Empty for the experiment as a whole."""
    kind: str
    """`suspicious`, `extrapolates`, `missing`, `failed`, `refused`, `unparsed`, `position-bias`, `length-bias`,
    `self-preference`, `judges`, `tradeoff`."""
    message: str


@dataclass(frozen=True, slots=True)
class Board:
    """A leaderboard, best first."""

    evaluation: str
    experiment: Experiment
    """Of the first folder."""
    items: int
    judge: str
    baseline: str | None
    headline: str
    """The name of the figure that ranks."""
    label: str
    unit: str
    rows: tuple[Row, ...]
    pairs: tuple[Pair, ...]
    findings: tuple[Finding, ...]

    def row(self, name: str) -> Row:
        """The row of one entrant; raises `KeyError` for an unknown name."""
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(name)

    def pair(self, first: str, second: str) -> Pair | None:
        """The comparison of two entrants, in the order in which it stands."""
        return next((pair for pair in self.pairs if (pair.first, pair.second) == (first, second)), None)
