"""Graphs for tests, written as YAML over a handful of small agents."""

from __future__ import annotations

import yaml

from moa.errors import UsageError
from moa.graph.bind import Bindings
from moa.graph.check import mistakes
from moa.graph.compile import compile_graph
from moa.graph.plan import Plan
from moa.spec.agent import AgentSpec
from moa.spec.graph import GraphSpec

NUMBERED = "{% for r in references %}{{ loop.index }}. {{ r.text }}\n{% endfor %}"
AGENTS = {
    agent.name: agent
    for agent in (
        AgentSpec.model_validate({"name": "proposer"}),
        AgentSpec.model_validate({"name": "aggregator", "system": NUMBERED, "inputs": {"references": "1+"}}),
        AgentSpec.model_validate(
            {
                "name": "refiner",
                "user": "{{ question }} {{ draft[0].text }} {{ critique[0].text }}",
                "inputs": {"draft": 1, "critique": 1},
            }
        ),
        AgentSpec.model_validate({"name": "critic", "system": "{{ draft[0].text }}", "inputs": {"draft": 1}}),
        AgentSpec.model_validate(
            {"name": "chooser", "system": NUMBERED, "inputs": {"references": "2+"}, "reads": "choice"}
        ),
        AgentSpec.model_validate(
            {"name": "grader", "system": NUMBERED, "inputs": {"references": "1+"}, "reads": "score"}
        ),
        AgentSpec.model_validate({"name": "pair", "system": "Which?", "inputs": {"references": "2"}}),
        AgentSpec.model_validate(
            {"name": "speaker", "system": "Speak {{ tone }} as {{ persona }}.", "vars": {"tone": "plainly"}}
        ),
    )
}


def agents(name: str) -> AgentSpec:
    """The agents above; an unknown name is the user's mistake."""
    if name not in AGENTS:
        raise UsageError(f"unknown agent {name!r}")
    return AGENTS[name]


def graph(text: str) -> GraphSpec:
    """The graph of some YAML; a lone mapping of nodes will do."""
    data = yaml.safe_load(text)
    return GraphSpec.model_validate(data if "nodes" in data else {"nodes": data})


def compiled(text: str, *options: str) -> Plan:
    """The plan of some YAML, bound as `-m` options say; unbound without any."""
    return compile_graph(graph(text), Bindings.parse(options) if options else None, agents=agents)


def hears(plan: Plan, id: str) -> list[str]:
    """Ids that a node hears, in order."""
    return [edge.node for edge in plan.by_id[id].inputs]


def ids(plan: Plan) -> list[str]:
    """Ids of all nodes, in the plan's order."""
    return [node.id for node in plan.nodes]


def complaints(text: str, *options: str) -> list[str]:
    """`path.of.keys: message` for every mistake in some YAML."""
    found = mistakes(graph(text), agents, Bindings.parse(options) if options else None)
    return [f"{'.'.join(map(str, mistake.loc))}: {mistake.message}" for mistake in found]
