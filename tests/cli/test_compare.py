"""`moa compare`: leaderboards on the terminal and for other programs, and human labels."""

from __future__ import annotations

import csv
import io
import json
import random
import re
from pathlib import Path
from typing import Any

import pytest

from moa.evaluate.folder import Folder
from tests.evaluate.folders import answer, graded, item, preferences, write_folder
from tests.support.shell import Here, one_line

N = 30
SKILL = {"good": 0.9, "fair": 0.75}


@pytest.fixture
def moa(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Here:
    here = Here(monkeypatch, capsys, tmp_path)
    pairwise(tmp_path / "out")
    return here


def wins(name: str) -> list[float]:
    chance = random.Random(name)
    return [float(chance.random() < SKILL[name]) for _ in range(N)]


def pairwise(path: Path) -> Folder:
    answers = {name: [answer(n, name) for n in range(N)] for name in (*SKILL, "base")}
    verdicts = {
        name: [each for n, value in enumerate(wins(name)) for each in preferences(n, name, value)]
        for name in SKILL
    }
    return write_folder(path, [item(n) for n in range(N)], answers, verdicts, baseline="base")


def compare(moa: Here, *options: str) -> str:
    called = moa("compare", "out", "--bootstrap", "50", *options)
    assert called.code == 0, called.err
    return called.out


def test_a_table_of_everybody_and_one_of_the_differences(moa: Here) -> None:
    out = compare(moa)
    assert out.startswith(f"trial: {N} items, judge sim:judge, baseline base")
    rows = [line.split()[0] for line in out.splitlines() if re.match(r"(good|fair|base)\s+\d+\.\d", line)]
    assert rows == ["good", "fair", "base"]
    assert re.search(r"^good\s+fair\s+\+\d+\.\d \[[+-]\d+\.\d, \+\d+\.\d\]\s+(<\s)?0\.\d+\s+30 ", out, re.M)
    assert "Paired differences in win rate" in out


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_narrow_terminal_goes_without_the_least_telling_columns(
    moa: Here, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    out = compare(moa)
    assert max(map(len, out.splitlines())) <= width
    assert "…" not in out
    assert re.search(r"^good\s+\d+\.\d \[", out, re.MULTILINE)
    assert ("p90" in out) == (width == 120)


def test_the_same_folder_gives_the_same_table(moa: Here) -> None:
    assert compare(moa) == compare(moa)


def test_json_holds_everything(moa: Here) -> None:
    found = json.loads(compare(moa, "--json"))
    assert [row["name"] for row in found["rows"]] == ["good", "fair", "base"]
    assert len(found["pairs"]) == 3
    assert found["headline"] == "win-rate" and found["baseline"] == "base"
    assert found["rows"][0]["counts"]["wins"] == sum(wins("good"))


def test_csv_has_a_line_an_entrant(moa: Here) -> None:
    rows = list(csv.DictReader(io.StringIO(compare(moa, "--csv"))))
    assert [row["entrant"] for row in rows] == ["good", "fair", "base"]
    assert float(rows[0]["win_rate"]) == pytest.approx(100 * sum(wins("good")) / N)
    assert float(rows[0]["win_rate_low"]) < float(rows[0]["win_rate"]) < float(rows[0]["win_rate_high"])


def test_markdown_is_two_tables(moa: Here) -> None:
    lines = compare(moa, "--markdown").splitlines()
    assert lines[0].startswith("|  | entrant | win rate | ")
    assert lines[2].startswith("| 1 | good | ")
    assert "| first | second | difference | p (Holm) | questions |" in lines


def test_many_entrants_are_shown_by_their_neighbours(moa: Here) -> None:
    names = [f"e{number}" for number in range(8)]
    answers = {name: [answer(n, name) for n in range(8)] for name in names}
    verdicts = {
        name: [graded(n, name, float(n >= number)) for n in range(8)] for number, name in enumerate(names)
    }
    write_folder(moa.folder / "many", [item(n) for n in range(8)], answers, verdicts)
    called = moa("compare", "many")
    assert "28 in all: see --json" in called.out
    shown = re.findall(r"^(e\d)\s+(e\d)\s", called.out, re.MULTILINE)
    assert len(shown) == 7 + 6
    assert {(f"e{n}", f"e{n + 1}") for n in range(7)} <= set(shown)
    assert ("e0", "e7") in shown


def test_several_folders_are_one_table(moa: Here) -> None:
    for name, value in (("a", 1.0), ("b", 0.0)):
        write_folder(
            moa.folder / name,
            [item(n) for n in range(4)],
            {name: [answer(n, name) for n in range(4)]},
            {name: [graded(n, name, value) for n in range(4)]},
        )
    called = moa("compare", "b", "a")
    assert re.findall(r"^([ab])\s+\d+\.\d", called.out, re.MULTILINE) == ["a", "b"]


def test_doubts_stand_below_the_table(moa: Here) -> None:
    write_folder(moa.folder / "half", [item(n) for n in range(4)], {"one": [answer(0, "one")]}, {})
    called = moa("compare", "half")
    assert called.code == 0
    assert "note: one: 3 of 4 items are not answered yet" in called.out


def labels(folder: Path, rows: list[dict[str, Any]]) -> str:
    path = folder / "human.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_human_labels_correct_the_judge(moa: Here) -> None:
    # People find the good one better only on every second item on which the judge does.
    said = [float(n % 2 and wins("good")[n]) for n in range(12)]
    rows = [{"item": f"q{n}", "entrant": "good", "preference": value} for n, value in enumerate(said)]
    path = labels(moa.folder, rows)
    found = json.loads(compare(moa, "--json", "--human", path))
    [good] = found["human"]
    assert good["win_rate"]["human_labels"] == 12
    assert good["win_rate"]["human_only"]["value"] == pytest.approx(sum(said) / 12)
    assert good["win_rate"]["model_only"]["value"] == pytest.approx(sum(wins("good")) / N)
    assert good["win_rate"]["estimate"]["value"] < good["win_rate"]["model_only"]["value"]
    assert good["kappa"]["value"] < 1
    assert re.search(r"^good\s+\d+\.\d \[.*\s12\s", compare(moa, "--human", path), re.MULTILINE)


WRONG = {
    "human.jsonl:1: has no `entrant`": [{"item": "q0", "preference": 1}],
    "human.jsonl:2: the item 'q99' is not among those asked": [
        {"item": "q0", "entrant": "good", "preference": 1},
        {"item": "q99", "entrant": "good", "preference": 1},
    ],
    "human.jsonl:1: nobody is called 'goood'; did you mean good?": [
        {"item": "q0", "entrant": "goood", "preference": 1}
    ],
    "human.jsonl:1: nobody is called 'base'": [{"item": "q0", "entrant": "base", "preference": 1}],
    "human.jsonl:1: the preference 2 is not from 0": [{"item": "q0", "entrant": "good", "preference": 2}],
    "human.jsonl:1: the preference nan is not from 0": [
        {"item": "q0", "entrant": "good", "preference": float("nan")}
    ],
    "human.jsonl:2: good has a label on this item already": [
        {"item": "q0", "entrant": "good", "preference": 1},
        {"item": "q0", "entrant": "good", "preference": 0},
    ],
    "human labels are too few": [{"item": "q0", "entrant": "good", "preference": 1}],
}


@pytest.mark.parametrize("message", WRONG)
def test_a_wrong_label_is_named(moa: Here, message: str) -> None:
    assert message in one_line(moa("compare", "out", "--human", labels(moa.folder, WRONG[message])), 2)


def test_what_is_no_experiment_is_refused(moa: Here) -> None:
    assert one_line(moa("compare", "nowhere"), 2) == "nowhere is no experiment: it has no experiment.json"


def test_one_form_at_a_time(moa: Here) -> None:
    assert (
        one_line(moa("compare", "out", "--json", "--csv"), 2)
        == "--json, --csv and --markdown exclude each other"
    )


@pytest.mark.parametrize("line", [("compare", "out"), ("eval", "sample", "single", "--out", "new")])
def test_a_missing_extra_is_named_before_anything_is_asked(
    moa: Here, monkeypatch: pytest.MonkeyPatch, line: tuple[str, ...]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    message = one_line(moa(*line), 2)
    assert message.startswith("a leaderboard needs the extra `eval`: pip install")
    assert not (moa.folder / "new").exists()
