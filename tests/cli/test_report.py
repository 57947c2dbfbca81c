"""`moa report` as a shell calls it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.cli.calling import Caller
from tests.evaluate.report.sample import write_sample


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Caller:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    return Caller(monkeypatch, capsys)


def test_the_page_and_the_plots_lie_in_the_folder(call: Caller) -> None:
    write_sample(Path("x"), items=8, graphs=["single"])
    called = call("report", "x", "--bootstrap", "20")
    assert (called.code, called.out) == (0, "")
    plots = sorted(path.name for path in Path("x/plots").iterdir())
    assert called.err == f"wrote x/report.html and {len(plots)} files in x/plots\n"
    assert {"win-rate.png", "win-rate.svg"} <= set(plots)
    assert Path("x/report.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_the_page_goes_where_out_says_and_holds_as_many_questions_as_asked(call: Caller) -> None:
    write_sample(Path("x"), items=8, graphs=["single"])
    assert call("report", "x", "--out", "page.html", "--items", "5", "--bootstrap", "20").code == 0
    assert "A sample of 5 of 8 questions" in Path("page.html").read_text(encoding="utf-8")
    assert not Path("x/report.html").exists()


def test_a_folder_without_an_experiment_is_one_line(call: Caller) -> None:
    called = call("report", "nowhere")
    assert (called.code, called.out) == (2, "")
    assert called.err == "nowhere is no experiment: it has no experiment.json\n"


def test_a_line_that_is_damaged_is_named(call: Caller) -> None:
    folder = write_sample(Path("x"), items=8, graphs=["single"])
    path = folder.answers_path("single")
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([*lines[:3], '{"item": 5}', *lines[4:]]) + "\n", encoding="utf-8")
    called = call("report", "x")
    assert (called.code, called.err.count("\n")) == (2, 1)
    assert "single.jsonl:4" in called.err


def test_without_matplotlib_the_extra_is_named(call: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    write_sample(Path("x"), items=8, graphs=["single"])
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    called = call("report", "x", "--bootstrap", "20")
    assert called.code == 2
    assert (
        called.err.startswith("the plots of a report needs the extra `eval`") or "extra `eval`" in called.err
    )
