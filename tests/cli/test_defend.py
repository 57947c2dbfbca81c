"""`--defend`: a graph with its last step rewritten, planned, shown and run; defences in the catalogue."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from moa.spec.catalogue import names, shipped
from tests.cli.calling import Caller


@pytest.fixture
def moa(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Caller:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    return Caller(monkeypatch, capsys)


def test_the_plan_shows_the_defended_graph_beside_the_undefended_one(moa: Caller) -> None:
    called = moa("plan", "moa-3-3-1", "--defend", "dropout-vote", "-m", "sim:")
    shown = " ".join(called.out.split())
    assert (called.code, called.err) == (0, "")
    assert "moa-3-3-1+dropout-vote 14 nodes" in shown and "ballots[6]" in shown
    assert "Undefended 7 calls (13 now, x1.86)" in shown


def test_the_plan_as_json_has_both(moa: Caller) -> None:
    planned = json.loads(moa("plan", "moa-3-3-1", "--defend", "medoid", "-m", "sim:", "--json").out)
    assert (planned["calls"], planned["undefended"]["calls"]) == (6, 7)
    assert planned["undefended"]["output_tokens"]["expected"] == 7 * 400
    assert "undefended" not in json.loads(moa("plan", "moa-3-3-1", "-m", "sim:", "--json").out)


def test_what_is_shown_is_a_graph_file_of_its_own(moa: Caller) -> None:
    shown = moa("show", "moa-3-3-1", "--defend", "spotlight")
    Path("mine.yaml").write_text(shown.out)
    assert moa("validate", "mine.yaml").code == 0
    assert "defended by spotlight" in shown.out and "8 nodes, of which `answer` answers:" in shown.out
    run = moa("run", "mine.yaml", "Why?", "-m", "sim:", "--no-store", "--json")
    marked = next(node for node in json.loads(run.out)["nodes"] if node["id"] == "marked")
    assert "begins]" in marked["text"]


def test_a_run_answers_by_the_defence(moa: Caller) -> None:
    said = json.loads(
        moa("run", "moa-lite", "Why?", "--defend", "medoid", "-m", "sim:", "--no-store", "--json").out
    )
    assert said["graph"] == "moa-lite+medoid"
    drafts = [node["text"] for node in said["nodes"] if node["id"].startswith("drafts")]
    assert said["answer"] in drafts


def test_a_wrong_name_or_option_is_one_line(moa: Caller) -> None:
    called = moa("run", "moa-lite", "Why?", "--defend", "medoit", "-m", "sim:")
    assert called.code == 2 and "did you mean `medoid`?" in called.err and called.err.count("\n") == 1
    called = moa("plan", "self-moa-seq", "--defend", "medoid")
    assert called.code == 2 and "`answer` answers with `window`" in called.err


def test_defences_are_listed_and_shown(moa: Caller) -> None:
    listed = json.loads(moa("list", "defences", "--json").out)
    assert [entry["name"] for entry in listed] == names("defences")
    assert "vars: {drop: 1" in moa("show", "trimmed").out
    assert moa("show", "medoid", "--kind", "defences").out != moa("show", "medoid").out


def test_a_users_own_defence_wins_over_a_shipped_one(moa: Caller, tmp_path: Path) -> None:
    own = tmp_path / "graphs" / "defences" / "medoid.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("description: Mine.\nnodes: {answer: {select: longest, inputs: references}}")
    assert "longest" in moa("show", "moa-3-3-1", "--defend", "medoid").out


def test_every_shipped_defence_is_valid(moa: Caller) -> None:
    files = sorted(map(str, shipped("defences").glob("*.yaml")))
    assert len(files) == len(names("defences")) > 15
    called = moa("validate", *files)
    assert called.code == 0, called.err


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("nodes:\n  a: {select: medoit, inputs: references}\n", "2:15: unknown selector `medoit`"),
        ("nodes:\n  a: {select: {medoid: {kk: 1}}, inputs: references}\n", "2:29: unknown key `kk`"),
        ("nodes:\n  a: {select: shuffle, inputs: references}\n", "2:6: `a` answers but hands on up to 4"),
        (
            "nodes:\n  a: {agent: final, model: final, inputs: [references, b]}\n",
            "1:1: no node is called `b`",
        ),
    ],
)
def test_mistakes_have_their_place(moa: Caller, tmp_path: Path, text: str, line: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    called = moa("validate", str(file))
    assert called.code == 2
    assert f"{file}:{line}" in called.err
