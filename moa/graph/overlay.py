"""An attack laid over a plan: other agents in the places of chosen nodes, everything else as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from moa.errors import SpecError, UsageError
from moa.graph.bind import Bindings
from moa.graph.mistake import Loc, Mistake, hint
from moa.graph.plan import Edge, PlanNode
from moa.spec.agent import AgentSpec
from moa.spec.attack import Deception
from moa.spec.graph import GraphSpec
from moa.spec.prompts import prompt_mistakes
from moa.spec.template import names_in

Agents = Callable[[str], AgentSpec]
Request = Callable[[PlanNode], str]


class Overlaid(NamedTuple):
    """The nodes under attack, and all that is wrong with the attack."""

    nodes: list[PlanNode]
    mistakes: list[Mistake]


def overlay(
    spec: GraphSpec,
    nodes: Sequence[PlanNode],
    answer: str,
    *,
    agents: Agents,
    bindings: Bindings | None,
    request: Request,
) -> Overlaid:
    """Put deceivers in their places; what a truthful node asks, and which sample of it, stays as it is.

    So the replies of a graph without the attack serve one with it, from the store. A deceiver's sample has the
    number of the node that it stands for, unless somebody asks for that very sample already. Nodes that nobody
    hears any more are left out. `request` says, as text, what a node asks for, except which sample.
    """
    seats = {node.id: node for node in nodes}
    wrong: list[Mistake] = []
    cast: dict[str, PlanNode] = {}
    for id, deception in spec.attack.items():
        wrong += (found := list(_misplaced(id, seats, answer)))
        if not found:
            taken = _stand_in(spec, seats[id], deception, agents, bindings, ("attack", id))
            wrong += taken.mistakes
            cast[id] = taken.node
    numbered = _numbered([cast.get(node.id, node) for node in nodes], request)
    return Overlaid(_heard(numbered, answer), wrong)


class _Seated(NamedTuple):
    node: PlanNode
    mistakes: list[Mistake]


def _misplaced(id: str, seats: Mapping[str, PlanNode], answer: str) -> Iterator[Mistake]:
    """Why nobody can deceive at this node."""
    node, loc = seats.get(id), ("attack", id)
    if node is None:
        line = [seat.id for seat in seats.values() if seat.group == id]
        message = (
            f"`{id}` is {len(line)} nodes: name one of them, such as `{line[-1]}`"
            if line
            else f"the graph has no node `{id}`{hint(id, seats)}"
        )
        yield Mistake(loc, message)
    elif id == answer:
        yield Mistake(loc, f"`{id}` gives the answer: nobody can deceive there; attack a node that it hears")
    elif node.select is not None:
        yield Mistake(loc, f"`{id}` is a selector: attack a node that asks a model")


def _stand_in(
    spec: GraphSpec,
    node: PlanNode,
    deception: Deception,
    agents: Agents,
    bindings: Bindings | None,
    loc: Loc,
) -> _Seated:
    """The node with the deceiver in place of its own agent."""
    wrong: list[Mistake] = []
    try:
        agent = deception.agent if isinstance(deception.agent, AgentSpec) else agents(deception.agent)
    except SpecError as error:
        return _Seated(node, [Mistake((*loc, "agent"), str(problem)) for problem in error.problems])
    except UsageError as error:
        return _Seated(node, [Mistake((*loc, "agent"), str(error))])
    wrong += _word_mistakes(agent, deception, loc)
    inputs = _inputs(agent, node, hears=deception.hears)
    wrong += _arity_mistakes(agent, node, inputs, loc)
    try:
        model = _model(spec, deception, bindings) or node.model
    except SpecError as error:
        model, wrong = node.model, [*wrong, Mistake((*loc, "model"), str(error))]
    known = {name: value for name, value in node.vars.items() if name in agent.vars}
    sources = len({edge.node for edge in inputs})
    seated = replace(
        node,
        agent=_acting(agent, node, deception),
        model=model,
        inputs=inputs,
        sampling=deception.sampling.over(node.sampling.over(agent.sampling)),
        quorum=min(node.quorum, sources) or None if node.quorum else None,
        vars={**agent.vars, **known, **deception.vars},
        deceives=True,
    )
    return _Seated(seated, wrong)


def _acting(agent: AgentSpec, node: PlanNode, deception: Deception) -> AgentSpec:
    """The deceiver's words; its reply is read as that of the agent for which it stands."""
    assert node.agent is not None
    given = tuple(name for name in agent.given if name not in deception.vars)
    own = {name: value for name, value in agent.vars.items() if name not in agent.given}
    read = {"reads": node.agent.reads, "pattern": node.agent.pattern}
    return agent.model_copy(update={"given": given, "vars": own, **read})


