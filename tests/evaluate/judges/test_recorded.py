"""Recorded preferences as the judge."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from moa.errors import UsageError
from moa.evaluate.judges import Judge, open_judge
from moa.evaluate.judges.recording import model_of
from moa.evaluate.records import Answer, Item, Verdict
from moa.run.runner import Runner
from moa.spec.evaluation import JudgeSpec
from tests.support.court import answer, baseline, item
from tests.support.shared import shared_data

INSTRUCTION = "Why is the sky blue?"


def row(model: str, output: str, preference: float | None, **fields: Any) -> dict[str, Any]:
    """A row of AlpacaEval's annotations.json."""
    return {
        "instruction": INSTRUCTION,
        "output_1": "the baseline's",
        "generator_1": "gpt4_1106_preview",
        "output_2": output,
        "generator_2": model,
        "annotator": "weighted",
        "preference": preference,
    } | fields


def written(tmp_path: Path, *rows: dict[str, Any]) -> Path:
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps(rows))
    return path


def recorded(path: Path, near: Path | None = None) -> Judge:
    return open_judge(JudgeSpec(), Runner(), model=f"recorded:{path}", near=near)


def by(model: str, text: str) -> Answer:
    """A selection's answer, which one of two members wrote."""
    nodes = (
        {"id": "drafts[0]", "model": f"replay:outputs/{model}.jsonl.gz", "text": text},
        {"id": "drafts[1]", "model": "replay:outputs/other.jsonl.gz", "text": "something else"},
        {"id": "answer", "model": None, "text": text},
    )
    return answer(text, nodes=nodes)


async def judged(path: Path, given: Answer, against: Answer | None = None) -> Verdict:
    [verdict] = await recorded(path).judge(item(INSTRUCTION), given, against or baseline("the baseline's"))
    return verdict


async def test_the_text_decides(tmp_path: Path) -> None:
    path = written(tmp_path, row("good", "because", 1.75), row("bad", "dunno", 1.25))
    verdict = await judged(path, answer(" because\n"))
    assert (verdict.state, verdict.value, verdict.method) == ("ok", 0.75, "recorded")
    assert (verdict.judge, verdict.against) == ("recorded:annotations.json", "baseline")
    assert verdict.details == {"models": ["good"], "lengths": [14, 7]}
    assert recorded(path).calls(item()) == 0
    assert not recorded(path).needs_baseline


async def test_of_equal_texts_the_authors_own_preference_counts(tmp_path: Path) -> None:
    path = written(tmp_path, row("a", "because", 2.0), row("b", "because", 1.0), row("c", "dunno", 1.5))
    assert (await judged(path, by("b", "because"))).value == 0.0
    mean = await judged(path, answer("because"))
    assert (mean.value, mean.details) == (
        0.5,
        {"models": ["a", "b"], "lengths": [14, 7], "values": [1.0, 0.0]},
    )


async def test_the_drafts_of_a_selection_are_looked_up_too(tmp_path: Path) -> None:
    path = written(tmp_path, row("a", "because", 1.25), row("other", "something else", 2.0))
    verdict = await judged(path, by("a", "because"))
    assert (verdict.value, verdict.details["drafts"]) == (0.25, [0.25, 1.0])
    unknown = await judged(written(tmp_path, row("a", "because", 1.25)), by("a", "because"))
    assert unknown.details["drafts"] == [0.25, None]


async def test_a_text_that_nobody_wrote_has_no_verdict(tmp_path: Path) -> None:
    path = written(tmp_path, row("a", "because", 2.0))
    verdict = await judged(path, by("a", "because I say so"))
    assert (verdict.state, verdict.value) == ("failed", None)
    assert "nobody in it gave exactly this answer" in str(verdict.details["error"])


async def test_a_member_that_was_never_judged_is_named(tmp_path: Path) -> None:
    verdict = await judged(written(tmp_path, row("a", "because", 2.0)), by("z", "dunno"))
    assert verdict.details["error"] == "annotations.json has no preference for any answer of z"


async def test_an_instruction_that_was_not_judged(tmp_path: Path) -> None:
    path = written(tmp_path, row("a", "because", 2.0))
    [verdict] = await recorded(path).judge(item("Why?"), answer("because"), baseline("the baseline's"))
    assert verdict.state == "failed"
    assert verdict.details["error"] == "annotations.json holds no preference for this instruction"


async def test_another_baseline_is_noticed(tmp_path: Path) -> None:
    path = written(tmp_path, row("a", "because", 2.0))
    verdict = await judged(path, answer("because"), baseline("another's"))
    assert verdict.state == "failed"
    assert "judged against other outputs than those of baseline" in str(verdict.details["error"])


async def test_without_a_baseline_the_files_own_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, row("a", "because", 2.0))
    [verdict] = await recorded(path).judge(item(INSTRUCTION), answer("because"), None)
    assert (verdict.value, verdict.against) == (1.0, "gpt4_1106_preview")


