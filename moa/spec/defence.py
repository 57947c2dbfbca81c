"""What users write about a defence: a few nodes that take the place of a graph's last step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import Field, JsonValue, model_validator

from moa.spec.agent import Identifier, Spec
from moa.spec.graph import Name, NodeSpec
from moa.spec.words import nearest

REFERENCES = "references"
"""Stands for the nodes that the graph's answering node hears."""
FINAL = "final"
"""Stands for the agent, or the model, of the graph's answering node."""


class DefenceNode(NodeSpec):
    """One line of a defence; `inputs: references`, `agent: final` and `model: final` mean the graph's own."""

    note: str | None = None
    """Appended to the system template of the final agent, which sees its responses as `references`."""

    @model_validator(mode="after")
    def _note_belongs_to_final(self) -> DefenceNode:
        if self.note is not None and self.agent != FINAL:
            raise ValueError("`note` adds to the graph's final agent: write `agent: final` beside it")
        return self


class DefenceSpec(Spec):
    """A rewrite of a graph's last step: nodes between what the answering node hears and the answer.

    A value `$name` anywhere in the nodes is replaced by the variable `name`, so that
    `name(variable=value)` on the command line varies the defence.
    """

    name: str = ""
    description: str = ""
    source: str | None = None
    """The paper that the defence comes from."""
    vars: dict[Identifier, JsonValue] = Field(default_factory=dict)
    """The defence's options and what they are by default."""
    nodes: dict[Name, DefenceNode] = Field(min_length=1)
    answer: str | None = None
    """The node that answers; by default the one called `answer`, else the only one that nobody hears."""

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, data: Any) -> Any:
        vars = data.get("vars") if isinstance(data, dict) else None
        return filled(data) if isinstance(data, dict) and isinstance(vars or {}, dict) else data

    @model_validator(mode="after")
    def _hears_and_answers(self) -> DefenceSpec:
        if REFERENCES in self.nodes:
            raise ValueError(
                f"`{REFERENCES}` stands for what the graph's answering node hears: rename the node"
            )
        heard = self._heard()
        if REFERENCES not in heard:
            raise ValueError(f"no node hears `{REFERENCES}`: write `inputs: {REFERENCES}`")
        if strange := sorted(heard - {*self.nodes, REFERENCES}):
            meant = nearest(strange[0], [*self.nodes, REFERENCES])
            hint = (
                f"; did you mean `{meant}`?"
                if meant
                else f": a defence hears its own nodes and `{REFERENCES}`"
            )
            raise ValueError(f"no node is called `{strange[0]}`{hint}")
        last = [name for name in self.nodes if name not in heard]
        if self.answer is not None and self.answer not in self.nodes:
            raise ValueError(f"`answer`: no node is called `{self.answer}`")
        if self.answer is None and "answer" not in self.nodes and len(last) != 1:
            raise ValueError("call the node that answers `answer`, or name it with `answer: NODE`")
        return self

    @property
    def answering(self) -> str:
        """The name of the node that answers."""
        if self.answer is not None or "answer" in self.nodes:
            return self.answer or "answer"
        return next(name for name in self.nodes if name not in self._heard())

    @property
    def changes_nothing(self) -> bool:
        """Whether the final agent hears the references as it always did."""
        [first, *others] = self.nodes.values()
        return not others and first == DefenceNode(agent=FINAL, model=FINAL, inputs=REFERENCES)

    def _heard(self) -> set[str]:
        return {
            name for node in self.nodes.values() for group in node.input_groups().values() for name in group
        }


def filled(data: Mapping[str, Any]) -> dict[str, Any]:
    """A defence file with its variables put in; raises `ValueError` for one that it does not declare."""
    return {**data, "nodes": _filled(data.get("nodes"), data.get("vars") or {}, "nodes")}


def hears_references(data: Mapping[str, Any]) -> bool:
    """Whether the nodes of a file hear `references` without having a node of that name: a defence does."""
    nodes = data.get("nodes")
    if not isinstance(nodes, dict) or REFERENCES in nodes:
        return False
    inputs = [node.get("inputs") for node in nodes.values() if isinstance(node, dict)]
    return any(REFERENCES in _flat(each) for each in inputs)


def _flat(inputs: Any) -> Iterator[Any]:
    if isinstance(inputs, dict | list):
        for each in inputs.values() if isinstance(inputs, dict) else inputs:
            yield from _flat(each)
    else:
        yield inputs


def _filled(value: Any, vars: Mapping[str, Any], place: str) -> Any:
    """`value` with each text `$name` replaced by the variable; `place` is where it stands."""
    if isinstance(value, dict):
        return {key: _filled(inner, vars, f"{place}.{key}") for key, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, vars, place) for inner in value]
    if not isinstance(value, str) or not value.startswith("$"):
        return value
    if value[1:] in vars:
        return vars[value[1:]]
    meant = nearest(value[1:], vars)
    hint = f"; did you mean `${meant}`?" if meant else f"; its `vars`: {', '.join(vars) or 'none'}"
    raise ValueError(f"{place}: the defence has no variable `{value}`{hint}")
