"""`moa validate`: every mistake in every file, each with its line and column."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from moa.errors import Problem
    from moa.spec.defence import DefenceSpec
    from moa.spec.evaluation import EvalSpec
    from moa.spec.graph import GraphSpec
    from moa.spec.loader import Examined


def command(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...", help="Agent, graph, defence, models and evaluation files, in any mixture."
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list of mistakes.")] = False,
) -> None:
    """Check agent, graph, defence, models and evaluation files; every mistake is a line `file:line:column: message`."""
    import json

    from moa.errors import SpecError

    found: list[Problem] = []
    for path in paths:
        problems = _problems(path)
        found += problems
        if not problems and not as_json:
            typer.echo(f"{path}: ok", err=True)
    if as_json:
        typer.echo(json.dumps([problem._asdict() for problem in found], indent=2, ensure_ascii=False))
        raise typer.Exit(SpecError.exit_code if found else 0)
    if found:
        raise SpecError(found)


def _problems(path: Path) -> list[Problem]:
    """All mistakes in one file, in the order of its lines."""
    from moa.errors import Problem, SpecError, UsageError
    from moa.spec.defence import DefenceSpec
    from moa.spec.document import parse_leniently
    from moa.spec.evaluation import EvalSpec
    from moa.spec.graph import GraphSpec
    from moa.spec.loader import examine, in_order, kind_of, read_text

    try:
        text = read_text(path)
        kind = kind_of(parse_leniently(text, str(path)).document.data)
        if kind is EvalSpec:
            found = examine(text, str(path), EvalSpec)
            return in_order([*found.problems, *_judge_problems(found, path), *_agent_problems(found, path)])
        if kind is DefenceSpec:
            defence = examine(text, str(path), DefenceSpec)
            return in_order([*defence.problems, *_defence_problems(defence, path)])
        if kind is not GraphSpec:
            return examine(text, str(path), kind).problems
        graph = examine(text, str(path), GraphSpec)
        return in_order([*graph.problems, *_graph_problems(graph, path)])
    except SpecError as error:
        return error.problems
    except UsageError as error:
        return [Problem(str(error))]


def _agent_problems(found: Examined[EvalSpec], path: Path) -> list[Problem]:
    """Agents that the evaluation's protocol names and nobody has."""
    from moa.errors import UsageError
    from moa.spec.catalogue import find

    protocol = found.spec.protocol if found.spec else None
    named = {place: getattr(protocol, place) for place in ("first", "middle", "final")} if protocol else {}
    problems = []
    for place, stand_in in named.items():
        try:
            _ = stand_in is None or find("agents", stand_in.agent, path)
        except UsageError as error:
            problems.append(found.document.problem(("protocol", place), str(error)))
    return problems


def _judge_problems(found: Examined[EvalSpec], path: Path) -> list[Problem]:
    """Judges that nobody has: an agent, a graph, or who writes the checklist."""
    from moa.errors import UsageError
    from moa.spec.catalogue import Kind, find

    judge = found.spec.judge if found.spec else None
    if judge is None or any(place[0] == "judge" for place in found.lost):
        return []
    named: list[tuple[str, Kind, str | None]] = [
        ("agent", "agents", judge.agent),
        ("graph", "graphs", judge.graph),
        ("writer", "agents", judge.writer if "writer" in judge.model_fields_set else None),
    ]
    problems = []
    for field, kind, name in named:
        try:
            _ = name is None or find(kind, name, path)
        except UsageError as error:
            problems.append(found.document.problem(("judge", field), str(error)))
    return problems


def _defence_problems(defence: Examined[DefenceSpec], path: Path) -> list[Problem]:
    """Mistakes that show when the defence stands at the end of a plain graph of four members."""
    from moa.graph.check import mistakes
    from moa.graph.compile import catalogue_agents
    from moa.graph.defend import defend
    from moa.spec.graph import GraphSpec

    if defence.spec is None or defence.problems:
        return []
    nodes = {
        "defended-members": {"agent": "proposer", "models": ["a"], "samples": 4},
        defence.spec.answering: {"agent": "aggregator", "model": "a", "inputs": "defended-members"},
    }
    plain = GraphSpec.model_validate({"nodes": nodes, "answer": defence.spec.answering})
    agents = catalogue_agents(path)
    found = mistakes(defend(plain, defence.spec, agents=agents), agents)
    return [defence.document.problem(mistake.loc, mistake.message) for mistake in found]


def _graph_problems(graph: Examined[GraphSpec], path: Path) -> list[Problem]:
    """Mistakes in the wiring; where something that decides it had to be left out, only wrong names."""
    from moa.graph.check import misnamed, mistakes
    from moa.graph.compile import catalogue_agents
    from moa.spec.prompts import without_bad_prompts

    if graph.spec is None:
        return []
    agents = catalogue_agents(path)
    lost = [place for place in graph.lost if _decides_wiring(place)]
    if not lost:
        found = mistakes(without_bad_prompts(graph.spec), agents)
        if not found and not graph.problems:
            return _attack_problems(graph, graph.spec, path)
    elif any(len(place) < 3 for place in lost):
        return []  # a whole node could not be read: others may well hear it
    else:
        found = [
            mistake
            for mistake in misnamed(without_bad_prompts(graph.spec), agents)
            if not any(mistake.loc[: len(place)] == place for place in lost)
        ]
    return [graph.document.problem(mistake.loc, mistake.message) for mistake in found]


def _attack_problems(graph: Examined[GraphSpec], spec: GraphSpec, path: Path) -> list[Problem]:
    """Deceivers, and values for single nodes, that do not fit the graph: told where everything else is right."""
    from moa.errors import SpecError
    from moa.graph.compile import compile_graph

    try:
        compile_graph(spec, near=path, locate=graph.document.problem)
    except SpecError as error:
        return error.problems
    return []


def _decides_wiring(place: tuple[str | int, ...]) -> bool:
    """Whether a value at `place` of a graph may decide who hears whom."""
    if place[0] not in {"nodes", "answer"}:
        return False
    return place[2:3] not in {("sampling",), ("vars",), ("deadline",), ("timeout",), ("overflow",)}
