"""Defences: the last step of a graph rewritten (Wolf et al. 2025, arXiv:2503.05856)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import networkx as nx
from pydantic import JsonValue

from moa.errors import SpecError, UsageError
from moa.graph.check import answer_name
from moa.graph.mistake import Mistake
from moa.graph.part import Part
from moa.graph.round import group_graph
from moa.spec.agent import AgentSpec, Sampling
from moa.spec.build import read_value, spec_from
from moa.spec.defence import FINAL, REFERENCES, DefenceNode, DefenceSpec, filled
from moa.spec.graph import GraphSpec, NodeSpec
from moa.spec.words import nearest

Agents = Callable[[str], AgentSpec]
_DIVIDING = ("window", "rounds", "subsets")
"""Wiring of an answering node that no defence can take over."""


class Defence(NamedTuple):
    """A defence as it was named, and what it is."""

    name: str
    spec: DefenceSpec


def split_defences(text: str) -> list[str]:
    """`none,trimmed(drop=1,similarity=bleu)` as a list of two; commas inside brackets divide nothing."""
    parts, depth = [""], 0
    for character in text:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts if part.strip()]


def read_defence(text: str) -> Defence:
    """A defence by its name or file, with options: `dropout-vote`, `trimmed(drop=2)`, `my.yaml(size=2)`.

    The options are the defence's `vars`. Raises `UsageError` for a name or an option that is not there,
    and `SpecError` for a value that does not fit.
    """
    from moa.spec.catalogue import load_defence

    match = re.fullmatch(r"\s*([^()]+?)\s*(?:\((.*)\))?\s*", text, re.DOTALL)
    if match is None:
        raise UsageError(f"cannot read the defence {text!r}: write `NAME` or `NAME(option=value, ...)`")
    located, options = load_defence(match[1]), _options(text, match[2] or "")
    if not options:
        return Defence(located.spec.name, located.spec)
    known = located.spec.vars
    for option in options:
        if option not in known:
            meant = nearest(option, known)
            hint = f"did you mean `{meant}`?" if meant else f"it has {', '.join(known) or 'none'}"
            raise UsageError(f"the defence `{located.spec.name}` has no option `{option}`; {hint}")
    data = {**located.document.data, "name": located.spec.name, "vars": {**known, **options}}
    return Defence(_shown(located.spec.name, options), spec_from(DefenceSpec, filled(data)))


def _options(text: str, inside: str) -> dict[str, JsonValue]:
    options: dict[str, JsonValue] = {}
    for item in filter(str.strip, re.split(r",(?=\s*\w+\s*=)", inside)):
        key, equals, value = item.partition("=")
        if not equals:
            raise UsageError(f"{text!r}: expected `option=value`, not {item.strip()!r}")
        options[key.strip()] = read_value(value.strip())
    return options


def _shown(name: str, options: Mapping[str, JsonValue]) -> str:
    return f"{name}({','.join(f'{key}={value}' for key, value in options.items())})"


def defend(
    spec: GraphSpec, defence: DefenceSpec, *, agents: Agents | None = None, near: Path | None = None
) -> GraphSpec:
    """`spec` with its last step rewritten; the nodes before it stay as they are and keep their ids.

    The defence's answering node takes the name of the graph's; its other nodes are renamed where the
    graph has one of that name. `agents` looks up the agents of the graph, by default in the catalogue
    and next to `near`. Raises `SpecError` for a graph whose last step cannot be rewritten.
    """
    if defence.changes_nothing:
        return spec
    return _Splice(spec, defence, agents, near).graph()


def answering_node(spec: GraphSpec) -> str:
    """The name of the node that answers; raises `SpecError` where the graph does not say which."""
    found = answer_name(spec, {name: Part(node, None, None) for name, node in spec.nodes.items()})
    if isinstance(found, Mistake):
        raise SpecError(found.message)
    return found


class _Splice:
    """One defence on its way into one graph."""

    def __init__(
        self, spec: GraphSpec, defence: DefenceSpec, agents: Agents | None, near: Path | None
    ) -> None:
        from moa.graph.compile import catalogue_agents

        self.spec, self.defence = spec, defence
        self.agents = agents or catalogue_agents(near)
        self.name = answering_node(spec)
        self.answering = spec.nodes[self.name]
        self.names = self._names()
        self.agent = self._agent()
        self._check()
        groups = self._groups()
        self.role = next(iter(groups))
        self.references, self.others = groups.pop(self.role), groups

    def graph(self) -> GraphSpec:
        nodes: dict[str, NodeSpec] = {}
        for name, node in self.spec.nodes.items():
            if name != self.name:
                nodes[name] = node
            else:
                nodes |= {self.names[own]: self._node(line) for own, line in self.defence.nodes.items()}
        about = {
            "name": f"{self.spec.name}+{self.defence.name}" if self.defence.name else self.spec.name,
            "description": f"{self.spec.name or 'A graph'}, its last step rewritten. {self.defence.description}".strip(),
            "answer": self.name if self.spec.answer is not None else None,
        }
        given = {name: value for name, value in about.items() if value is not None}
        return self.spec.model_copy(update={**given, "nodes": _useful(nodes, self.name)})

    def _names(self) -> dict[str, str]:
        """The name of each node of the defence in the graph."""
        taken = {*self.spec.nodes}
        names = {self.defence.answering: self.name}
        for own in self.defence.nodes:
            if own not in names:
                number, names[own] = 1, own
                while names[own] in taken:
                    number += 1
                    names[own] = f"{own}-{number}"
                taken.add(names[own])
        return names

    def _agent(self) -> AgentSpec | None:
        agent = self.answering.agent
        return self.agents(agent) if isinstance(agent, str) else agent

    def _check(self) -> None:
        node, called = self.answering, f"the defence `{self.defence.name}`"
        if not node.input_groups():
            raise SpecError(f"`{self.name}` answers without hearing anybody: {called} has nothing to work on")
        for field in _DIVIDING:
            if getattr(node, field) is not None:
                remedy = "defend a graph that ends in one plain aggregation"
                raise SpecError(
                    f"`{self.name}` answers with `{field}`, which {called} cannot rewrite: {remedy}"
                )
        for own, line in self.defence.nodes.items():
            if line.note is not None and node.select is not None:
                what = f"`{self.name}` chooses one of its inputs, so the marks of {called} would stay in the answer"
                raise SpecError(f"{what}: take one that marks nothing")
            if line.model == FINAL and line.agent != FINAL and self._model() is None:
                raise SpecError(
                    f"`{self.name}` asks no model for `{own}` of {called}: name one, {self.defence.name}(model=MODEL)"
                )

    def _groups(self) -> dict[str, tuple[str, ...]]:
        """What the answering node hears by input, the one that a list without names fills first."""
        groups = self.answering.input_groups()
        declared = [role for role in (self.agent.inputs if self.agent else ()) if role in groups]
        return {role: groups[role] for role in dict.fromkeys([*declared, *groups])}

    def _model(self) -> str | None:
        return self.answering.model or next(iter(self.answering.models or ()), None)

    def _node(self, line: DefenceNode) -> NodeSpec:
        """A line of the defence as a node of the graph."""
        fields: dict[str, Any] = {name: getattr(line, name) for name in line.model_fields_set - {"note"}}
        heard = {role: self._renamed(names) for role, names in line.input_groups().items()}
        if line.agent == FINAL:
            fields = self._as_final(line, fields)
            if self.role:
                heard = {role or self.role: names for role, names in heard.items()}
            heard |= {role: names for role, names in self.others.items() if role not in heard}
        elif line.model == FINAL:
            fields["model"] = self._model()
        if line.subsets is None and REFERENCES in line.input_groups().get("", ()):
            own = self.answering
            fields = {"quorum": own.quorum, "deadline": own.deadline, **fields}
        inputs = heard[""] if heard.keys() == {""} else heard
        return NodeSpec.model_validate({**_given(fields), "inputs": inputs})

    def _as_final(self, line: DefenceNode, own: Mapping[str, Any]) -> dict[str, Any]:
        """The answering node's settings, with those of the defence over them."""
        base = self.answering
        kept = base.model_fields_set - {"inputs", "quorum", "deadline", "models"}
        fields: dict[str, Any] = {name: getattr(base, name) for name in kept}
        fields["model"] = self._model() if line.model in (None, FINAL) else line.model
        fields |= {name: value for name, value in own.items() if name not in {"agent", "model"}}
        fields["sampling"] = line.sampling.over(base.sampling)
        fields["vars"] = {**base.vars, **line.vars}
        if line.note is not None and self.agent is not None:
            fields["agent"] = self._noted(self.agent, line.note)
        return fields

    def _noted(self, agent: AgentSpec, note: str) -> AgentSpec:
        """The final agent with a note after its own words; what it hears is called `references` there."""
        role = self.role or next(iter(agent.inputs), REFERENCES)
        named = "" if role == REFERENCES else f"{{% set {REFERENCES} = {role} %}}"
        system = "\n\n".join(
            part for part in ((agent.system or "").rstrip(), f"{named}{note.strip()}") if part
        )
        return agent.model_copy(update={"system": system + "\n"})

    def _renamed(self, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(
            name for own in names for name in (self.references if own == REFERENCES else (self.names[own],))
        )


def _useful(nodes: Mapping[str, NodeSpec], answer: str) -> dict[str, NodeSpec]:
    """Without the nodes that only the old last step heard."""
    graph = group_graph({name: Part(node, None, None) for name, node in nodes.items()})
    reached = nx.ancestors(graph, answer) | {answer}
    return {name: node for name, node in nodes.items() if name in reached}


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that say something, as plain values."""
    unsaid: tuple[Any, ...] = (None, {}, Sampling())
    return {name: value for name, value in fields.items() if value not in unsaid}
