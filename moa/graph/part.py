"""A node of a graph with its agent and its selector looked up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, Protocol

from pydantic import ValidationError

from moa.graph.measured import Candidate, Measured
from moa.spec.agent import AgentSpec
from moa.spec.graph import NodeSpec, Select
from moa.spec.registry import SELECTORS


class Selection(Protocol):
    """What the wiring needs to know about a selector; `moa.nodes.selector.Selector` has it."""

    def calls(self, count: int) -> int:
        """Agent calls that a choice among `count` responses takes."""
        ...

    def kept(self, count: int) -> int:
        """Responses handed on of `count`, at most."""
        ...

    def asks(self) -> Mapping[str, str]:
        """The models that it asks itself, each by the option that names it; slots among them are bound."""
        ...

    def measures(self, question: int, candidates: Sequence[Candidate]) -> Sequence[Measured]:
        """What it asks those models for a question of so many tokens and these candidates."""
        ...

    def needs_agent(self) -> bool:
        """Whether the node must name an agent and a model."""
        ...

    def lacks(self) -> str | None:
        """What must be added before it can choose at all; None where nothing is missing."""
        ...

    def refuses(self, agent: AgentSpec) -> str | None:
        """Why this agent's replies are of no use to the choice; None where they are."""
        ...


class Part(NamedTuple):
    """One node of a graph. The input called `main` is the one that lists without names fill."""

    spec: NodeSpec
    agent: AgentSpec | None
    selector: Selection | None
    models: tuple[str, ...] = ()
    """What the slots under `models` are bound to, or the one under `model`; nothing before they are bound."""
    asked: Mapping[str, str] = MappingProxyType({})
    """The models that the selector asks itself, by its options; bound where the slots are."""

    @property
    def main(self) -> str:
        """The agent's first input; `""` where nothing is declared."""
        return next(iter(self.agent.inputs), "") if self.agent else ""

    @property
    def inputs(self) -> dict[str, tuple[str, ...]]:
        """Node names by input, in the order in which the agent declares its inputs."""
        groups = {role or self.main: names for role, names in self.spec.input_groups().items()}
        declared = [role for role in (self.agent.inputs if self.agent else ()) if role in groups]
        return {role: groups[role] for role in dict.fromkeys([*declared, *groups])}

    @property
    def divided(self) -> str:
        """The input that `window` and `subsets` divide: the first that is filled."""
        return next(iter(self.inputs), self.main)

    @property
    def members(self) -> list[str | None]:
        """The model of each member, or its slot, model by model; None for a selector that asks nobody."""
        names: tuple[str | None, ...] = self.models or self.spec.models or (self.spec.model,)
        return [name for name in names for _ in range(self.spec.samples)]

    def handed_on(self, count: int) -> int:
        """Responses that one concrete node hands on of `count` that it hears, at most."""
        return self.selector.kept(count) if self.selector else 1


def models_asked(select: Select | None) -> Mapping[str, str]:
    """The models that a selector asks itself, by its options; none for one that is unknown or wrong."""
    if select is None or select.name not in SELECTORS:
        return {}
    try:
        selector: Selection = SELECTORS.get(select.name).model_validate(select.options)
    except ValidationError:
        return {}
    return selector.asks()