async def test_an_empty_preference_is_no_draw(tmp_path: Path) -> None:
    verdict = await judged(written(tmp_path, row("a", "because", None)), answer("because"))
    assert (verdict.state, verdict.value) == ("unparsed", None)


async def test_a_table_without_texts_goes_by_the_author(tmp_path: Path) -> None:
    rows = [{"model": "a", "instruction": INSTRUCTION, "preference": 1.25, "len_1": 14, "len_2": 7}]
    path = tmp_path / "table.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in rows))
    assert (await judged(path, by("a", "because"))).value == 0.25
    assert (await judged(path, by("z", "because"))).state == "failed"
    assert (await judged(path, by("a", "because"), baseline("x" * 99))).state == "failed"


async def test_a_table_by_index_beside_its_instructions_and_outputs(tmp_path: Path) -> None:
    (tmp_path / "instructions.jsonl").write_text(json.dumps({"index": 7, "instruction": INSTRUCTION}))
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs" / "a.jsonl").write_text(json.dumps({"index": 7, "output": "because"}))
    (tmp_path / "table.csv").write_text("model,index,preference,len_1,len_2\na,7,1.25,14,7\n")
    assert (await judged(tmp_path / "table.csv", answer("because"))).value == 0.25


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"preference": 0.4}, "record 2: preference is 0.4"),
        ({"annotator": "another"}, "record 2: judge 'another', but judge 'weighted'"),
        ({"generator_1": "another"}, "record 2: baseline 'another'"),
        ({"generator_2": "a"}, "record 2: a has its instruction already"),
    ],
)
async def test_a_mixed_file_is_refused_with_the_row(
    tmp_path: Path, fields: dict[str, Any], message: str
) -> None:
    path = written(tmp_path, row("a", "because", 2.0), row("b", "dunno", 1.0) | fields)
    with pytest.raises(UsageError, match=message):
        await judged(path, answer("because"))


async def test_an_index_that_the_table_lacks(tmp_path: Path) -> None:
    path = tmp_path / "table.jsonl"
    path.write_text(json.dumps({"model": "a", "index": 7, "preference": 1.5, "len_1": 1, "len_2": 1}))
    with pytest.raises(UsageError, match=r"put instructions\.jsonl beside the file"):
        await judged(path, answer("because"))
    (tmp_path / "instructions.jsonl").write_text(json.dumps({"index": 8, "instruction": INSTRUCTION}))
    with pytest.raises(UsageError, match="table of instructions has no index 7"):
        await judged(path, answer("because"))


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no such file of recorded preferences"):
        recorded(tmp_path / "nothing.json")
    path = written(tmp_path, row("a", "because", 2.0))
    with pytest.raises(UsageError, match="recorded preferences are of pairs"):
        open_judge(JudgeSpec(kind="score"), Runner(), model=f"recorded:{path}")


def test_the_file_is_looked_for_beside_the_evaluation(tmp_path: Path) -> None:
    path = written(tmp_path, row("a", "because", 2.0))
    beside = recorded(Path("annotations.json"), near=tmp_path)
    assert beside.fingerprint == recorded(path).fingerprint
    path.write_text(json.dumps([row("a", "because", 1.0)]))
    assert beside.fingerprint != recorded(path).fingerprint


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("replay:outputs/claude-2.1.jsonl.gz", "claude-2.1"),
        ("replay:/data/gpt-3.5-turbo-1106.json", "gpt-3.5-turbo-1106"),
        ("replay:odd", "odd"),
        ("claude", "claude"),
    ],
)
def test_a_recordings_name_says_its_model(name: str, model: str) -> None:
    assert model_of(name) == model


async def test_published_win_rates_come_out_exactly() -> None:
    folder = shared_data("alpaca_eval2")
    with (folder / "leaderboard.csv").open() as file:
        board = {line["model"]: float(line["win_rate"]) for line in csv.DictReader(file)}
    instructions = _lines(folder / "instructions.jsonl.gz")
    theirs = {
        line["index"]: line["output"] for line in _lines(folder / "outputs" / "gpt4_1106_preview.jsonl.gz")
    }
    judge = recorded(folder / "annotations.parquet")
    for model in ("claude-2.1", "phi-2-sft"):
        ours = {line["index"]: line["output"] for line in _lines(folder / "outputs" / f"{model}.jsonl.gz")}
        values = []
        for line in instructions:
            index = line["index"]
            asked = Item(id=str(index), turns=(line["instruction"],))
            [verdict] = await judge.judge(asked, by(model, ours[index].strip()), baseline(theirs[index]))
            assert verdict.value is not None
            values.append(verdict.value)
        assert 100 * sum(values) / len(values) == pytest.approx(board[model], abs=1e-9)


def _lines(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]
