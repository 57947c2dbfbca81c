"""Everything that is wrong with a graph, found before any call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import networkx as nx
from jinja2 import TemplateSyntaxError, meta
from pydantic import ValidationError

from moa.errors import SpecError, UsageError
from moa.graph.bind import Bindings
from moa.graph.mistake import Loc, Mistake, hint
from moa.graph.part import Part, Selection
from moa.graph.round import group_graph
from moa.graph.wiring import Wired, Wiring
from moa.spec.agent import AgentSpec
from moa.spec.graph import GraphSpec, NodeSpec, Select
from moa.spec.mistakes import find_mistakes
from moa.spec.registry import SELECTORS

Agents = Callable[[str], AgentSpec]


@dataclass(frozen=True, slots=True)
class Examined:
    """A graph as far as it can be made out, and all that is wrong with it."""

    parts: Mapping[str, Part]
    wiring: Wiring
    answer: str | None
    """The id of the concrete node that answers."""
    mistakes: list[Mistake]


def mistakes(spec: GraphSpec, agents: Agents, bindings: Bindings | None = None) -> list[Mistake]:
    """All mistakes in a graph at once, in the order of its nodes.

    `agents` looks up an agent by name and raises `UsageError` or `SpecError` for one that is not there
    or is wrong itself. With `bindings`, slots that they leave unbound are mistakes too.
    """
    return examine(spec, agents, bindings).mistakes


def examine(spec: GraphSpec, agents: Agents, bindings: Bindings | None = None) -> Examined:
    """Look up the agents and selectors of a graph, compile what is sound of it, and check everything."""
    examination = _Examination(spec, bindings)
    for name, node in spec.nodes.items():
        examination.look_up(name, node, agents)
    examination.check_structure()
    answer = examination.check_answer()
    wiring = examination.wire(answer)
    concrete = examination.check_responses(wiring, answer)
    order = {name: index for index, name in enumerate(spec.nodes)}
    found = sorted(dict.fromkeys(examination.found), key=lambda mistake: _rank(mistake, order))
    return Examined(examination.parts, wiring, concrete, found)


def misnamed(spec: GraphSpec, agents: Agents) -> list[Mistake]:
    """Only the names that nothing answers to: of agents, selectors and nodes that are heard.

    For a graph of which parts could not be read, so that its wiring cannot be judged.
    """
    examination = _Examination(spec, None)
    for name, node in spec.nodes.items():
        examination.look_up(name, node, agents)
    found = [m for m in examination.found if m.loc[2:] in {("agent",), ("select",)}]
    for name, node in spec.nodes.items():
        found += _unknown_inputs(name, node, examination.parts)
    return list(dict.fromkeys(found))


def _rank(mistake: Mistake, order: Mapping[str, int]) -> int:
    return order.get(str(mistake.loc[1]), -1) if len(mistake.loc) > 1 else -1


@dataclass(slots=True)
class _Examination:
    """One pass over a graph; a node is `unsound` when what it hears or hands on cannot be known."""

    spec: GraphSpec
    bindings: Bindings | None
    parts: dict[str, Part] = field(default_factory=dict)
    found: list[Mistake] = field(default_factory=list)
    unsound: set[str] = field(default_factory=set)

    def add(self, found: Iterable[Mistake], unsound: bool = False) -> None:
        """Note the mistakes of one node."""
        for mistake in found:
            self.found.append(mistake)
            if unsound:
                self.unsound.add(str(mistake.loc[1]))

    def look_up(self, name: str, node: NodeSpec, agents: Agents) -> None:
        """Find the agent and the selector of a node, and check what it says of itself."""
        agent = node.agent if isinstance(node.agent, AgentSpec) else None
        if isinstance(node.agent, str):
            try:
                agent = agents(node.agent)
            except SpecError as error:
                wrong = [Mistake(("nodes", name, "agent"), str(problem)) for problem in error.problems]
                self.add(wrong, unsound=True)
            except UsageError as error:
                self.add([Mistake(("nodes", name, "agent"), str(error))], unsound=True)
        selector = self._selector(name, node.select) if node.select is not None else None
        asked = selector.asks() if selector is not None else {}
        undeclared = list(_undeclared(name, node, asked, self.spec.slots, self.bindings or Bindings()))
        bound, unbound = _bound(name, node, self.bindings)
        asked, lacking = _bound_by_selector(name, asked, self.bindings)
        unbound += lacking
        part = self.parts[name] = Part(node, agent, selector, bound, asked)
        self.add(_members_mistakes(name, part))
        self.add(_agent_mistakes(name, part), unsound=True)
        self.add(undeclared or unbound)
        if self.bindings is not None and selector is not None and (lack := selector.lacks()):
            self.add([Mistake(("nodes", name, "select"), lack)])

    def _selector(self, name: str, select: Select) -> Selection | None:
        loc = ("nodes", name, "select")
        if select.name not in SELECTORS:
            message = f"unknown selector `{select.name}`{hint(select.name, SELECTORS.names())}"
            self.add([Mistake(loc, message)], unsound=True)
            return None
        kind: Any = SELECTORS.get(select.name)
        try:
            selector: Selection = kind.model_validate(select.options)
        except ValidationError as error:
            wrong = find_mistakes(error, kind, select.options)
            self.add((Mistake((*loc, "options", *w.path), w.message) for w in wrong), unsound=True)
            return None
        return selector

    def check_structure(self) -> None:
        """Inputs that do not exist, and nodes that hear themselves in the end."""
        for name, part in self.parts.items():
            self.add(_unknown_inputs(name, part.spec, self.parts), unsound=True)
        graph = group_graph(self.parts)
        for circle in nx.strongly_connected_components(graph):
            mistake = _cycle(graph, circle, list(self.parts))
            if mistake is not None:
                self.found.append(mistake)
                self.unsound |= circle
        broken = {name for start in self.unsound for name in nx.descendants(graph, start)}
        self.unsound |= broken

    def check_answer(self) -> str | None:
        """The node of the graph that answers, and those that it never hears.

        Where an input is misnamed, the node that is meant only seems not to be heard.
        """
        answer = answer_name(self.spec, self.parts)
        if isinstance(answer, Mistake):
            self.found.append(answer)
            return None
        graph = group_graph(self.parts)
        useful: set[str] = nx.ancestors(graph, answer) | {answer}
        misnamed = any(next(_unknown_inputs(*item, self.parts), None) for item in self.spec.nodes.items())
        for name in self.parts:
            if name not in useful and not misnamed:
                message = f"`{name}` never reaches the answer `{answer}`: let a node hear it, or remove it"
                self.found.append(Mistake(("nodes", name), message))
        return answer

    def wire(self, answer: str | None) -> Wiring:
        """Compile the sound part of the graph."""
        sound = {name: part for name, part in self.parts.items() if name not in self.unsound}
        wiring = Wiring(sound, answer)
        self.found += wiring.mistakes
        return wiring

    def check_responses(self, wiring: Wiring, answer: str | None) -> str | None:
        """How many responses arrive where; returns the id of the concrete node that answers."""
        for node in wiring.nodes.values():
            self.add(_arity_mistakes(node, self.parts[node.group]))
        for name, part in wiring.parts.items():
            self.add(_quorum_mistakes(name, part, wiring.of_group(name)))
        if answer is None or answer not in wiring.outputs:
            return None
        ids = wiring.outputs[answer]
        handed_on = sum(wiring.nodes[id].responses for id in ids)
        if len(ids) == 1 and handed_on == 1:
            return ids[0]
        what = f"is {len(ids)} nodes" if len(ids) > 1 else f"hands on up to {handed_on} responses"
        message = f"`{answer}` answers but {what}: end with one response, by an aggregator or a selector"
        self.found.append(Mistake(("nodes", answer), message))
        return None


def _members_mistakes(name: str, part: Part) -> Iterator[Mistake]:
    """Models where none are asked, and none where they are."""
    node = part.spec
    named = "model" if node.model is not None else "models" if node.models is not None else None
    if node.agent is not None:
        if named is None:
            example = "`model: a` (a slot, bound when the graph runs) or `model: provider:id`"
            yield Mistake(("nodes", name), f"`{name}` asks a model but names none: add {example}")
        return
    if named is not None:
        message = f"the selector of `{name}` asks no model: remove `{named}`, or add the `agent` that it asks"
        yield Mistake(("nodes", name, named), message)
    if node.samples > 1:
        message = f"`{name}` asks no model, so its samples would be equal: remove `samples`"
        yield Mistake(("nodes", name, "samples"), message)
    for field_name in ("vars", "sampling"):
        if field_name in node.model_fields_set:
            message = f"`{name}` asks no model: remove `{field_name}`"
            yield Mistake(("nodes", name, field_name), message)


def _agent_mistakes(name: str, part: Part) -> Iterator[Mistake]:
    """Inputs and variables that the agent does not know, and an agent that the selector lacks."""
    if part.selector is not None:
        yield from _selector_mistakes(name, part)
    elif part.spec.agent is not None and part.agent is not None:
        yield from _role_mistakes(name, part, part.agent)
    if part.agent is not None:
        yield from _variable_mistakes(name, part.spec, part.agent)


def _selector_mistakes(name: str, part: Part) -> Iterator[Mistake]:
    selector, node = part.selector, part.spec
    assert selector is not None and node.select is not None
    if selector.needs_agent() and node.agent is None:
        message = f"the selector `{node.select.name}` asks a model: add `agent` and `model`"
        yield Mistake(("nodes", name, "select"), message)
    if node.agent is not None and not selector.needs_agent() and selector.calls(8) == 0:
        message = f"the selector `{node.select.name}` asks nobody: remove `agent`"
        yield Mistake(("nodes", name, "agent"), message)
    if part.agent is not None and not part.agent.inputs:
        message = f"the agent {_called(part)} hears nothing, so the selector cannot ask it: give it an input"
        yield Mistake(("nodes", name, "agent"), message)
    elif part.agent is not None and (refusal := selector.refuses(part.agent)):
        yield Mistake(("nodes", name, "agent", "reads"), refusal)
    if isinstance(node.inputs, dict):
        yield Mistake(("nodes", name, "inputs"), "a selector chooses from one list: write `inputs: [...]`")


def _role_mistakes(name: str, part: Part, agent: AgentSpec) -> Iterator[Mistake]:
    loc = ("nodes", name, "inputs")
    groups = part.spec.input_groups()
    if groups and not agent.inputs:
        message = f"the agent {_called(part)} hears nothing: remove `inputs`, or take an agent that hears (an aggregator)"
        yield Mistake(loc, message)
        return
    for role in groups:
        if role and role not in agent.inputs:
            yield Mistake(
                (*loc, role), f"the agent {_called(part)} has no input `{role}`{hint(role, agent.inputs)}"
            )
    filled = {role or part.main for role in groups}
    for role, arity in agent.inputs.items():
        if role not in filled and arity.min > 0:
            remedy = f"add `{role}` to `inputs`" if groups else "add `inputs`"
            message = f"the agent {_called(part)} needs `{role}` ({arity}): {remedy}"
            yield Mistake(loc, message)


def _variable_mistakes(name: str, node: NodeSpec, agent: AgentSpec) -> Iterator[Mistake]:
    used = _names_used(agent)
    if used is None:
        return
    known = agent.vars.keys() | (used - agent.inputs.keys() - {"question"} - {*agent.given})
    for variable in node.vars:
        if variable not in known:
            message = f"the agent has no variable `{variable}`{hint(variable, sorted(known))}"
            yield Mistake(("nodes", name, "vars", variable), message)
    for variable in sorted(
        used - agent.vars.keys() - node.vars.keys() - agent.inputs.keys() - {"question"} - {*agent.given}
    ):
        message = f"the agent's template uses `{variable}`: add it to `vars`"
        yield Mistake(("nodes", name, "vars" if node.vars else "agent"), message)


def _names_used(agent: AgentSpec) -> set[str] | None:
    """The names that an agent's templates ask for; None where a template cannot be read."""
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment()
    try:
        trees = [
            environment.parse(template) for template in (agent.system, agent.user) if template is not None
        ]
    except TemplateSyntaxError:
        return None
    return {
        used for tree in trees for used in meta.find_undeclared_variables(tree)
    } - environment.globals.keys()


