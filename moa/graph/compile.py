"""From a specification to a frozen plan."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from moa.errors import Problem, SpecError, UsageError
from moa.graph.bind import Bindings
from moa.graph.check import Examined, examine
from moa.graph.mistake import Loc, Mistake
from moa.graph.overlay import overlay, seat_mistakes
from moa.graph.part import Part, models_asked
from moa.graph.plan import Plan, PlanNode
from moa.graph.wiring import Wired
from moa.spec.agent import AgentSpec
from moa.spec.graph import GraphSpec, Select
from moa.spec.prompts import prompt_mistakes, without_bad_prompts

Agents = Callable[[str], AgentSpec]
Locate = Callable[[Loc, str], Problem]


def compile_graph(
    spec: GraphSpec,
    bindings: Bindings | None = None,
    *,
    agents: Agents | None = None,
    near: Path | None = None,
    locate: Locate | None = None,
) -> Plan:
    """Check a graph, compile its wiring, and bind its slots.

    Without `bindings` slots stay as they are: such a plan is for looking at, not for running. `agents`
    looks up agents by name, by default in the catalogue and next to `near`, the graph's own file;
    `locate` gives a mistake its position. Raises `SpecError` with every mistake at once, and
    `UsageError` when a slot is bound that the graph does not have.
    """
    if bindings is not None:
        _refuse_foreign_slots(spec, bindings)
    unfit = list(_prompt_mistakes(spec))
    sound = without_bad_prompts(spec) if unfit else spec
    known = agents or catalogue_agents(near)
    examined = examine(sound, known, bindings)
    found = [*examined.mistakes, *unfit]
    if not found:
        assert examined.answer is not None
        nodes, found = _attacked(spec, _nodes(spec, examined), examined.answer, known, bindings)
    if found:
        place = locate or _nowhere
        raise SpecError([place(mistake.loc, mistake.message) for mistake in found])
    assert examined.answer is not None
    fingerprint = _fingerprint(nodes, examined.answer, bindings)
    return Plan(spec.name, tuple(nodes), examined.answer, fingerprint)


def catalogue_agents(near: Path | None = None) -> Agents:
    """Look agents up in the catalogue; a path is relative to the folder of the file `near`."""
    from moa.spec.catalogue import load_agent

    return lambda name: load_agent(name, near).spec


def slots_of(spec: GraphSpec, bindings: Bindings | None = None) -> tuple[str, ...]:
    """The slots of a graph, in order of first use: names of models that are not models themselves."""
    known = bindings or Bindings()
    names = [
        name
        for node in spec.nodes.values()
        for name in (*(node.models or ()), node.model, *models_asked(node.select).values())
        if name
    ]
    names += [deception.model for deception in spec.attack.values() if deception.model]
    return tuple(dict.fromkeys(name for name in names if known.is_slot(name)))


def _refuse_foreign_slots(spec: GraphSpec, bindings: Bindings) -> None:
    slots = slots_of(spec, bindings)
    for slot in sorted(bindings.slots.keys() - bindings.shared - {*slots}):
        has = f"its slots: {', '.join(slots)}" if slots else "it names its models itself"
        raise UsageError(f"the graph has no slot `{slot}`; {has}")


def _prompt_mistakes(spec: GraphSpec) -> Iterator[Mistake]:
    """Mistakes in the templates of agents written in place: those of a file were found when it was read."""
    for name, node in spec.nodes.items():
        if isinstance(node.agent, AgentSpec):
            for field, mistake in prompt_mistakes(node.agent, node.vars):
                yield Mistake(("nodes", name, "agent", field), mistake.message)


def _nowhere(loc: Loc, message: str) -> Problem:
    """A problem of a graph without a file: the path of keys stands in for the position."""
    shown = loc[1:] if loc[:1] == ("nodes",) else loc if loc[:1] in {("attack",), ("vars",)} else ()
    place = ".".join(str(key) for key in shown if key != "")
    return Problem(f"{place}: {message}" if place else message)


def _nodes(spec: GraphSpec, examined: Examined) -> list[PlanNode]:
    """The concrete nodes that the answer depends on, each with the number of its sample."""
    assert examined.answer is not None
    wired = _useful(list(examined.wiring.nodes.values()), examined.answer)
    distances = _distances(wired, examined.answer)
    drawn: Counter[str] = Counter()
    nodes: list[PlanNode] = []
    for node in wired:
        bare = _plan_node(spec, examined.parts[node.group], node, distances[node.id])
        request = _canonical(_request(bare))
        nodes.append(replace(bare, sample=drawn[request]))
        drawn[request] += 1
    return nodes


def _attacked(
    spec: GraphSpec, nodes: list[PlanNode], answer: str, agents: Agents, bindings: Bindings | None
) -> tuple[list[PlanNode], list[Mistake]]:
    """The nodes with the graph's deceivers in their places, and what is wrong with what it says of single nodes."""
    found = seat_mistakes(spec, nodes)
    if not spec.attack:
        return nodes, found
    under = overlay(
        spec,
        nodes,
        answer,
        agents=agents,
        bindings=bindings,
        request=lambda node: _canonical(_request(node)),
    )
    return under.nodes, [*found, *under.mistakes]


