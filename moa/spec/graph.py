"""What users write about a graph: nodes, who hears whom, and the wiring that makes one line many nodes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, JsonValue, StringConstraints, model_validator

from moa.spec.agent import AgentSpec, Sampling, Spec
from moa.spec.attack import Overlay

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")]
Model = Annotated[str, StringConstraints(min_length=1)]
Overflow = Literal["error", "drop", "truncate"]
Inputs = str | tuple[str, ...] | dict[str, str | tuple[str, ...]]


class Window(Spec):
    """A sliding window of references, of which the first `keep` repeat the synthesis so far.

    Self-MoA-Seq (Li et al. 2025, arXiv:2502.00674): with `size` 6 and `keep` 3, N references take
    1 + ceil((N - 6) / 3) aggregations.
    """

    size: int = Field(6, ge=2)
    keep: int = Field(3, ge=1)

    @model_validator(mode="after")
    def _room_for_new(self) -> Window:
        if self.keep >= self.size:
            raise ValueError(f"`keep` ({self.keep}) must be smaller than `size` ({self.size})")
        return self


class Subsets(Spec):
    """One node per subset of the references (Wolf et al. 2025, arXiv:2503.05856: dropout).

    Without `size`, every non-empty subset; with it, those of that size. `count` draws that many of
    them, without replacement, from a generator seeded with `seed`.
    """

    size: int | None = Field(None, ge=1)
    count: int | None = Field(None, ge=1)
    seed: int = 0


class Rounds(Spec):
    """A part of the graph that repeats, each round hearing the one before.

    In every round after the first, `replace` (a node that the repeated part hears) gives way to the
    previous round's output. The repeated part is every node between `replace` and this one.
    """

    times: int = Field(ge=1)
    replace: str | None = None


class Select(Spec):
    """A selector and its options; `top-k` and `{top-k: {k: 3}}` are the forms that users write."""

    name: str
    options: dict[str, JsonValue] = Field(default_factory=dict)


def _read_select(value: object) -> object:
    if isinstance(value, str):
        return {"name": value}
    if isinstance(value, dict) and len(value) != 1 and not {"name", "options"} & value.keys():
        raise ValueError("takes one selector: `NAME`, or `{NAME: {option: value}}`")
    if isinstance(value, dict) and len(value) == 1 and not {"name", "options"} & value.keys():
        ((name, options),) = value.items()
        return {"name": name, "options": options if options is not None else {}}
    return value


def _read_subsets(value: object) -> object:
    return {} if value == "all" else value


def _read_rounds(value: object) -> object:
    return {"times": value} if isinstance(value, int) and not isinstance(value, bool) else value


def _read_names(value: object) -> Any:
    return tuple(value) if isinstance(value, list) else value


class NodeSpec(Spec):
    """One line of a graph: an agent or a selector, its inputs, and its wiring."""

    agent: str | AgentSpec | None = None
    """An agent of the catalogue, a path to an agent file, or an agent written in place."""
    select: Annotated[Select, BeforeValidator(_read_select)] | None = None
    model: Model | None = None
    """A slot (bound when the graph runs) or a model's name."""
    models: tuple[Model, ...] | None = Field(None, min_length=1)
    """One node for each of these; a name that repeats gives independent samples."""
    samples: int = Field(1, ge=1)
    """Independent samples of each model."""
    inputs: Annotated[Inputs, BeforeValidator(_read_names)] = ()
    """The nodes that are heard: a name, a list, or a name for each input of the agent."""
    window: Window | None = None
    subsets: Annotated[Subsets, BeforeValidator(_read_subsets)] | None = None
    rounds: Annotated[Rounds, BeforeValidator(_read_rounds)] | None = None
    sampling: Sampling = Sampling()
    vars: dict[str, JsonValue] = Field(default_factory=dict)
    quorum: int | None = Field(None, ge=1)
    """Fire as soon as this many inputs have answered and cancel the rest."""
    deadline: float | None = Field(None, gt=0)
    """Seconds to wait for all inputs; after that, `quorum` of them suffice and the rest are cancelled."""
    timeout: float | None = Field(None, gt=0)
    """Seconds that this node itself may take, retries included."""
    overflow: Overflow | None = None
    """What to do when the references do not fit the context window; the graph's policy by default."""

    @model_validator(mode="after")
    def _one_kind(self) -> NodeSpec:
        if self.agent is None and self.select is None:
            raise ValueError("needs `agent` (asks a model) or `select` (chooses among responses)")
        if self.model is not None and self.models is not None:
            raise ValueError("takes `model` or `models`, not both")
        if self.window is not None and self.subsets is not None:
            raise ValueError("takes `window` or `subsets`, not both")
        if self.select is not None and not self.inputs:
            raise ValueError("a selector needs `inputs`")
        return self

    def input_groups(self) -> dict[str, tuple[str, ...]]:
        """Node names by the input they fill; the key `""` stands for the agent's first input."""
        named = self.inputs if isinstance(self.inputs, dict) else {"": self.inputs}
        groups = {role: (names,) if isinstance(names, str) else tuple(names) for role, names in named.items()}
        return {role: names for role, names in groups.items() if names}


class GraphSpec(Spec):
    """An ensemble: named nodes and which of them is the answer."""

    name: str = ""
    description: str = ""
    source: str | None = None
    """The paper that the ensemble comes from."""
    slots: dict[str, str] = Field(default_factory=dict)
    """What each slot is for, in words."""
    nodes: dict[Name, NodeSpec] = Field(min_length=1)
    answer: str | None = None
    """The node that answers; by default the one called `answer`, else the only one that nobody hears."""
    overflow: Overflow = "truncate"
    """What to do when references do not fit a context window: stop, drop the last, or shorten the longest."""
    attack: Overlay = Field(default_factory=dict)
    """Who deceives: an agent in place of a concrete node's own, such as `{refined[2]: opposer}`."""
    vars: dict[str, dict[str, JsonValue]] = Field(default_factory=dict)
    """Values for the templates of single concrete nodes, over those of their line: `{drafts[0]: {part: 0}}`."""
