"""Equal warnings of many nodes are one line for people, and all there for programs."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from moa.cli.warnings import folded
from tests.cli.calling import Caller

CUT = "the reply was cut off at max_tokens (5)"


@pytest.mark.parametrize(
    "warnings, nodes, shown",
    [
        ([], ["a"], []),
        ([f"a: {CUT}"], ["a"], [f"a: {CUT}"]),
        (["the server takes no seed"] * 2, ["a"], ["the server takes no seed"]),
        (
            [f"d[{n}]: {CUT}" for n in range(12)],
            [f"d[{n}]" for n in range(12)],
            [f"12 nodes (d[0..11]): {CUT}"],
        ),
        (
            [f"d[0]: {CUT}", "b: lost", f"d[2]: {CUT}"],
            ["d[0]", "d[2]", "b"],
            [f"2 nodes (d[0], d[2]): {CUT}", "b: lost"],
        ),
        ([f"d[{n}]: {CUT}" for n in (0, 2, 4, 6, 8)], [f"d[{n}]" for n in range(9)], [f"5 nodes: {CUT}"]),
        ([f"a: {CUT}", f"b: {CUT}"], ["a"], [f"a: {CUT}", f"b: {CUT}"]),
        (
            [f"d[{n}]: no response: `d[{n}]`: m answered without any text" for n in (0, 1)],
            ["d[0]", "d[1]"],
            ["2 nodes (d[0..1]): no response: m answered without any text"],
        ),
        (["note: well", "note: well"], ["a"], ["note: well"]),
        ([f"b: {CUT}", f"a: {CUT}"], ["a", "b"], [f"2 nodes (b, a): {CUT}"]),
    ],
)
def test_what_several_nodes_share_is_said_once(
    warnings: list[str], nodes: list[str], shown: list[str]
) -> None:
    assert folded(warnings, nodes) == shown


@pytest.fixture
def moa(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Caller:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "g.yaml").write_text(
        "nodes:\n"
        "  drafts: {agent: {reads: json}, model: a, samples: 6}\n"
        "  answer: {agent: aggregator, model: a, inputs: drafts}\n"
    )
    return Caller(monkeypatch, capsys)


LINE = "warning: 6 nodes (drafts[0..5]): the reply could not be read as a json"


def test_run_folds_them(moa: Caller) -> None:
    called = moa("run", "g.yaml", "Why?", "-m", "sim:", "--no-store")
    assert called.code == 0
    assert called.err.splitlines() == [LINE]


def test_json_keeps_them_all(moa: Caller) -> None:
    called = moa("run", "g.yaml", "Why?", "-m", "sim:", "--no-store", "--json")
    warnings = json.loads(called.out)["warnings"]
    assert warnings == [f"drafts[{n}]: the reply could not be read as a json" for n in range(6)]
    assert called.err.splitlines() == [LINE]


def test_chat_folds_them(moa: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("Why?\n"))
    called = moa("chat", "g.yaml", "-m", "sim:", "--no-store")
    assert called.err.splitlines()[1:] == [LINE]