def _plan_node(spec: GraphSpec, part: Part, node: Wired, distance: int) -> PlanNode:
    own = part.spec
    agent = part.agent
    sources = len({edge.node for edge in node.inputs})
    return PlanNode(
        id=node.id,
        group=node.group,
        agent=agent,
        select=own.select and _selecting(own.select, part.asked),
        model=node.name if agent else None,
        inputs=node.inputs,
        sample=0,
        sampling=own.sampling.over(agent.sampling) if agent else own.sampling,
        distance=distance,
        quorum=min(own.quorum, sources) if own.quorum else None,
        deadline=own.deadline,
        timeout=own.timeout,
        overflow=own.overflow or spec.overflow,
        vars={**(agent.vars if agent else {}), **own.vars, **spec.vars.get(node.id, {})},
    )


def _selecting(select: Select, asked: Mapping[str, str]) -> Select:
    """A selector with the models in the place of the slots."""
    return select.model_copy(update={"options": {**select.options, **asked}}) if asked else select


def _useful(wired: list[Wired], answer: str) -> list[Wired]:
    """The nodes that the answer depends on: subsets may leave a reference out altogether."""
    useful = {answer}
    for node in reversed(wired):
        if node.id in useful:
            useful.update(edge.node for edge in node.inputs)
    return [node for node in wired if node.id in useful]


def _distances(wired: list[Wired], answer: str) -> dict[str, int]:
    """Edges on the longest way from each node to the answer; 0 where there is none."""
    distances = dict.fromkeys((node.id for node in wired), 0)
    for node in reversed(wired):
        for edge in node.inputs:
            distances[edge.node] = max(distances[edge.node], distances[node.id] + 1)
    return distances


def _request(node: PlanNode) -> dict[str, Any]:
    """What decides the request that a node makes, except which sample of it is asked for."""
    agent = node.agent
    return {
        "select": node.select.model_dump(mode="json") if node.select else None,
        "agent": [agent.system, agent.user] if agent else None,
        "model": node.model,
        "sampling": node.sampling.model_dump(mode="json", exclude_none=True),
        "vars": node.vars,
        "inputs": sorted(node.inputs, key=lambda edge: edge.role),
    }


def _fingerprint(nodes: list[PlanNode], answer: str, bindings: Bindings | None) -> str:
    models = bindings.models if bindings else {}
    named = {name for node in nodes for name in (node.model, *models_asked(node.select).values())}
    used = named & models.keys()
    content = {
        "answer": answer,
        "nodes": [
            _request(node)
            | {
                "id": node.id,
                "sample": node.sample,
                "reads": [node.agent.reads, node.agent.pattern] if node.agent else None,
                "waits": [node.quorum, node.deadline, node.overflow],
            }
            for node in nodes
        ],
        "models": {name: _deciding(models, name) for name in used if name is not None},
    }
    return hashlib.sha256(_canonical(content).encode()).hexdigest()


def _deciding(models: Mapping[str, Any], name: str) -> Any:
    """What of a model's entry decides its replies: not its price, its limits, or where its key is."""
    return models[name].model_dump(
        mode="json",
        exclude_none=True,
        exclude={"name", "price", "limits", "key_env", "context", "tokenizer", "device"},
    )


def _canonical(content: Any) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
