"""`moa score` reads recorded preferences and prints win rates."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.calling import Caller
from tests.support.annotated import (
    official,
    simulate,
    simulate_gamed,
    table,
    write_json,
    write_jsonl,
    write_reference,
)
from tests.support.shared import ALPACA_EVAL, needs_alpaca_eval

N = 60
SIMULATED = simulate(N, seed=0)
ROWS = table(SIMULATED)
OTHERS = [row | {"model": "better", "preference": 2 - (row["preference"] - 1) / 4} for row in ROWS]


@pytest.fixture
def moa(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Caller:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for variable in ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.delenv(variable, raising=False)
    gamed = simulate_gamed(SIMULATED.difficulty, seed=1)
    write_reference(tmp_path / "reference", SIMULATED.difficulty, gamed)
    write_jsonl(tmp_path / "a.jsonl", [*ROWS, *OTHERS])
    return Caller(monkeypatch, capsys)


def array(out: str) -> list[dict[str, Any]]:
    found = json.loads(out)
    assert isinstance(found, list)
    return found


def test_json(moa: Caller) -> None:
    called = moa("score", "a.jsonl", "--reference", "reference", "--json", "--bootstrap", "50")
    assert (called.code, called.err) == (0, "")
    small, better = array(called.out)
    assert (small["model"], better["model"]) == ("small", "better")
    assert small["length_controlled_winrate"] < better["length_controlled_winrate"]
    assert small["lc_ci"][0] < small["length_controlled_winrate"] < small["lc_ci"][1]
    assert small["n_total"] == N
    assert small["warnings"] == []


def test_lines_for_other_programs(moa: Caller) -> None:
    called = moa("score", "a.jsonl", "--reference", "reference", "--bootstrap", "50")
    head, first, second = [line.split("\t") for line in called.out.splitlines()]
    assert len(head) == len(first) == len(second) == 11
    assert (first[0], second[0]) == ("better", "small")


def test_table_for_people(moa: Caller) -> None:
    called = moa("score", "a.jsonl", "--reference", "reference", "--bootstrap", "50", terminal=True)
    assert "LC win rate" in called.out
    assert "better" in called.out.splitlines()[1]
    assert ".." in called.out
    assert "\t" not in called.out


def test_warnings_go_to_standard_error(moa: Caller, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "b.jsonl", ROWS[1:])
    called = moa("score", "b.jsonl", "--reference", "reference", "--bootstrap", "0")
    assert called.err == "small: 1 of 60 instructions are missing: 0\n"
    assert "small" in called.out
    again = moa("score", "b.jsonl", "--reference", "reference", "--bootstrap", "0", "--json")
    assert array(again.out)[0]["warnings"] == ["1 of 60 instructions are missing: 0"]
    assert array(again.out)[0]["lc_ci"] is None


def test_row_index_and_fit(moa: Caller, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "b.jsonl", ROWS[1:])
    arguments = ("score", "b.jsonl", "--reference", "reference", "--json", "--bootstrap", "0")
    keyed, shifted, fast = (
        array(moa(*arguments, *more).out)[0] for more in ((), ("--row-index",), ("--fit", "newton"))
    )
    assert keyed["length_controlled_winrate"] != shifted["length_controlled_winrate"]
    assert (keyed["lc_fit"], fast["lc_fit"]) == ("liblinear-cv", "newton")


def test_seeds(moa: Caller) -> None:
    arguments = ("score", "a.jsonl", "--reference", "reference", "--json", "--bootstrap", "30", "--seed")
    first, same, other = (moa(*arguments, seed).out for seed in ("1", "1", "2"))
    assert first == same != other


def test_several_files_and_folders(moa: Caller, tmp_path: Path) -> None:
    texts = [f"Instruction {index}" for index in range(N)]
    write_json(tmp_path / "results" / "small" / "annotations.json", official(ROWS, texts))
    write_json(tmp_path / "results" / "better" / "annotations.json", official(OTHERS, texts))
    called = moa("score", "results", "--no-length-control", "--bootstrap", "0", "--json")
    assert {each["model"] for each in array(called.out)} == {"small", "better"}
    files = [f"results/{model}/annotations.json" for model in ("small", "better")]
    both = moa("score", *files, "--reference", "reference", "--bootstrap", "0", "--json")
    assert all(each["length_controlled_winrate"] > 0 for each in array(both.out))


def test_a_bad_row_is_one_line_and_exit_code_2(moa: Caller, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "b.jsonl", [*ROWS[:3], ROWS[3] | {"preference": float("nan")}])
    called = moa("score", "b.jsonl", "--reference", "reference")
    assert (called.code, called.out) == (2, "")
    assert called.err.count("\n") == 1
    assert called.err.startswith("b.jsonl:4: preference is nan")


def test_a_missing_preference_can_be_dropped(moa: Caller, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "b.jsonl", [*ROWS[:9], ROWS[9] | {"preference": None}])
    assert moa("score", "b.jsonl", "--no-length-control").code == 2
    called = moa("score", "b.jsonl", "--no-length-control", "--drop-unjudged", "--json")
    assert array(called.out)[0]["n_total"] == 9
    assert called.err == "small: 1 row without a verdict left out of the win rate: b.jsonl:10\n"


def test_offline_without_a_reference(moa: Caller) -> None:
    called = moa("score", "a.jsonl")
    assert called.code == 2
    assert called.err.count("\n") == 1
    assert "--reference DIR" in called.err
    raw = moa("score", "a.jsonl", "--no-length-control", "--json")
    assert raw.code == 0
    assert array(raw.out)[0]["length_controlled_winrate"] is None


def test_an_unknown_fit(moa: Caller) -> None:
    assert moa("score", "a.jsonl", "--fit", "ols") == (
        2,
        "",
        "--fit ols: known are liblinear-cv and newton\n",
    )


@pytest.mark.parametrize("absent", ["numpy", "sklearn.linear_model"])
def test_a_missing_package_is_one_line(moa: Caller, monkeypatch: pytest.MonkeyPatch, absent: str) -> None:
    monkeypatch.setitem(sys.modules, absent, None)
    called = moa("score", "a.jsonl", "--reference", "reference", "--bootstrap", "0")
    assert (called.code, called.out) == (2, "")
    assert "needs the extra `eval`" in called.err
    assert called.err.count("\n") == 1


def test_a_bar_while_a_person_waits(moa: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    called = moa("score", "a.jsonl", "--reference", "reference", "--bootstrap", "0", "--json")
    assert "scoring" in called.err
    assert len(array(called.out)) == 2


@needs_alpaca_eval
def test_the_published_judgments_from_one_command(moa: Caller) -> None:
    annotations, reference = str(ALPACA_EVAL / "annotations.parquet"), str(ALPACA_EVAL)
    called = moa(
        "score", annotations, "--reference", reference, "--fit", "newton", "--bootstrap", "0", "--json"
    )
    assert called.code == 0
    assert len(array(called.out)) == 29
    assert len(called.err.splitlines()) == 3
