"""Selections over recorded outputs: one line, no model, exact numbers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cli.calling import Called
from tests.support.recordings import MODELS, Recorded, matrix, write_official, write_recordings
from tests.support.shell import Here

SELECTIONS = ("random", "oracle", "longest", "shortest", "medoid", "cluster")
SINGLES = ("single", "--set", f"a={','.join(MODELS)}")
MEMBERS = ("-m", f"members={','.join(MODELS)}")
REST = ("--out", "out", "--no-report")


@pytest.fixture
def moa(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Here:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return Here(monkeypatch, capsys, tmp_path)


@pytest.fixture
def recorded(moa: Here) -> Recorded:
    return write_recordings(Path("rec"))


def board(moa: Here, *options: str) -> dict[str, dict[str, Any]]:
    """The rows of `moa compare --json` by their names, with their figures by name."""
    called = moa("compare", "out", "--json", "--bootstrap", "40", *options)
    assert called.code == 0, called.err
    return {row["name"]: row for row in json.loads(called.out)["rows"]}


def value(rows: dict[str, dict[str, Any]], name: str, figure: str = "win-rate") -> float:
    return float(rows[name]["figures"][figure]["estimate"]["value"])


def replayed(moa: Here, *graphs: str, options: tuple[str, ...] = MEMBERS) -> Called:
    called = moa("eval", "alpaca_eval", *graphs, "--replay", "rec", *options, *REST)
    assert called.code == 0, called.err
    return called


def test_every_selection_is_scored_by_what_it_selects(moa: Here, recorded: Recorded) -> None:
    called = replayed(moa, *SELECTIONS)
    assert "baseline gpt4_1106_preview" in called.out
    assert "LC win rate: newton fit, AlpacaEval's difficulties; 95% interval: BCa bootstrap" in called.out
    rows, preferences = board(moa), matrix(recorded, MODELS)
    lengths = np.array([[len(text) for text in recorded.outputs[name]] for name in MODELS])
    items = np.arange(len(recorded.instructions))
    assert value(rows, "oracle") == pytest.approx(100 * preferences.max(axis=0).mean(), abs=1e-9)
    for name, chosen in (("longest", lengths.argmax(axis=0)), ("shortest", lengths.argmin(axis=0))):
        assert value(rows, name) == pytest.approx(100 * preferences[chosen, items].mean(), abs=1e-9)
        assert rows[name]["cost"]["length"] == pytest.approx(lengths[chosen, items].mean())
    assert all(rows[name]["counts"]["ok"] == len(items) for name in SELECTIONS)
    assert all(rows[name]["cost"]["calls"] == 3 for name in SELECTIONS)
    drawn = [verdict["details"]["models"] for verdict in verdicts(moa, "random")]
    assert {tuple(models) for models in drawn} == {(name,) for name in MODELS}


def test_each_verdict_is_the_members_own(moa: Here, recorded: Recorded) -> None:
    replayed(moa, "medoid", "cluster")
    for entrant in ("medoid", "cluster"):
        for index, verdict in enumerate(verdicts(moa, entrant)):
            [model] = verdict["details"]["models"]
            assert verdict["value"] == pytest.approx(recorded.preferences[model][index], abs=1e-12)
            assert verdict["details"]["lengths"] == [
                recorded.baseline_lengths[index],
                len(recorded.outputs[model][index]),
            ]


def test_what_a_draw_by_chance_has_in_expectation_is_told(moa: Here, recorded: Recorded) -> None:
    called = replayed(moa, "random", "oracle")
    chance = 100 * matrix(recorded, MODELS).mean()
    assert value_of_drafts(board(moa)["random"]) == pytest.approx(chance, abs=1e-9)
    assert "oracle chose by the very verdicts that are counted: an upper bound" in called.out
    assert f"a draft drawn by chance has a win rate of {chance:.1f} [" in called.out
    assert "random chose by" not in called.out


def value_of_drafts(row: dict[str, Any]) -> float:
    return float(row["drafts"]["quality"]["value"])


@pytest.mark.parametrize("fit", ["newton", "liblinear-cv"])
def test_single_models_have_the_numbers_of_moa_score(moa: Here, recorded: Recorded, fit: str) -> None:
    called = moa("eval", "alpaca_eval", *SINGLES, "--replay", "rec", *REST)
    assert called.code == 0, called.err
    rows = board(moa, "--fit", fit)
    scored = moa(
        "score", "rec/annotations.jsonl", "--reference", "rec", "--json", "--fit", fit, "--bootstrap", "20"
    )
    for score in json.loads(scored.out):
        name = f"single[a={score['model']}]"
        assert value(rows, name) == pytest.approx(score["win_rate"], abs=1e-9)
        assert value(rows, name, "discrete-win-rate") == pytest.approx(score["discrete_win_rate"], abs=1e-9)
        controlled = rows[name]["figures"]["length-controlled"]
        assert controlled["estimate"]["value"] == pytest.approx(score["length_controlled_winrate"], abs=1e-9)
        assert controlled["note"] == f"{fit} fit, AlpacaEval's difficulties"


def test_the_order_of_the_questions_changes_no_number(moa: Here, recorded: Recorded) -> None:
    path = recorded.folder / "instructions.jsonl"
    path.write_text("\n".join(reversed(path.read_text().splitlines())))
    test_single_models_have_the_numbers_of_moa_score(moa, recorded, "liblinear-cv")


def test_the_parts_can_be_named_one_by_one(moa: Here, recorded: Recorded) -> None:
    replayed(moa, "longest")
    first = board(moa)["longest"]["figures"]
    shutil.rmtree("out")
    members = ",".join(f"replay:rec/outputs/{name}.jsonl" for name in MODELS)
    called = moa(
        "eval", "alpaca_eval", "longest", "-m", f"members={members}", "--judge", "recorded:rec/annotations.jsonl",
        "--data", "rec/instructions.jsonl", "--reference", "rec", *REST,
    )  # fmt: skip
    assert called.code == 0, called.err
    assert board(moa)["longest"]["figures"] == first


def test_difficulties_beside_the_preferences_are_found_and_kept(moa: Here, recorded: Recorded) -> None:
    members = ("-m", "members=replay:rec/outputs/first.jsonl,replay:rec/outputs/second.jsonl")
    judge = ("--judge", "recorded:rec/annotations.jsonl", "--data", "rec/instructions.jsonl")
    assert moa("eval", "alpaca_eval", "longest", *members, *judge, *REST).code == 0
    before = board(moa)["longest"]["figures"]["length-controlled"]
    assert before["note"] == "newton fit, AlpacaEval's difficulties"
    shutil.rmtree("rec")
    assert board(moa)["longest"]["figures"]["length-controlled"] == before


def test_alpaca_eval_s_own_results_are_replayed(moa: Here, recorded: Recorded) -> None:
    write_official(recorded, Path("results"))
    called = moa(
        "eval", "alpaca_eval", "oracle", "--replay", "results", "--data", "rec/instructions.jsonl",
        "--reference", "rec", *MEMBERS, *REST,
    )  # fmt: skip
    assert called.code == 0, called.err
    expected = 100 * matrix(recorded, MODELS).max(axis=0).mean()
    assert value(board(moa), "oracle") == pytest.approx(expected, abs=1e-9)


def test_the_same_line_again_changes_nothing_and_more_graphs_join(moa: Here, recorded: Recorded) -> None:
    replayed(moa, "random", "oracle")
    before = {path: path.read_bytes() for path in Path("out").rglob("*.jsonl")}
    replayed(moa, "random", "oracle")
    replayed(moa, "longest")
    assert {path: path.read_bytes() for path in before} == before
    assert set(board(moa)) == {"random", "oracle", "longest"}


def test_the_plan_of_a_replay_costs_nothing(moa: Here, recorded: Recorded) -> None:
    called = moa("eval", "alpaca_eval", "longest", "--replay", "rec", *MEMBERS, *REST, "--plan")
    assert called.code == 0
    assert "n/a" not in called.out and "$0" in called.out


def test_what_nobody_judged_is_counted_and_left_out(moa: Here, recorded: Recorded) -> None:
    path = recorded.folder / "annotations.jsonl"
    kept = [line for line in path.read_text().splitlines() if json.loads(line)["index"] != 7]
    path.write_text("\n".join(kept))
    called = moa("eval", "alpaca_eval", "longest", "--replay", "rec", *MEMBERS, *REST)
    assert called.code == 1
    assert "0 answers and 1 verdicts failed" in called.err
    assert "longest: 1 verdicts failed and are left out of its numbers" in called.out
    [failed] = [verdict for verdict in verdicts(moa, "longest") if verdict["state"] != "ok"]
    assert failed["details"]["error"] == "annotations.jsonl holds no preference for this instruction"
    assert board(moa)["longest"]["counts"]["ok"] == len(recorded.instructions) - 1


def test_an_entrant_can_be_the_baseline(moa: Here, recorded: Recorded) -> None:
    texts = [f"{'b' * (int(length) - 1)}." for length in recorded.baseline_lengths]
    lines = [json.dumps({"index": index, "output": text}) for index, text in enumerate(texts)]
    (recorded.folder / "outputs" / "base.jsonl").write_text("\n".join(lines))
    called = moa(
        "eval", "alpaca_eval", "single", "longest", "-m", "a=base", "--baseline", "single", "--replay", "rec",
        *MEMBERS, *REST,
    )  # fmt: skip
    assert called.code == 0, called.err
    rows = board(moa)
    assert (value(rows, "single"), rows["single"]["is_baseline"]) == (50.0, True)
    assert rows["longest"]["counts"]["ok"] == len(texts)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("oracle", "-m", "members=first,second", "--judge", "sim:"),
            "its node `answer` chooses by recorded",
        ),
        (("longest", "-m", "members=first,secnd"), "unknown model 'secnd' (did you mean 'second'?)"),
        (("longest", "-m", "members=first,,second"), "a comma without a model"),
        (("single", "-m", "a=first,second"), "slot `a` is bound to 2 models, and one is asked here"),
        (("longest", "-m", "member=first"), "no graph has a slot `member`"),
        (("longest", *MEMBERS, "--reference", "."), "--reference .: has no df_gamed.csv"),
        (("longest", *MEMBERS, "--judge", "recorded:no.jsonl"), "no such file of recorded preferences"),
        (("longest", *MEMBERS, "--baseline", "lngest"), "did you mean `longest`?"),
    ],
)
def test_a_mistake_is_one_line(
    moa: Here, recorded: Recorded, arguments: tuple[str, ...], message: str
) -> None:
    called = moa("eval", "alpaca_eval", *arguments, "--replay", "rec", *REST)
    assert (called.code, called.out) == (2, "")
    assert message in called.err and len(called.err.splitlines()) == 1
    assert not Path("out").exists()


def test_the_oracle_cannot_run_where_nothing_was_judged(moa: Here) -> None:
    called = moa("run", "oracle", "Why?", "-m", "sim:")
    assert called.code == 2
    assert "the selector `oracle` chooses by recorded preferences: run it with `moa eval" in called.err


def test_a_folder_without_recordings_and_an_unknown_fit(moa: Here, recorded: Recorded) -> None:
    called = moa("eval", "alpaca_eval", "longest", "--replay", "cache", *MEMBERS, *REST)
    assert (called.code, "--replay cache: holds no recorded outputs" in called.err) == (2, True)
    called = moa("compare", "out", "--fit", "newtn")
    assert (called.code, called.err) == (2, "--fit newtn: known fits are newton and liblinear-cv\n")


def verdicts(moa: Here, entrant: str) -> list[dict[str, Any]]:
    path = Path("out") / "verdicts" / f"{entrant}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]
