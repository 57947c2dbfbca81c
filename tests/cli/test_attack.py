"""`moa attack`: every attack against every defence, what it costs, and what a user can get wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from moa.evaluate.folder import Folder
from tests.cli.calling import Called
from tests.support.shared import ALPACA_EVAL, needs_alpaca_eval
from tests.support.shell import Here, one_line

CHOICES = """
data: {path: items.jsonl}
prompt: |
  {{ question }}

  {{ lettered }}
answer: {read: letter}
numbers: [accuracy]
"""
TRUTH = "answer=B,persuasiveness=0.7,follow=0.95"
MODELS = tuple(
    part
    for slot, skill in (("a", 0.9), ("b", 0.8), ("c", 0.8))
    for part in ("-m", f"{slot}=sim:skill={skill},member={slot},{TRUTH}")
)
LINE = ("attack", "./choices.yaml", "moa-3-3-1", *MODELS, "--no-report", "--out", "out")
SIX = (
    "FuseChat-Gemma-2-9B-Instruct",
    "FuseChat-Llama-3.2-3B-Instruct",
    "claude-2.1",
    "claude-instant-1.2",
    "gpt-3.5-turbo-1106",
    "Qwen-14B-Chat",
)


@pytest.fixture
def moa(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Here:
    (tmp_path / "choices.yaml").write_text(CHOICES)
    lines = [
        {"id": f"q{n}", "question": f"Question {n}?", "options": [f"{c}{n}" for c in "wxyz"], "answer": "B"}
        for n in range(24)
    ]
    (tmp_path / "items.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return Here(monkeypatch, capsys, tmp_path)


def cells(called: Called) -> dict[tuple[str, str], dict[str, Any]]:
    """The cells of the only matrix by attack and defence."""
    assert called.code == 0, called.err
    [matrix] = json.loads(called.out)
    return {(cell["attack"], cell["defence"]): cell for cell in matrix["cells"]}


def test_every_attack_meets_every_defence_and_the_clean_graph_is_there(moa: Here) -> None:
    line = ("--deceive", "refined[2]=opposer", "--deceive", "000_330", "--defend", "medoid,dropout-vote")
    found = cells(moa(*LINE, *line, "--json"))
    attacks, defences = ("none", "refined[2]=opposer", "000_330"), ("none", "medoid", "dropout-vote")
    assert list(found) == [(attack, defence) for attack in attacks for defence in defences]
    assert all(cell["figure"] and cell["trouble"] is None for cell in found.values())
    clean, two = found["none", "none"], found["000_330", "none"]
    assert clean["entrant"] == "moa-3-3-1"
    assert clean["change"] is None
    assert two["deceivers"] == {"refined[0]": "opposer", "refined[1]": "opposer"}
    lost = two["figure"]["estimate"]["value"] - clean["figure"]["estimate"]["value"]
    assert lost < -20
    assert two["change"]["difference"]["value"] == pytest.approx(lost)
    assert two["persuaded"]["value"] > clean["persuaded"]["value"]
    assert two["deceptive"]["value"] == pytest.approx(200 / 3)
    medoid = found["refined[2]=opposer", "medoid"]
    assert medoid["selects"]
    assert 0 <= medoid["deceptive"]["value"] <= 100
    assert found["refined[2]=opposer", "dropout-vote"]["deceptive"] is None


def test_the_plan_says_what_comes(moa: Here) -> None:
    line = (*LINE, "--deceive", "refined[2]=opposer", "--defend", "dropout-vote,cluster-filter")
    planned = moa(*line, "--plan")
    assert planned.code == 0, planned.err
    assert not Path("out").exists()
    calls = {
        row.split()[0]: int(row.split()[1]) for row in planned.out.splitlines() if row.startswith("moa-")
    }
    found = {cell["entrant"]: cell for cell in cells(moa(*line, "--json")).values()}
    assert calls == {name: 24 * cell["cost"]["calls"] for name, cell in found.items()}
    total = next(row for row in planned.out.splitlines() if row.startswith("at most")).split()[2]
    asked = json.loads(moa("store", "stats", "--store", "out/store.sqlite", "--json").out)["samples"]
    assert asked <= int(total.replace(",", ""))


def test_a_truthful_node_is_asked_once_for_all_cells(moa: Here) -> None:
    assert moa(*LINE, "--deceive", "refined[2]=opposer").code == 0
    answers = {name: list(Folder(Path("out")).answers(name)) for name in entrants()}
    clean, hit = answers["moa-3-3-1"], answers["moa-3-3-1[attack=refined[2]=opposer]"]
    for one, other in zip(clean, hit, strict=True):
        texts = [{node["id"]: node["text"] for node in answer.nodes} for answer in (one, other)]
        same = [name for name in texts[0] if texts[0][name] == texts[1][name]]
        assert {f"drafts[{n}]" for n in range(3)} | {"refined[0]", "refined[1]"} <= {*same}


def entrants() -> list[str]:
    return [entrant.name for entrant in Folder(Path("out")).experiment.entrants]


def test_it_goes_on_where_it_stopped_and_more_is_added(moa: Here) -> None:
    assert moa(*LINE, "--deceive", "refined[2]=opposer", "--limit", "6").code == 0
    again = moa(*LINE, "--deceive", "refined[2]=opposer", "--limit", "6")
    assert "12 of them before" in again.err
    more = moa(*LINE, "--deceive", "refined[0]=opposer", "--defend", "medoid", "--limit", "6")
    assert "6 of them before" in more.err
    shown = moa("compare", "out").out
    assert "moa-3-3-1: attack x defence" in shown
    assert len(entrants()) == 5
    # An evaluation of the graph alone is the clean cell.
    plain = moa("eval", "./choices.yaml", "moa-3-3-1", *MODELS, "--no-report", "--out", "out", "--limit", "6")
    assert "6 of 6 answered, 6 of them before" in plain.err


def test_a_breakdown_turns_one_member_after_another(moa: Here) -> None:
    order = ("--order", "refined[1],refined[2]")
    found = cells(moa(*LINE, "--breakdown", *order, "--defend", "medoid", "--json"))
    steps = [found[attack, "none"] for attack in ("none", "breakdown:1:opposer", "breakdown:2:opposer")]
    assert [list(step["deceivers"]) for step in steps] == [[], ["refined[1]"], ["refined[1]", "refined[2]"]]
    values = [step["figure"]["estimate"]["value"] for step in steps]
    assert values == sorted(values, reverse=True)
    [matrix] = json.loads(moa("compare", "out", "--json").out)["matrices"]
    broken = matrix["breakdown"]["none"]
    assert broken["most"] == 2
    assert broken["low"] is None or broken["low"] >= 1


def test_where_nobody_is_said_to_turn_the_seed_draws(moa: Here) -> None:
    found = cells(moa(*LINE, "--breakdown", "--role", "promoter", "--limit", "2", "--json"))
    assert {*found["breakdown:3:promoter", "none"]["deceivers"].values()} == {"promoter"}
    one, two = (set(found[f"breakdown:{n}:promoter", "none"]["deceivers"]) for n in (1, 2))
    assert one < two


def test_several_graphs_have_a_matrix_each(moa: Here) -> None:
    line = ("attack", "./choices.yaml", "moa-3-3-1", "propose-and-aggregate", "-m", f"sim:{TRUTH}")
    called = moa(*line, "--breakdown", "--limit", "3", "--no-report", "--out", "out", "--json")
    assert [matrix["graph"] for matrix in json.loads(called.out)] == ["moa-3-3-1", "propose-and-aggregate"]


def test_a_cell_that_failed_says_why(moa: Here) -> None:
    Path("picky.yaml").write_text(
        "nodes:\n  drafts: {agent: proposer, models: [a, b, c]}\n  answer: {agent: aggregator, model: a, inputs: drafts}\n"
    )
    line = ("attack", "./choices.yaml", "./picky.yaml", *MODELS, "--limit", "3", "--out", "out")
    called = moa(*line, "--deceive", "drafts=opposer@sim:failure=1", "--no-report")
    assert called.code == 1
    assert "3 of 3 answers failed: " in called.out
    assert "QuorumError" in called.out


def test_the_terminal_shows_numbers_intervals_and_costs(moa: Here) -> None:
    called = moa(*LINE, "--deceive", "refined[2]=opposer", "--defend", "medoid", "--limit", "8")
    for words in ("Accuracy", "Against clean", "Recovered", "Persuaded", "Calls", "refined[2]=opposer"):
        assert words in called.out


def test_a_judged_evaluation_is_attacked_as_well(moa: Here) -> None:
    Path("open.yaml").write_text("data: {path: open.jsonl}\njudge: {kind: pairwise}\n")
    Path("open.jsonl").write_text("".join(f'{{"prompt": "Question {n}?"}}\n' for n in range(4)))
    line = (
        "attack",
        "./open.yaml",
        "moa-3-3-1",
        "-m",
        "sim:",
        "--judge",
        "sim:",
        "--no-report",
        "--out",
        "out",
    )
    found = cells(moa(*line, "--deceive", "refined[0]=deceiver", "--defend", "cluster-filter", "--json"))
    assert found["none", "none"]["figure"]["estimate"]["value"] == 50
    assert found["refined[0]=deceiver", "cluster-filter"]["figure"] is not None
    assert found["refined[0]=deceiver", "cluster-filter"]["persuaded"] is None


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--deceive", "refind[2]=opposer"), "no node `refind[2]`; did you mean `refined[2]`?"),
        (("--deceive", "refined[2]=oposer"), "unknown agent 'oposer'; did you mean `opposer`?"),
        (("--deceive", "000_0003"), "does not fit the graph, whose proposers are 000_000"),
        (("--deceive", "answer=opposer"), "`answer` gives the answer: nobody can deceive there"),
        (("--deceive", "sample:7:opposer"), "7 deceivers are more than the 6 proposers"),
        (("--deceive", "nobody.yaml"), "no file nobody.yaml"),
        (("--defend", "medoit"), "unknown defence 'medoit'; did you mean `medoid`?"),
        (("--defend", "medoid(drop=1)"), "has no option `drop`"),
        (("--breakdown", "--order", "refind[0]"), "no node `refind[0]`; did you mean `refined[0]`?"),
        (("--breakdown", "--order", "drafts[0],drafts[0]"), "--order names drafts[0] twice"),
        (("--role", "opposer", "--deceive", "000_003"), "--role opposer: belongs to --breakdown"),
        ((), "nothing to try: add --deceive ATTACK"),
        (("--deceive", "none", "--defend", "none"), "nothing to try"),
    ],
)
def test_a_mistake_is_one_line_before_anybody_is_asked(
    moa: Here, options: tuple[str, ...], expected: str
) -> None:
    assert expected in one_line(moa(*LINE, *options), 2)
    assert not Path("out").exists()


def test_an_opposer_needs_options(moa: Here) -> None:
    Path("words.yaml").write_text(
        "data: {path: items.jsonl, fields: {prompt: question}}\nanswer: {read: text}\n"
    )
    line = ("attack", "./words.yaml", "moa-3-3-1", *MODELS, "--out", "out")
    said = one_line(moa(*line, "--deceive", "refined[0]=opposer"), 2)
    assert "argues for one of several options, and words has none: take `deceiver`" in said
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        ("single", "answers without hearing anybody"),
        ("self-moa-seq", "answers with `window`"),
        ("majority-vote", "chooses one of its inputs"),
    ],
)
def test_a_defence_that_does_not_fit_is_refused(moa: Here, graph: str, expected: str) -> None:
    called = moa(
        "attack", "./choices.yaml", graph, "-m", "sim:", "--defend", "cluster-prompt", "--out", "out"
    )
    assert expected in one_line(called, 2)


@needs_alpaca_eval
def test_selection_defences_hardly_ever_pick_an_impostor(
    moa: Here, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The table of docs/attack.md, on a sample of its questions."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    defences = "cluster-medoid,trimmed-medoid,doge-election(keep=doge)"
    line = ("attack", "alpaca_eval", "medoid", "--replay", str(ALPACA_EVAL), "-m", f"members={','.join(SIX)}")
    options = ("--deceive", "drafts[5]=impostor@echo:", "--defend", defences, "--limit", "60")
    found = cells(moa(*line, *options, "--out", "out", "--no-report", "--json"))
    for defence in ("none", *defences.split(",")):
        cell = found["drafts[5]=impostor@echo:", defence]
        assert cell["selects"]
        assert cell["deceptive"]["value"] < 2
