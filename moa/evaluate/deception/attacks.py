"""An attack as users write it, and a graph that is under one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from moa.compose import Graph
from moa.errors import UsageError
from moa.evaluate.deception.protocol import in_roles
from moa.graph.compile import catalogue_agents, compile_graph
from moa.graph.layers import Seat, is_code, layers, read_code, sample_seats
from moa.graph.mistake import hint
from moa.graph.plan import Plan
from moa.spec.agent import AgentSpec
from moa.spec.attack import DEAF, TRUTHFUL, AttackSpec, Deception, Overlay
from moa.spec.catalogue import find, is_path
from moa.spec.evaluation import ProtocolSpec
from moa.spec.graph import GraphSpec
from moa.spec.loader import read_spec, read_text

NONE = "none"
"""The attack in which nobody deceives."""
_DEAF = f":{DEAF}"
_SAMPLE = "sample:"
_NEXT = re.compile(r",\s*(?=[A-Za-z][\w-]*(?:\[\d+\])*=)")
"""A comma before another node, not before another of a model's options."""
_OVERLAY: TypeAdapter[Overlay] = TypeAdapter(Overlay)
_DEFENCE = "defence"
"""The variable by which a deceiver learns what it faces."""


@dataclass(frozen=True, slots=True)
class Attack:
    """Deceptions by concrete node, and the words in which they were asked for."""

    name: str
    overlay: Mapping[str, Deception]

    def under(self, protocol: ProtocolSpec | None) -> Attack:
        """The attack with the deceivers for whom an evaluation's protocol has words of its own."""
        return Attack(self.name, in_roles(self.overlay, protocol))

    def facing(self, defence: str) -> Attack:
        """The attack with the deceivers who want to know told which defence they face."""
        told = {
            node: deception.model_copy(update={"vars": {_DEFENCE: defence, **deception.vars}})
            if _DEFENCE in _agent(deception).vars
            else deception
            for node, deception in self.overlay.items()
        }
        return Attack(self.name, told)


def read_attack(text: str, graph: Plan | GraphSpec, seed: int = 0, *, near: Path | None = None) -> Attack:
    """The attack that `--deceive` names.

    `000_003` (a digit for each proposer, layer by layer), `refined[2]=opposer,drafts[0]=promoter`, `drafts=promoter` (a whole
    line), `sample:1:promoter` or `sample:1:promoter:2:opposer` (drawn with `seed`), a YAML file, or `none`. A role is
    an agent, a path to one, or a digit; `:deaf` behind it, or behind the whole, takes its references away, and
    `@MODEL` gives it a model of its own. A graph whose slots take several models is given as its plan.

    Raises `UsageError` or `SpecError` for what the graph or the catalogue does not have.
    """
    text = text.strip()
    if text in {"", NONE}:
        return Attack(NONE, {})
    if is_path(text) and "=" not in text and not text.startswith(_SAMPLE):
        return _from_file(text, near)
    plan = graph if isinstance(graph, Plan) else compile_graph(graph, near=near)
    if "=" in text and not text.startswith(_SAMPLE):
        return Attack(text, _checked(_pairs(text, plan), near))
    deaf = text.endswith(_DEAF)
    seats = _seats(text.removesuffix(_DEAF), plan, seed)
    return Attack(text, _checked({seat.node: seat.role + _DEAF * deaf for seat in seats}, near))


def attacked(spec: GraphSpec, attack: Attack) -> GraphSpec:
    """The graph with the attack laid over it; one of its own stays, except where both name a node."""
    if not attack.overlay:
        return spec
    return spec.model_copy(update={"attack": {**spec.attack, **attack.overlay}})


def attack(
    graph: Graph, deceivers: str | Mapping[str, str | Deception | Mapping[str, Any]], *, seed: int = 0
) -> Graph:
    """A copy of a graph with deceivers in the places of some of its nodes.

    Args:
        graph: stays as it is.
        deceivers: what `moa attack --deceive` reads, or a role or a `Deception` for each node: `{"refined[2]": "opposer"}`.
        seed: of the draw of `sample:1:promoter`.
    """
    if isinstance(deceivers, str):
        found = read_attack(deceivers, graph.plan(), seed)
    else:
        found = Attack("", _checked(deceivers, None))
    return graph.with_spec(attacked(graph.spec, found))


def _from_file(name: str, near: Path | None) -> Attack:
    path = find("agents", name, near)
    spec = read_spec(read_text(path), str(path), AttackSpec).spec
    return Attack(spec.name or path.stem, spec.attack)


def _pairs(text: str, plan: Plan) -> dict[str, str]:
    """Roles by node of `node=role,node=role`; the name of a line stands for all its nodes."""
    found: dict[str, str] = {}
    for pair in _each(text, plan):
        named, _, role = (part.strip() for part in pair.partition("="))
        if not role:
            raise UsageError(f"{pair!r}: expected NODE=ROLE, such as refined[2]=opposer")
        for node in _line(named, plan):
            if node in found:
                raise UsageError(f"{text!r} gives {node} two roles")
            found[node] = role
    return {node: role for node, role in found.items() if role not in {"0", TRUTHFUL}}


def _each(text: str, plan: Plan) -> list[str]:
    """The pairs between the commas; what follows `@MODEL,` and is no node belongs to the model's options."""
    known = {*plan.by_id, *(node.group for node in plan.nodes)}
    pairs: list[str] = []
    for part in _NEXT.split(text):
        if pairs and "@" in pairs[-1] and part.partition("=")[0].strip() not in known:
            pairs[-1] += f",{part}"
        else:
            pairs.append(part)
    return pairs


def _line(name: str, plan: Plan) -> Sequence[str]:
    if name in plan.by_id:
        return [name]
    nodes = [node.id for node in plan.nodes if node.group == name]
    if not nodes:
        raise UsageError(f"the graph has no node `{name}`{hint(name, plan.by_id)}")
    return nodes


def _seats(text: str, plan: Plan, seed: int) -> list[Seat]:
    if is_code(text):
        return read_code(text, layers(plan))
    if text.startswith(_SAMPLE):
        return sample_seats(_counts(text), layers(plan), seed)
    forms = "000_003, NODE=ROLE, sample:COUNT:ROLE, a YAML file, or none"
    raise UsageError(f"no attack is called {text!r}: write {forms}")


def _counts(text: str) -> list[tuple[int, str]]:
    """Pairs of a count and a role; the paper writes them with `_` between."""
    parts = text.removeprefix(_SAMPLE).split(":")
    pairs = list(zip(parts[::2], parts[1::2], strict=False))
    if len(parts) % 2 or not all(count.isdecimal() and role.strip() for count, role in pairs):
        raise UsageError(f"{text!r}: expected sample:COUNT:ROLE, such as sample:1:promoter")
    return [(int(count), role.strip()) for count, role in pairs if role not in {"0", TRUTHFUL}]


def _checked(roles: Mapping[str, Any], near: Path | None) -> Overlay:
    """The overlay; raises `UsageError` where a role cannot be read or no agent has that name."""
    try:
        overlay = _OVERLAY.validate_python(dict(roles))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise UsageError(f"attack: {place}: {first['msg'].removeprefix('Value error, ')}") from None
    for name in _names(overlay.values()):
        find("agents", name, near)
    return overlay


def _names(deceptions: Iterable[Deception]) -> set[str]:
    return {deception.agent for deception in deceptions if isinstance(deception.agent, str)}


def _agent(deception: Deception) -> AgentSpec:
    named = deception.agent
    return named if isinstance(named, AgentSpec) else catalogue_agents()(named)
