"""What an evaluation is made of: items, answers to them, and verdicts on the answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue


class Record(BaseModel):
    """Base of what is written to the folder of an experiment, one JSON line each."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Item(Record):
    """One thing that is asked.

    `turns` are the user's turns, already rendered: one for most evaluations, two for MT-Bench; `history`
    is the conversation before the first of them.
    """

    id: str
    turns: tuple[str, ...]
    history: tuple[dict[str, Any], ...] = ()
    group: str = ""
    """The category, dataset or task that the item belongs to."""
    answer: str | None = None
    """The right answer, for exact match."""
    options: tuple[str, ...] = ()
    target: str | None = None
    """The wrong option that deceivers argue for, named as `answer` names the right one."""
    checklist: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    """A reference answer for each turn, where the evaluation has them; shown to the judge."""
    baseline: tuple[str, ...] = ()
    """The baseline's output for each turn; empty where the baseline is an entrant."""
    fields: Mapping[str, JsonValue] = Field(default_factory=dict)
    """The row's other fields."""

    @property
    def instruction(self) -> str:
        """The first user turn."""
        return self.turns[0]


class Spent(Record):
    """What calls use, those included whose replies were stored already; `cost` is None where a price is unknown."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    """Of the input, what servers say that they found in a prefix cache."""
    cost: float | None = 0.0

    def __add__(self, other: Spent) -> Spent:
        unknown = self.cost is None or other.cost is None
        return Spent(
            calls=self.calls + other.calls,
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
            cost=None if unknown else (self.cost or 0.0) + (other.cost or 0.0),
        )


class Answer(Record):
    """What an entrant said to one item."""

    item: str
    entrant: str
    state: Literal["ok", "failed"]
    outputs: tuple[str, ...] = ()
    """The answer to each turn; empty where it failed."""
    error: str | None = None
    spent: Spent = Spent()
    latency: float = 0.0
    """Seconds of the calls on the longest way to the answer, summed over turns, as they took when sent."""
    warnings: tuple[str, ...] = ()
    nodes: tuple[dict[str, Any], ...] = ()
    """Every node as in `NodeResult.to_json()`, with its `turn`; what it costs and takes where nothing is stored."""

    @property
    def output(self) -> str:
        """The last turn's answer."""
        return self.outputs[-1]


LENGTHS = "lengths"
"""Among a verdict's details: characters of the baseline's output and of the entrant's, as they were judged."""
DRAFTS = "drafts"
"""Among a verdict's details: the recorded preference of each draft that the answer was made from."""

VerdictState = Literal["ok", "refused", "unparsed", "failed"]


class Verdict(Record):
    """One judgment of one answer.

    `value` is the preference for the entrant over `against` (0 to 1), a score on the judge's scale, a
    checklist's pass rate (0 to 1), or 1 and 0 for right and wrong. It is None unless `state` is `ok`: a
    refusal and an unreadable verdict are states of their own, never a tie.
    """

    item: str
    entrant: str
    kind: Literal["preference", "score", "checklist", "correct"]
    judge: str
    """The judging model(s) or `exact`."""
    state: VerdictState
    value: float | None = None
    against: str | None = None
    """The baseline or the other entrant, for a preference."""
    swapped: bool = False
    """Whether the entrant's answer was shown first."""
    turn: int = 0
    text: str = ""
    """What the judge wrote."""
    method: str | None = None
    """How the value was read: `logprobs`, `text`, `identical`, `recorded`, ..."""
    grade: str | None = None
    """The judge's own label where it has more than two, such as `A++`."""
    details: Mapping[str, JsonValue] = Field(default_factory=dict)
    """Checklist answers, probabilities, what was extracted, who sat on the jury."""
    spent: Spent = Spent()
    of: int = 1
    """How many verdicts the item has here: a group that is shorter was cut off."""


class Entrant(Record):
    """One topology with its models and settings, as it takes part."""

    name: str
    """Unique in the experiment: the graph's name, with swept settings in brackets."""
    graph: str
    settings: Mapping[str, JsonValue] = Field(default_factory=dict)
    models: Mapping[str, str] = Field(default_factory=dict)
    """Slots and what they are bound to."""
    attack: str | None = None
    """Who deceives, in words that `moa attack --deceive` reads; None where nobody does."""
    defence: str | None = None
    """What stands against it; None for the graph's own last step."""
    deceivers: Mapping[str, str] = Field(default_factory=dict)
    """Nodes under attack and the agents that stand there."""
    clean: str | None = None
    """Of an entrant of `moa attack`, the name of its graph without attack and defence; it may be its own."""
    sees_verdicts: bool = False
    """Whether a node chose by the very verdicts that are counted here: such an entrant is a bound, not a method."""
    fingerprint: str = ""
    yaml: str = ""
    """The graph's specification."""
    mermaid: str = ""
    svg: str = ""


class Experiment(Record):
    """What `experiment.json` holds: enough to run the same thing again, and to refuse another."""

    version: int = 1
    moa: str
    evaluation: str
    spec: Mapping[str, Any]
    """The evaluation's specification."""
    entrants: tuple[Entrant, ...]
    baseline: str | None = None
    """The name of the baseline: recorded outputs, or one of the entrants."""
    judge: str | None = None
    seed: int = 0
    limit: int | None = None
    items: int
    """How many items are asked."""
    rests_on: Mapping[str, str] = Field(default_factory=dict)
    """What may not change from one run to the next, in words: how answers are read, who judges, the seed."""
    fingerprint: str
    """SHA-256 of that and of the items, whatever their order."""
