"""The templates of a spec's agents, checked where they stand in the file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import yaml

from moa.errors import Problem
from moa.spec.agent import AgentSpec, Spec
from moa.spec.document import Document, Path
from moa.spec.graph import GraphSpec
from moa.spec.template import TemplateMistake, check, names_in

GIVEN = frozenset({"question"})
"""What every template sees besides the agent's inputs and vars."""

_DECLARING = frozenset({"inputs", "vars", "given"})


class PromptMistake(NamedTuple):
    """A mistake in the field `system` or `user` of an agent, or in `inputs` that neither of them shows."""

    field: str
    mistake: TemplateMistake


def prompt_mistakes(agent: AgentSpec, extra: Iterable[str] = ()) -> list[PromptMistake]:
    """The mistakes in an agent's templates, which see its inputs, its vars, and the `extra` names."""
    names = {*GIVEN, *agent.inputs, *agent.vars, *agent.given, *extra}
    templates = {"system": agent.system, "user": agent.user}
    mistakes = [
        PromptMistake(field, mistake)
        for field, template in templates.items()
        if template is not None
        for mistake in check(template, names)
    ]
    return mistakes or _unheard(agent)


def _unheard(agent: AgentSpec) -> list[PromptMistake]:
    """Inputs that a node would fill, and pay for, and that no template shows to the model."""
    used = {
        name for template in (agent.system, agent.user) if template is not None for name in names_in(template)
    }
    message = "the agent hears `{}`, but no template shows it to the model: use it, or remove the input"
    return [
        PromptMistake("inputs", TemplateMistake(1, message.format(name), name))
        for name in agent.inputs
        if name not in used
    ]


def find_prompt_problems(spec: Spec, document: Document, lost: Iterable[Path] = ()) -> list[Problem]:
    """The mistakes in the templates of an agent, or of the agents written inside a graph.

    An agent that `lost` some of the names that it declares is left out.
    """
    return [
        at_line((*loc, found.field), found.mistake, document)
        for loc, agent, extra in _agents(spec)
        if not any(_may_declare(place, loc) for place in lost)
        for found in prompt_mistakes(agent, extra)
    ]


def without_bad_prompts(spec: GraphSpec) -> GraphSpec:
    """The graph without the templates that have mistakes, so that none of them shows a second time."""
    nodes = dict(spec.nodes)
    for name, node in spec.nodes.items():
        if isinstance(node.agent, AgentSpec) and prompt_mistakes(node.agent, node.vars):
            silent = node.agent.model_copy(update={"system": None, "user": None})
            nodes[name] = node.model_copy(update={"agent": silent, "vars": {}})
    return spec.model_copy(update={"nodes": nodes})


def _may_declare(place: Path, loc: Path) -> bool:
    """Whether the value at `place` may have declared names for the templates of the agent at `loc`."""
    if loc and place[:3] == (*loc[:2], "vars"):
        return True
    own = place[len(loc) :]
    return place[: len(loc)] == loc and (own[0] in _DECLARING or own[0] not in AgentSpec.model_fields)


def _agents(spec: Spec) -> Iterator[tuple[Path, AgentSpec, Iterable[str]]]:
    """Each agent with its place, and the names that its node adds."""
    if isinstance(spec, AgentSpec):
        yield (), spec, ()
    if isinstance(spec, GraphSpec):
        for name, node in spec.nodes.items():
            if isinstance(node.agent, AgentSpec):
                yield ("nodes", name, "agent"), node.agent, node.vars


def at_line(loc: Path, mistake: TemplateMistake, document: Document) -> Problem:
    """The mistake at its own line of the file where YAML keeps lines, else at the template's start."""
    node = document.node(loc)
    start = document.problem(loc, mistake.message)
    if not isinstance(node, yaml.ScalarNode) or node.start_mark is None:
        return start
    index = node.start_mark.line + (mistake.line if node.style == "|" else 0)
    lines = document.text.splitlines()
    if index >= len(lines) or (node.style in {">", '"', "'"} and "\n" in node.value):
        return start
    after = 0 if node.style == "|" else node.start_mark.column
    word = re.compile(rf"\b{re.escape(mistake.word)}\b" if mistake.word else r"\S")
    found = word.search(lines[index], after)
    column = found.start() + 1 if found else start.column if index == start.line - 1 else 1
    return Problem(mistake.message, document.source, index + 1, column)
