"""Mermaid and DOT: every node and edge is there, and no name breaks out of its quotes."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from moa.graph.compile import compile_graph
from moa.graph.draw import dot, mermaid
from moa.graph.plan import Plan
from moa.spec.catalogue import load_graph, names
from tests.graph.sketch import compiled

MOA = """
drafts:  {agent: proposer,   models: [a, b]}
end:     {agent: aggregator, models: [a, b], inputs: drafts}
answer:  {agent: aggregator, model: 'http://h:1/v1#x"];<b>&y\\', inputs: end}
"""
BALLOTS = """
drafts:  {agent: proposer, model: a, samples: 6}
ballots: {agent: aggregator, model: a, inputs: drafts, subsets: all}
answer:  {select: majority, inputs: ballots}
"""
_NODE = r'(\w+)(?:\(\["[^"]*"\]\)|\("[^"]*"\)|\{\{"[^"]*"\}\})'
_STATEMENTS = [
    r"flowchart TB",
    r'subgraph \w+\["[^"]*"\]',
    r"end",
    _NODE,
    r'\w+ (?:-->|==>|-\.->)(?:\|"[^"]*"\|)? \w+',
    r"classDef \w+ \S+",
    r"class [\w,]+ \w+",
    r"style \w+ \S+",
]


def statements(text: str) -> list[str]:
    """The statements of a flowchart, each of which must be one that we know."""
    head, title, tail, *lines = text.splitlines()
    assert (head, tail) == ("---", "---")
    assert re.fullmatch(r'title: "(?:[^"\\]|\\.)*"', title)
    for line in lines:
        assert any(re.fullmatch(known, line.strip()) for known in _STATEMENTS), line
    return [line.strip() for line in lines]


def gallery() -> list[Plan]:
    return [compile_graph(load_graph(name).spec) for name in names("graphs")]


@pytest.mark.parametrize("plan", gallery(), ids=lambda plan: plan.name)
def test_the_gallery_is_valid_mermaid_with_every_node_and_edge(plan: Plan) -> None:
    lines = statements(mermaid(plan))
    nodes = [match[1] for line in lines if (match := re.fullmatch(_NODE, line))]
    assert len(nodes) == len(set(nodes)) == len(plan.nodes)
    edges = [line.split() for line in lines if "-->" in line]
    assert all(end in nodes for edge in edges for end in (edge[0], edge[-1]))
    heard = sum(len({(edge.role, edge.node) for edge in node.inputs}) for node in plan.nodes)
    assert len(edges) == heard


def test_names_that_mean_something_to_mermaid_are_made_harmless() -> None:
    text = mermaid(compiled(MOA))
    statements(text)
    assert not re.search(r"^\s+end_?\(", text, re.MULTILINE)
    assert "#34;#93;" not in text and "<b>" not in text
    assert "#34;" in text and "#60;b#62;" in text and "#35;x" in text


def test_repeats_and_roles_are_told_on_the_edge() -> None:
    plan = compiled("""
draft:    {agent: proposer, model: a}
critique: {agent: critic, model: b, inputs: draft}
refined:  {agent: refiner, model: a, inputs: {draft: draft, critique: critique}}
drafts:   {agent: proposer, model: a, samples: 4}
answer:   {agent: aggregator, model: a, inputs: [refined, drafts], window: {size: 3, keep: 2}}
""")
    text = mermaid(plan)
    assert 'critique -->|"critique"| refined' in text
    assert 'answer_0 -->|"x 2"| answer_1' in text
    assert '"critique" -> "refined" [label="critique"]' in dot(plan)


def test_many_edges_become_one() -> None:
    text = mermaid(compiled(BALLOTS))
    statements(text)
    assert "group_drafts -.-> group_ballots" in text
    assert "group_ballots ==> answer" in text
    assert text.count("-->") == 0
    assert "style=dashed" in dot(compiled(BALLOTS))


_STRING = r'"(?:[^"\\]|\\.)*"'
_ATTRIBUTES = rf"\[\w+=(?:{_STRING}|[\w.]+)(?:, \w+=(?:{_STRING}|[\w.]+))*\]"
_DOT = [
    rf"digraph {_STRING} \{{",
    rf"(?:graph|node|edge) {_ATTRIBUTES}",
    r"subgraph cluster_\d+ \{",
    rf"label={_STRING}",
    rf"{_STRING} {_ATTRIBUTES}",
    rf"{_STRING} -> {_STRING}(?: {_ATTRIBUTES})?",
    r"\}",
]


@pytest.mark.parametrize(
    "plan", [*gallery(), compiled(MOA), compiled(BALLOTS)], ids=lambda plan: plan.name or "odd"
)
def test_dot_is_well_formed(plan: Plan) -> None:
    text = dot(plan)
    for line in text.splitlines():
        assert any(re.fullmatch(known, line.strip()) for known in _DOT), line
    assert text.count("{") == text.count("}")
    nodes = [line for line in text.splitlines() if re.match(rf"\s+{_STRING} \[label", line)]
    assert len(nodes) == len(plan.nodes)


@pytest.mark.skipif(shutil.which("dot") is None, reason="graphviz is not installed")
@pytest.mark.parametrize("plan", [compiled(MOA), compiled(BALLOTS)])
def test_graphviz_takes_our_dot(plan: Plan) -> None:
    drawn = subprocess.run(["dot", "-Tsvg"], input=dot(plan), capture_output=True, text=True, check=False)
    assert (drawn.returncode, drawn.stderr) == (0, "")
    assert drawn.stdout.count('class="node"') == len(plan.nodes)