def _places_of_models(node: NodeSpec) -> Iterator[tuple[Loc, str]]:
    """The slots and models that a node names, each with its place."""
    yield from ((("models", index), model) for index, model in enumerate(node.models or ()))
    if node.model is not None:
        yield ("model",), node.model


def _undeclared(
    name: str, node: NodeSpec, asked: Mapping[str, str], slots: Mapping[str, str], bindings: Bindings
) -> Iterator[Mistake]:
    """Slots beside those that the graph declares, unless somebody binds them by name: most likely misspelt."""
    for place, model in (*_places_of_models(node), *_places_of_asked(asked)):
        if slots and model not in slots and model not in bindings.slots and bindings.is_slot(model):
            message = (
                f"`slots` declares no `{model}`, and a model is written `provider:id`{hint(model, slots)}"
            )
            yield Mistake(("nodes", name, *place), message)


def _bound(name: str, node: NodeSpec, bindings: Bindings | None) -> tuple[tuple[str, ...], list[Mistake]]:
    """What a node's slots are bound to, and what is wrong with that."""
    models: list[str] = []
    wrong: list[Mistake] = []
    for place, model in _places_of_models(node) if bindings is not None else ():
        assert bindings is not None
        try:
            several = place != ("model",)
            models += bindings.models_of(model) if several else [bindings.model_of(model)]
        except SpecError as error:
            wrong.append(Mistake(("nodes", name, *place), str(error)))
    return (() if wrong else tuple(models)), wrong


