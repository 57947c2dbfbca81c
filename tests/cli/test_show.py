"""`moa show` prints a file, its paper, and the nodes that it becomes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from moa.cli.wiring import wiring_lines
from moa.graph.plan import Edge, Plan, PlanNode
from moa.spec.agent import AgentSpec, Sampling
from moa.spec.catalogue import find
from moa.spec.graph import Select
from tests.cli.calling import Caller

GRAPH = """\
description: Two drafts and an answer.
source: A paper.
nodes:
  drafts: {agent: {system: Draft.}, model: a, samples: 2}
  answer:
    agent: {system: "Join {{ refs }}", inputs: {refs: 1+}}
    model: b
    inputs: drafts
"""


@pytest.fixture
def moa(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Caller:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "g.yaml").write_text(GRAPH)
    return Caller(monkeypatch, capsys)


def test_graph(moa: Caller) -> None:
    called = moa("show", "g.yaml")
    assert (called.code, called.err) == (0, "")
    assert called.out == (
        f"# g.yaml\n{GRAPH}\n"
        "# source: A paper.\n"
        "#\n"
        "# 3 nodes, of which `answer` answers:\n"
        "#   drafts[0]  agent written here  a\n"
        "#   drafts[1]  agent written here  a\n"
        "#   answer     agent written here  b  <- drafts[0..1]\n"
    )


def test_output_is_the_file_again(moa: Caller) -> None:
    shown = yaml.safe_load(moa("show", "moa").out)
    assert shown == yaml.safe_load(find("graphs", "moa").read_text())


def test_graph_as_json(moa: Caller) -> None:
    shown = json.loads(moa("show", "g.yaml", "--json").out)
    assert (shown["kind"], shown["answer"], shown["source"]) == ("graphs", "answer", "A paper.")
    assert [node["id"] for node in shown["nodes"]] == ["drafts[0]", "drafts[1]", "answer"]
    assert shown["nodes"][2]["hears"] == [{"role": "refs", "node": f"drafts[{n}]"} for n in (0, 1)]


def test_agent(moa: Caller) -> None:
    text = find("agents", "proposer").read_text()
    assert text.rstrip() in moa("show", "proposer").out
    assert json.loads(moa("show", "proposer", "--json").out)["yaml"] == text


def test_terminal(moa: Caller) -> None:
    shown = moa("show", "g.yaml", terminal=True).out
    assert "answers:" in shown
    assert "Draft." in shown


def test_mistake_in_the_graph_has_its_position(moa: Caller, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("nodes:\n  a: {agent: {system: Hi}, model: x, inputs: b}\n")
    called = moa("show", "bad.yaml")
    assert called.code == 2
    assert "bad.yaml:2:46: no node is called `b`" in called.err


def test_unknown_name(moa: Caller) -> None:
    assert moa("show", "mao") == (2, "", "nothing in the catalogue is called 'mao'; did you mean `moa`?\n")


def node(id: str, *inputs: tuple[str, str], select: Select | None = None) -> PlanNode:
    edges = tuple(Edge(role, heard) for role, heard in inputs)
    agent = None if select else AgentSpec(name="judge")
    return PlanNode(id, id, agent, select, None if select else "x", edges, 0, Sampling(), 0)


def test_whom_a_node_hears() -> None:
    nodes = (
        node("a[0]"),
        node("a[1]"),
        node("w[0]", *[("refs", name) for name in ("a[0]", "a[0]", "a[1]")]),
        node("w[1]", *[("refs", name) for name in ("w[0]", "w[0]", "w[0]", "a[0]", "a[1]")]),
        node("r[0][2]", ("refs", "a[1]"), ("critique", "w[1]"), ("refs", "a[0]")),
        node("answer", ("", "r[0][2]"), select=Select(name="majority")),
    )
    assert wiring_lines(Plan("g", nodes, "answer", "")) == [
        "6 nodes, of which `answer` answers:",
        "  a[0]     judge     x",
        "  a[1]     judge     x",
        "  w[0]     judge     x  <- 2 x a[0], a[1]",
        "  w[1]     judge     x  <- 3 x w[0], a[0..1]",
        "  r[0][2]  judge     x  <- refs: a[1], a[0]; critique: w[1]",
        "  answer   majority     <- r[0][2]",
    ]
