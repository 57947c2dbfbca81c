"""`moa list` names what can be used here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from moa.spec.catalogue import names
from tests.cli.calling import Caller


@pytest.fixture
def moa(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Caller:
    monkeypatch.chdir(tmp_path)
    return Caller(monkeypatch, capsys)


def test_lines_for_other_programs(moa: Caller) -> None:
    called = moa("list", "graphs")
    rows = [line.split("\t") for line in called.out.splitlines()]
    assert (called.code, called.err) == (0, "")
    assert [row[0] for row in rows] == names("graphs")
    assert {len(row) for row in rows} == {3}
    assert "arXiv:2406.04692" in next(row[2] for row in rows if row[0] == "moa")


def test_all_kinds_name_their_kind_first(moa: Caller) -> None:
    rows = [line.split("\t") for line in moa("list").out.splitlines()]
    assert ["agents", "proposer"] in [row[:2] for row in rows]
    assert ["graphs", "moa"] in [row[:2] for row in rows]


def test_table_for_people(moa: Caller) -> None:
    shown = moa("list", terminal=True).out
    assert "agents" in shown
    assert "description" in shown
    assert "\t" not in shown


def test_brackets_are_no_markup(moa: Caller, tmp_path: Path) -> None:
    own = tmp_path / "agents" / "mine.yaml"
    own.parent.mkdir()
    own.write_text("description: 'In [bold]brackets[/bold].'\n")
    assert "[bold]" in moa("list", "agents", terminal=True).out


def test_json(moa: Caller) -> None:
    listed = json.loads(moa("list", "agents", "--json").out)
    assert [entry["name"] for entry in listed] == names("agents")
    assert listed[0].keys() == {"kind", "name", "description", "source", "path"}
    assert all(Path(entry["path"]).is_file() for entry in listed)


def test_unknown_kind(moa: Caller) -> None:
    called = moa("list", "grpahs")
    assert called == (
        2,
        "",
        "cannot list 'grpahs'; did you mean `graphs`? (known: agents, graphs, defences, evals)\n",
    )