def _places_of_asked(asked: Mapping[str, str]) -> Iterator[tuple[Loc, str]]:
    """The slots and models that a selector's options name, each with its place."""
    yield from ((("select", "options", option), model) for option, model in asked.items())


def _bound_by_selector(
    name: str, asked: Mapping[str, str], bindings: Bindings | None
) -> tuple[Mapping[str, str], list[Mistake]]:
    """What the slots in a selector's options are bound to, and what is wrong with that."""
    if bindings is None:
        return asked, []
    found: dict[str, str] = {}
    wrong: list[Mistake] = []
    for place, model in _places_of_asked(asked):
        try:
            found[str(place[-1])] = bindings.model_of(model)
        except SpecError as error:
            wrong.append(Mistake(("nodes", name, *place), str(error)))
    return found, wrong


def _unknown_inputs(name: str, node: NodeSpec, parts: Mapping[str, Part]) -> Iterator[Mistake]:
    for place, heard in _places_of_names(node):
        if heard not in parts:
            others = [other for other in parts if other != name]
            message = f"no node is called `{heard}`{hint(heard, others)}"
            yield Mistake(("nodes", name, *place), message)


def _places_of_names(node: NodeSpec) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """The names of other nodes that a node mentions, each with its place."""
    named: Mapping[str, Any] = node.inputs if isinstance(node.inputs, dict) else {"": node.inputs}
    for role, names in named.items():
        place = ("inputs", role) if isinstance(node.inputs, dict) else ("inputs",)
        if isinstance(names, str):
            yield place, names
        else:
            yield from (((*place, index), heard) for index, heard in enumerate(names))
    if node.rounds is not None and node.rounds.replace is not None:
        yield ("rounds", "replace"), node.rounds.replace


