"""`moa list`, `show`, `validate` and `schema` know evaluations."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from moa.spec.catalogue import shipped
from tests.cli.calling import Caller


@pytest.fixture
def moa(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Caller:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    return Caller(monkeypatch, capsys)


def test_evaluations_are_listed(moa: Caller) -> None:
    code, out, _ = moa("list", "evals")
    assert code == 0
    assert any(line.startswith("gsm8k\tGrade-school") for line in out.splitlines())


def test_an_evaluation_is_shown_with_what_it_needs(moa: Caller) -> None:
    code, out, _ = moa("show", "sample")
    assert code == 0
    assert "# items: 40\n# judge: the agent `judge-pairwise`" in out
    assert "# data: main/test-00000-of-00001.parquet of openai/gsm8k" in moa("show", "gsm8k").out


def test_an_evaluation_is_shown_as_json(moa: Caller) -> None:
    shown = json.loads(moa("show", "gsm8k", "--json").out)
    assert (shown["kind"], shown["items"]) == ("evals", None)
    assert json.loads(moa("show", "sample_choice", "--json").out)["items"] == 26


def test_every_shipped_evaluation_is_valid(moa: Caller) -> None:
    files = sorted(map(str, shipped("evals").glob("*.yaml")))
    code, _, err = moa("validate", *files)
    assert code == 0
    assert err.splitlines() == [f"{file}: ok" for file in files]


def test_mistakes_are_found_and_judges_looked_for(moa: Caller, tmp_path: Path) -> None:
    path = tmp_path / "e.yaml"
    path.write_text("data: {path: x.jsonl}\njudge: {agent: judge-pairwize}\nnumbers: [accuracy]\n")
    code, _, err = moa("validate", str(path))
    assert code == 2
    first, second = err.splitlines()
    assert first.startswith(f"{path}:2:16: unknown agent 'judge-pairwize'; did you mean `judge-pairwise`?")
    assert second.startswith(f"{path}:3:11: `accuracy` cannot be had from `pairwise`")
    path.write_text("data: {path: x.jsonl}\njudge: {graph: none.yaml}\n")
    assert "e.yaml:2:16: no file none.yaml" in moa("validate", str(path)).err


def test_the_schema_of_evaluations_is_printed(moa: Caller) -> None:
    assert json.loads(moa("schema", "eval").out)["title"] == "moa: eval file"