def _inputs(agent: AgentSpec, node: PlanNode, *, hears: bool) -> tuple[Edge, ...]:
    """What the deceiver hears, under its own names: an input that it does not know fills its first."""
    first = next(iter(agent.inputs), None)
    if first is None or not hears:
        return ()
    return tuple(Edge(edge.role if edge.role in agent.inputs else first, edge.node) for edge in node.inputs)


def _arity_mistakes(agent: AgentSpec, node: PlanNode, inputs: Sequence[Edge], loc: Loc) -> Iterator[Mistake]:
    for role, arity in agent.inputs.items():
        count = sum(edge.role == role for edge in inputs)
        if not arity.accepts(count):
            message = f"the agent `{agent.name}` takes {arity} as `{role}`, but hears {count} at `{node.id}`"
            yield Mistake((*loc, "agent"), message)


def _word_mistakes(agent: AgentSpec, deception: Deception, loc: Loc) -> Iterator[Mistake]:
    if isinstance(deception.agent, AgentSpec):
        for field, mistake in prompt_mistakes(agent, deception.vars):
            yield Mistake((*loc, "agent", field), mistake.message)
    templates = [template for template in (agent.system, agent.user) if template is not None]
    used = {name for template in templates for name in names_in(template)} if _readable(agent) else set()
    known = ({*agent.vars, *agent.given} | used) - {*agent.inputs, "question"}
    for variable in deception.vars:
        if variable not in known:
            message = f"the agent `{agent.name}` has no variable `{variable}`{hint(variable, sorted(known))}"
            yield Mistake((*loc, "vars", variable), message)


def _readable(agent: AgentSpec) -> bool:
    return not any(found.field in {"system", "user"} for found in prompt_mistakes(agent, agent.vars))


def _model(spec: GraphSpec, deception: Deception, bindings: Bindings | None) -> str | None:
    if deception.model is None or bindings is None:
        return deception.model
    named = deception.model
    if spec.slots and named not in spec.slots and named not in bindings.slots and bindings.is_slot(named):
        raise SpecError(
            f"`slots` declares no `{named}`, and a model is written `provider:id`{hint(named, spec.slots)}"
        )
    return bindings.model_of(named)


def _numbered(nodes: Sequence[PlanNode], request: Request) -> list[PlanNode]:
    taken = {(request(node), node.sample) for node in nodes if not node.deceives}
    found: list[PlanNode] = []
    for node in nodes:
        if node.deceives:
            asked, sample = request(node), node.sample
            while (asked, sample) in taken:
                sample += 1
            taken.add((asked, sample))
            node = replace(node, sample=sample)
        found.append(node)
    return found


def _heard(nodes: Sequence[PlanNode], answer: str) -> list[PlanNode]:
    """The nodes on which the answer still depends."""
    useful = {answer}
    for node in reversed(nodes):
        if node.id in useful:
            useful.update(node.sources)
    return [node for node in nodes if node.id in useful]


def seat_mistakes(spec: GraphSpec, nodes: Iterable[PlanNode]) -> list[Mistake]:
    """Values for single nodes that no node of the plan has, or whose agent does not know them."""
    seats = {node.id: node for node in nodes}
    wrong: list[Mistake] = []
    for id, values in spec.vars.items():
        agent = seats[id].agent if id in seats else None
        if agent is None:
            wrong.append(Mistake(("vars", id), f"no node called `{id}` asks a model{hint(id, seats)}"))
            continue
        known = {*agent.vars, *spec.nodes[seats[id].group].vars}
        for name in values.keys() - known:
            message = f"the agent `{agent.name}` has no variable `{name}`{hint(name, sorted(known))}"
            wrong.append(Mistake(("vars", id, name), message))
    return wrong