def _cycle(graph: nx.DiGraph[str], circle: set[str], order: list[str]) -> Mistake | None:
    """The cycle through the first of these nodes, if there is one."""
    first = min(circle, key=order.index)
    if len(circle) == 1 and not graph.has_edge(first, first):
        return None
    if len(circle) == 1:
        path = [first, first]
    else:
        back: nx.DiGraph[str] = nx.DiGraph(graph.subgraph(circle))
        path = min(
            (nx.shortest_path(back, heard, first) for heard in back.successors(first)),
            key=lambda way: (len(way), [order.index(name) for name in way]),
        )
        path = [first, *path]
    message = (
        f"nodes hear each other in a circle: {' -> '.join(path)}; use `rounds` to repeat a part of a graph"
    )
    return Mistake(("nodes", first, "inputs"), message)


def answer_name(spec: GraphSpec, parts: Mapping[str, Part]) -> str | Mistake:
    """The node that answers: the one that the graph names, else `answer`, else the only one that nobody hears."""
    if spec.answer is not None:
        if spec.answer in parts:
            return spec.answer
        return Mistake(("answer",), f"no node is called `{spec.answer}`{hint(spec.answer, parts)}")
    if "answer" in parts:
        return "answer"
    graph = group_graph(parts)
    last = [name for name in parts if not set(graph.successors(name)) - {name}]
    if len(last) == 1:
        return last[0]
    if not last:
        return Mistake(("nodes",), "no node answers: call one `answer`, or name it with `answer: NODE`")
    listed = ", ".join(f"`{name}`" for name in last)
    return Mistake(("nodes",), f"{listed} are heard by nobody: name the one that answers with `answer: NODE`")


def _arity_mistakes(node: Wired, part: Part) -> Iterator[Mistake]:
    """Too few or too many responses for an agent's input; a selector shows its agent as many as it likes."""
    if part.agent is None or part.selector is not None:
        return
    for role, count in node.arriving.items():
        arity = part.agent.inputs.get(role)
        if arity is not None and not arity.accepts(count):
            loc: tuple[str | int, ...] = ("nodes", node.group, "inputs")
            if isinstance(part.spec.inputs, dict):
                loc = (*loc, role)
            where = f"`{node.id}`" if node.id != node.group else f"`{node.group}`"
            what = "responses arrive" if count != 1 else "response arrives"
            message = f"the agent {_called(part)} takes {arity} as `{role}`, but {count} {what} at {where}"
            yield Mistake(loc, message)
            return


def _quorum_mistakes(name: str, part: Part, nodes: list[Wired]) -> Iterator[Mistake]:
    quorum = part.spec.quorum
    most = max((len({edge.node for edge in node.inputs}) for node in nodes), default=None)
    if quorum is not None and most is not None and quorum > most:
        message = f"a quorum of {quorum} is more than the {most} nodes that `{name}` hears"
        yield Mistake(("nodes", name, "quorum"), message)


def _called(part: Part) -> str:
    agent = part.spec.agent
    name = agent if isinstance(agent, str) else agent.name if agent else ""
    return f"`{name}`" if name else "written here"
