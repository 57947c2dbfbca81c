"""Composing a graph in Python: the same specification that a YAML file makes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from moa.backends.base import Backend
from moa.errors import SpecError, UsageError
from moa.graph.bind import Bindings, bound
from moa.graph.compile import compile_graph
from moa.graph.defend import defend as defend_spec
from moa.graph.defend import read_defence
from moa.graph.plan import Plan
from moa.nodes.selector import Selector
from moa.run.budget import Budget
from moa.run.conversation import Question
from moa.run.reply import Reply
from moa.run.runner import Given, Piece, Runner, Stream
from moa.run.store import Store
from moa.spec.agent import AgentSpec, Sampling
from moa.spec.build import spec_from
from moa.spec.catalogue import load_graph
from moa.spec.defence import DefenceSpec
from moa.spec.graph import GraphSpec, NodeSpec, Overflow, Rounds, Subsets, Window
from moa.spec.model import ModelSpec
from moa.spec.registry import BACKENDS, SELECTORS


class Node:
    """A node of a graph under construction; pass it as an input of another."""

    def __init__(self, graph: Graph, name: str) -> None:
        self.graph = graph
        self.name = name

    def __repr__(self) -> str:
        return f"<Node {self.name!r} of graph {self.graph.name!r}>"


Hears = Node | str | Sequence["Node | str"]
Inputs = Hears | Mapping[str, Hears]


class Graph:
    """An ensemble: agents and selectors, who hears whom, and which of them answers.

    `graph.agent(...)` and `graph.select(...)` add nodes; assigning one to an attribute names it, so
    `graph.answer = graph.agent(...)` is the node that answers. `spec` is what a YAML file would hold.

    Args:
        name: what the graph is called.
        description: what it does, in words.
        source: the paper that it comes from.
        slots: what each slot is for; where given, it must list all of them.
        answer: the name of the node that answers; by default `answer`, else the only one that nobody hears.
        overflow: what to do when references do not fit a context window.
        attack: who deceives, by concrete node: `{"refined[2]": "opposer"}`.
        vars: values for the templates of single concrete nodes.
    """

    name: str
    revision: int
    """Counts changes; a plan belongs to one revision."""
    answer: Node

    def __init__(
        self,
        name: str = "graph",
        *,
        description: str = "",
        source: str | None = None,
        slots: Mapping[str, str] | None = None,
        answer: str | None = None,
        overflow: Overflow = "truncate",
        attack: Mapping[str, Any] | None = None,
        vars: Mapping[str, Mapping[str, JsonValue]] | None = None,
    ) -> None:
        self.name = name
        self.revision = 0
        self._about: dict[str, Any] = {
            "description": description,
            "source": source,
            "slots": dict(slots or {}),
            "overflow": overflow,
            "attack": dict(attack or {}),
            "vars": dict(vars or {}),
        }
        self._nodes: dict[str, dict[str, Any]] = {}
        self._handles: dict[str, Node] = {}
        self._bindings = Bindings()
        self._near: Path | None = None
        self._answer = answer

    @classmethod
    def from_spec(cls, spec: GraphSpec, *, near: Path | None = None) -> Graph:
        """A graph with the nodes of `spec`; `near` is the folder that its relative paths mean."""
        about = {field: getattr(spec, field) for field in GraphSpec.model_fields if field != "nodes"}
        graph = cls(**about)
        graph._near = near
        graph._handles = {name: Node(graph, name) for name in spec.nodes}
        for name, node in spec.nodes.items():
            graph._nodes[name] = graph._linked({key: getattr(node, key) for key in node.model_fields_set})
        return graph

    def with_spec(self, spec: GraphSpec) -> Graph:
        """A graph of another specification, with the models and the folder of this one."""
        graph = Graph.from_spec(spec, near=self._near)
        graph._bindings = self._bindings
        return graph

    def agent(
        self,
        agent: str | AgentSpec,
        *,
        model: str | None = None,
        models: Sequence[str] | None = None,
        samples: int = 1,
        inputs: Inputs | None = None,
        name: str | None = None,
        window: Window | Mapping[str, int] | None = None,
        subsets: Subsets | Mapping[str, int] | str | None = None,
        rounds: Rounds | Mapping[str, Any] | int | None = None,
        sampling: Sampling | Mapping[str, Any] | None = None,
        vars: Mapping[str, JsonValue] | None = None,
        quorum: int | None = None,
        deadline: float | None = None,
        timeout: float | None = None,
        overflow: Overflow | None = None,
    ) -> Node:
        """Add nodes that ask a model.

        Args:
            agent: a name of the catalogue, a path to an agent file, or an `AgentSpec`.
            model: a model's name or a slot.
            models: several of them, one node each.
            samples: independent samples of each model.
            inputs: the nodes that are heard: one, several (residual edges), or by the agent's input names.
            name: the node's name; by default the agent's, or the attribute it is assigned to.
            window: sliding window over the references (Self-MoA-Seq).
            subsets: one node per subset of the references.
            rounds: repetitions, each hearing the one before.
            sampling: values over the agent's own.
            vars: values for the agent's templates.
            quorum: fire as soon as this many inputs have answered.
            deadline: seconds to wait for all inputs before a quorum suffices.
            timeout: seconds that the node may take.
            overflow: what to do when references do not fit the context window.
        """
        stem = agent.name if isinstance(agent, AgentSpec) else Path(agent).stem
        return self._add(name or self._free_name(stem or "node"), {"agent": agent, **_given(locals())})

    def select(
        self,
        selector: str | Mapping[str, Mapping[str, JsonValue]],
        *,
        inputs: Inputs,
        agent: str | AgentSpec | None = None,
        model: str | None = None,
        name: str | None = None,
        sampling: Sampling | Mapping[str, Any] | None = None,
        vars: Mapping[str, JsonValue] | None = None,
        rounds: Rounds | Mapping[str, Any] | int | None = None,
        quorum: int | None = None,
        deadline: float | None = None,
        timeout: float | None = None,
        overflow: Overflow | None = None,
    ) -> Node:
        """Add a node that keeps, orders or labels responses: `"majority"` or `{"top-k": {"k": 3}}`.

        A selector that asks through an agent (such as `top-k`) needs `agent` and `model` too; the other
        arguments are those of `agent`.
        """
        stem = selector if isinstance(selector, str) else next(iter(selector), "select")
        given = _given(locals())
        return self._add(name or self._free_name(stem), {"select": selector, "agent": agent, **given})

    def bind(self, models: str | Mapping[str, str | Sequence[str]]) -> Graph:
        """Bind slots to models by name, or every slot to one model; returns the graph itself.

        A slot that a node lists under `models` may take several: `{"members": ["openai:a", "openai:b"]}`.
        """
        if isinstance(models, str):
            self._bindings = Bindings(self._bindings.slots, models)
        else:
            taken = {slot: bound(model) for slot, model in models.items()}
            self._bindings = Bindings({**self._bindings.slots, **taken}, self._bindings.rest)
        self.revision += 1
        return self

    @property
    def spec(self) -> GraphSpec:
        """The specification; raises `SpecError` with every mistake at once."""
        nodes = {
            name: {key: _named(value) for key, value in fields.items() if value is not None}
            for name, fields in self._nodes.items()
        }
        about = {key: value for key, value in self._about.items() if value}
        return spec_from(GraphSpec, {"name": self.name, **about, "nodes": nodes, "answer": self._answer})

    def plan(self, models: Mapping[str, ModelSpec] | None = None) -> Plan:
        """The compiled graph with its slots bound; `models` are entries of a models.yaml."""
        bindings = Bindings(
            self._bindings.slots, self._bindings.rest, {**self._bindings.models, **(models or {})}
        )
        return compile_graph(self.spec, bindings, near=self._near)

    def rewritten(self, change: Callable[[GraphSpec, Path | None], GraphSpec]) -> Graph:
        """A new graph with the nodes that `change` makes of this one's, and its models."""
        graph = Graph.from_spec(change(self.spec, self._near), near=self._near)
        graph._bindings = self._bindings
        return graph

    async def run(
        self,
        question: Question,
        *,
        store: str | Path | Store | None = None,
        seed: int = 0,
        budget: Budget | None = None,
        timeout: float | None = None,
        models: str | Path | Mapping[str, ModelSpec] | None = None,
        given: Given = None,
    ) -> Reply:
        """Answer one question with a runner of its own; raises the error where there is no answer."""
        async with Runner(store=store, seed=seed, budget=budget, timeout=timeout, models=models) as runner:
            return await runner.run(self, question, given=given)

    def run_sync(
        self,
        question: Question,
        *,
        store: str | Path | Store | None = None,
        seed: int = 0,
        budget: Budget | None = None,
        timeout: float | None = None,
        models: str | Path | Mapping[str, ModelSpec] | None = None,
        given: Given = None,
    ) -> Reply:
        """`run` for code that is not asynchronous; raises `UsageError` inside a running event loop."""
        _refuse_running_loop()
        return asyncio.run(
            self.run(
                question, store=store, seed=seed, budget=budget, timeout=timeout, models=models, given=given
            )
        )

    async def stream(
        self,
        question: Question,
        *,
        store: str | Path | Store | None = None,
        seed: int = 0,
        budget: Budget | None = None,
        timeout: float | None = None,
        models: str | Path | Mapping[str, ModelSpec] | None = None,
        given: Given = None,
    ) -> AsyncIterator[Piece]:
        """Pieces of the answer as they arrive (`Runner.stream` gives the whole reply too)."""
        async with Runner(store=store, seed=seed, budget=budget, timeout=timeout, models=models) as runner:
            stream = Stream(runner, self, question, given)
            async for piece in stream:
                yield piece

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Node):
            self._name_node(value, name)
        else:
            super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Node:
        try:
            return self.__dict__["_handles"][name]  # type: ignore[no-any-return]
        except KeyError:
            raise AttributeError(f"graph has no node and no attribute {name!r}") from None

    def _add(self, name: str, fields: dict[str, Any]) -> Node:
        if name in self._nodes:
            raise SpecError(f"the graph {self.name!r} has a node {name!r} already: give another `name`")
        self._nodes[name] = self._linked(fields)
        self._handles[name] = Node(self, name)
        self.revision += 1
        return self._handles[name]

    def _free_name(self, stem: str) -> str:
        number = 1
        while (name := stem if number == 1 else f"{stem}-{number}") in self._nodes:
            number += 1
        return name

    def _name_node(self, node: Node, name: str) -> None:
        """Rename a node, keeping its place among the others and everything that mentions it."""
        if node.graph is not self:
            raise UsageError(f"{node!r} belongs to another graph")
        if name in self.__dict__ or hasattr(Graph, name):
            raise UsageError(f"every graph has an attribute `{name}`: call the node something else")
        if name != node.name and name in self._nodes:
            raise SpecError(f"the graph {self.name!r} has a node {name!r} already")
        old, node.name = node.name, name
        self._nodes = {name if key == old else key: fields for key, fields in self._nodes.items()}
        self._handles[name] = self._handles.pop(old)
        if self._answer == old or name == "answer":
            self._answer = None if name == "answer" else name
        self.revision += 1

    def _linked(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """A node's fields with nodes for their names, which later renames change."""
        linked = {**fields, "inputs": self._link(fields.get("inputs"))}
        rounds = fields.get("rounds")
        if isinstance(rounds, Rounds):
            rounds = rounds.model_dump(exclude_none=True)
        if isinstance(rounds, Mapping) and "replace" in rounds:
            rounds = {**rounds, "replace": self._link(rounds["replace"])}
        return {**linked, "rounds": rounds}

    def _link(self, named: Any) -> Any:
        if isinstance(named, Node) and named.graph is not self:
            raise UsageError(f"{named!r} belongs to another graph")
        if isinstance(named, str):
            return self._handles.get(named, named)
        if isinstance(named, Mapping):
            return {role: self._link(hears) for role, hears in named.items()}
        if isinstance(named, Sequence):
            return [self._link(item) for item in named]
        return named


def load(graph: str | Path, *, models: str | Mapping[str, str | Sequence[str]] | None = None) -> Graph:
    """A graph of the catalogue or of a YAML file, with its slots bound to `models`.

    Args:
        graph: a catalogue name such as `self-moa`, or a path.
        models: a model for each slot (or several in a list, as `bind` takes them), or one model for all of them;
            unbound, the embedded model answers.
    """
    located = load_graph(str(graph))
    loaded = Graph.from_spec(located.spec, near=located.folder)
    return loaded.bind(models) if models else loaded


def defend(graph: Graph | str, defence: str | DefenceSpec) -> Graph:
    """A graph with its last step rewritten by a defence; the given one stays as it is.

    Args:
        graph: a graph, or what `load` takes.
        defence: a name of the catalogue or a file, with options: `"trimmed(drop=2)"`; or a `DefenceSpec`.
    """
    whole = load(graph) if isinstance(graph, str) else graph
    chosen = read_defence(defence).spec if isinstance(defence, str) else defence
    return whole.rewritten(lambda spec, near: defend_spec(spec, chosen, near=near))


def _refuse_running_loop() -> None:
    """A notebook runs a loop already, in which only `await` works."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise UsageError("an event loop is running here (a notebook?): write `await graph.run(...)`")


def _given(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The wiring and settings of a node that were given."""
    fields = NodeSpec.model_fields.keys() - {"agent", "select"}
    return {key: value for key, value in arguments.items() if key in fields and value is not None}


def _named(value: Any) -> Any:
    """Nodes by their names, at any depth."""
    if isinstance(value, Node):
        return value.name
    if isinstance(value, list):
        return [_named(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _named(item) for key, item in value.items()}
    return value


def register_selector(name: str, selector: type[Selector]) -> None:
    """Make a selector of your own usable by name in this process.

    An installed package does the same with an entry point in the group `moa.selectors`.
    """
    SELECTORS.register(name, selector)


def register_backend(name: str, backend: Callable[[ModelSpec], Backend]) -> None:
    """Make models called `name:...` go to a backend of your own in this process.

    `backend` is called with the model's spec. An installed package does the same with an entry point in the
    group `moa.backends`.
    """
    BACKENDS.register(name, backend)
