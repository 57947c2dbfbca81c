"""Recorded preferences are read from every format, and each mistake is refused with its row."""

from __future__ import annotations

import csv
import gzip
import json
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from moa.errors import UsageError
from moa.evaluate.annotations import Annotations, annotation_files, read_annotations
from tests.support.annotated import official, simulate, table, write_json, write_jsonl
from tests.support.shared import alpaca_eval_annotations, needs_alpaca_eval

ROWS = table(simulate(6, seed=0))
TEXTS = [f"Instruction {index}" for index in range(6)]


def write_csv(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def numbers(found: Annotations) -> list[tuple[Any, ...]]:
    return [(one.index, one.preference, one.len_1, one.len_2) for one in found.judgments]


def refused(path: Path, **options: Any) -> str:
    with pytest.raises(UsageError) as caught:
        read_annotations([path], **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "write"),
    [("a.jsonl", write_jsonl), ("a.json", write_json), ("a.csv", write_csv), ("a.parquet", write_parquet)],
)
def test_every_format_holds_the_same(tmp_path: Path, name: str, write: Any) -> None:
    [found] = read_annotations([write(tmp_path / name, ROWS)])
    assert found.model == "small"
    assert numbers(found) == [(r["index"], r["preference"], r["len_1"], r["len_2"]) for r in ROWS]


def test_alpaca_evals_own_format(tmp_path: Path) -> None:
    [found] = read_annotations([write_json(tmp_path / "annotations.json", official(ROWS, TEXTS))])
    assert (found.model, found.baseline, found.is_baseline) == ("small", "baseline", False)
    assert [one.instruction for one in found.judgments] == TEXTS
    assert [one[1:] for one in numbers(found)] == [(r["preference"], r["len_1"], r["len_2"]) for r in ROWS]
    assert found.judgments[0].judge == "weighted"


def test_null_in_alpaca_evals_format_is_no_verdict_and_0_a_draw(tmp_path: Path) -> None:
    rows = official(ROWS, TEXTS)
    rows[1]["preference"], rows[2]["preference"] = None, 0.0
    [found] = read_annotations([write_json(tmp_path / "annotations.json", rows)])
    assert math.isnan(found.judgments[1].preference)
    assert found.judgments[2].preference == 1.5


def test_null_in_a_table_is_a_mistake_unless_told_otherwise(tmp_path: Path) -> None:
    rows = [*ROWS[:2], ROWS[2] | {"preference": None}]
    for path in (write_jsonl(tmp_path / "a.jsonl", rows), write_parquet(tmp_path / "a.parquet", rows)):
        assert "3: has no preference: --drop-unjudged" in refused(path)
        [found] = read_annotations([path], drop_unjudged=True)
        assert math.isnan(found.judgments[2].preference)


def test_nan_is_refused_in_every_format(tmp_path: Path) -> None:
    rows = [ROWS[0], ROWS[1] | {"preference": math.nan}]
    (tmp_path / "a.csv").write_text("model,index,preference,len_1,len_2\nsmall,0,1.5,1,2\nsmall,1,nan,1,2\n")
    strange = official(rows, TEXTS)
    paths = [
        (write_jsonl(tmp_path / "a.jsonl", rows), "a.jsonl:2:"),
        (write_parquet(tmp_path / "a.parquet", rows), "a.parquet:row 2:"),
        (tmp_path / "a.csv", "a.csv:3:"),
        (write_json(tmp_path / "annotations.json", strange), "annotations.json:record 2:"),
    ]
    for path, place in paths:
        message = refused(path, drop_unjudged=True)
        assert place in message
        assert "preference is nan: must be from 1 (baseline) to 2 (model)" in message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"preference": 0.4}, "preference is 0.4: must be from 1"),
        ({"preference": 0}, "preference is 0: must be from 1"),
        ({"preference": 2.1}, "preference is 2.1: must be from 1"),
        ({"preference": "m"}, "preference is 'm', not a number"),
        ({"preference": True}, "preference is True, not a number"),
        ({"model": None}, "has no `model` (or `generator_2`)"),
        ({"index": 1.5}, "index is 1.5, not a whole number from 0"),
        ({"index": -1}, "index is -1.0, not a whole number from 0"),
        ({"index": math.inf}, "index is inf, not a whole number from 0"),
        ({"len_1": None}, "has neither `len_1` nor the text `output_1`"),
        ({"len_2": None, "output_2": None}, "has neither `len_2` nor the text `output_2`"),
        ({"len_2": 1e400}, "len_2 is inf"),
        ({"instruction": 7}, "`instruction` must be text"),
        ({"index": 0}, "small has index 0 already at"),
        ({"annotator": "other"}, "judge 'other', but no judge at"),
        ({"baseline": "other"}, "baseline 'other', but no baseline at"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    rows = [*ROWS[:3], ROWS[3] | change, *ROWS[4:]]
    told = refused(write_jsonl(tmp_path / "a.jsonl", rows))
    assert f"{tmp_path}/a.jsonl:4: {message}" in told


def test_a_row_short_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("model,index,preference,len_1,len_2\nsmall,0,1.5,1,2\nsmall,1,1.5,1\n")
    assert "a.csv:3: has neither `len_2`" in refused(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_text("model,index,preference,len_1,len_2\nsmall,0,1.5,1,2,3\n")
    assert "b.csv:2: has more cells" in refused(tmp_path / "b.csv")
    (tmp_path / "c.jsonl").write_text('{"model": "small", "index": 0, "pref\n')
    assert "c.jsonl:1: not JSON" in refused(tmp_path / "c.jsonl")
    (tmp_path / "d.jsonl").write_text("[1, 2]\n")
    assert "d.jsonl:1: expected an object" in refused(tmp_path / "d.jsonl")


@pytest.mark.parametrize("instruction", [None, "", "  "])
def test_a_row_whose_instruction_is_missing(tmp_path: Path, instruction: str | None) -> None:
    rows = [{**row, "index": None, "instruction": text} for row, text in zip(ROWS, TEXTS, strict=True)]
    rows[3]["instruction"] = instruction
    for name, write in (("a.jsonl", write_jsonl), ("a.json", write_json), ("a.parquet", write_parquet)):
        with pytest.raises(UsageError, match=r"4: has neither `index` nor `instruction`"):
            read_annotations([write(tmp_path / name, rows)])


def test_the_same_instruction_twice_by_its_text(tmp_path: Path) -> None:
    rows = official(ROWS, TEXTS)
    rows[4]["instruction"] = rows[1]["instruction"]
    told = refused(write_json(tmp_path / "annotations.json", rows))
    assert "record 5: small has its instruction already at" in told
    assert told.endswith("annotations.json:record 2")


def test_mixed_judges_across_files(tmp_path: Path) -> None:
    first = write_json(tmp_path / "a" / "annotations.json", official(ROWS, TEXTS))
    others = official([row | {"model": "other"} for row in ROWS], TEXTS)
    second = write_json(tmp_path / "b" / "annotations.json", [row | {"annotator": "x"} for row in others])
    with pytest.raises(UsageError, match=r"b/annotations.json:record 1: judge 'x', but judge 'weighted' at"):
        read_annotations([first, second])


def test_another_baselines_name(tmp_path: Path) -> None:
    rows = official(ROWS, TEXTS)
    rows[3]["generator_1"] = "davinci"
    told = refused(write_json(tmp_path / "annotations.json", rows))
    assert "record 4: baseline 'davinci', but baseline 'baseline' at" in told


def test_another_baselines_outputs(tmp_path: Path) -> None:
    others = [row | {"model": "other", "len_1": row["len_1"] + (row["index"] == 2)} for row in ROWS]
    told = refused(write_jsonl(tmp_path / "a.jsonl", [*ROWS, *others]))
    assert "a.jsonl:9: the baseline's output has" in told
    assert told.endswith("a.jsonl:3: these are not the outputs of one baseline")


def test_models_of_one_file_and_of_many(tmp_path: Path) -> None:
    others = [row | {"model": "other"} for row in ROWS]
    one = read_annotations([write_jsonl(tmp_path / "a.jsonl", [*ROWS, *others])])
    half = write_jsonl(tmp_path / "b.jsonl", ROWS[:3]), write_jsonl(tmp_path / "c.jsonl", ROWS[3:])
    many = read_annotations([*half, write_jsonl(tmp_path / "d.jsonl", others)])
    assert [each.model for each in one] == [each.model for each in many] == ["small", "other"]
    assert [numbers(each) for each in one] == [numbers(each) for each in many]


def test_a_folder_is_its_annotations(tmp_path: Path) -> None:
    for model in ("a", "b"):
        write_json(tmp_path / model / "judge" / "annotations.json", official(ROWS, TEXTS))
        (tmp_path / model / "leaderboard.csv").write_text("model\n")
    assert [path.parent.parent.name for path in annotation_files(tmp_path)] == ["a", "b"]


def test_a_folder_without_annotations_is_its_tables(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(UsageError, match="holds no annotations"):
        annotation_files(tmp_path)
    path = write_jsonl(tmp_path / "x.jsonl", ROWS)
    assert annotation_files(tmp_path) == [path]


@pytest.mark.parametrize("content", ["", "[]"])
def test_nothing_in_a_file(tmp_path: Path, content: str) -> None:
    path = tmp_path / ("a.json" if content else "a.jsonl")
    path.write_text(content)
    assert "holds no annotations" in refused(path)


def test_no_such_file(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / "none.json")


def test_lengths_are_characters(tmp_path: Path) -> None:
    row = {"model": "m", "index": 0, "preference": 1.5, "output_1": "", "output_2": "日本😀"}
    [found] = read_annotations([write_jsonl(tmp_path / "a.jsonl", [row])])
    assert (found.judgments[0].len_1, found.judgments[0].len_2) == (0, 3)


def test_numbers_may_be_of_other_types(tmp_path: Path) -> None:
    columns = {
        "model": pa.array(["m", "m"]),
        "index": pa.array([0.0, 1.0], pa.float64()),
        "preference": pa.array([1.25, 1.5], pa.float32()),
        "len_1": pa.array([10, 20], pa.int16()),
        "len_2": pa.array([30, 40], pa.uint64()),
        "row": pa.array([1, 0], pa.int8()),
    }
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    [found] = read_annotations([tmp_path / "a.parquet"])
    assert numbers(found) == [(0, 1.25, 10, 30), (1, 1.5, 20, 40)]
    assert [one.row for one in found.judgments] == [1, 0]


def test_the_baseline_is_known_by_name_or_by_its_draws(tmp_path: Path) -> None:
    draws = [row | {"preference": 1.5, "len_2": row["len_1"]} for row in ROWS]
    [found] = read_annotations([write_jsonl(tmp_path / "a.jsonl", draws)])
    assert found.is_baseline
    named = official([row | {"model": "baseline"} for row in ROWS], TEXTS)
    [found] = read_annotations([write_json(tmp_path / "annotations.json", named)])
    assert found.is_baseline
    [found] = read_annotations([write_json(tmp_path / "annotations.json", official(draws, TEXTS))])
    assert not found.is_baseline


def test_gzip_and_extra_columns(tmp_path: Path) -> None:
    lines = "".join(json.dumps(row | {"price": 0.1, "split": "public"}) + "\n" for row in ROWS)
    with gzip.open(tmp_path / "a.jsonl.gz", "wt") as file:
        file.write(lines)
    [found] = read_annotations([tmp_path / "a.jsonl.gz"])
    assert len(found.judgments) == 6


@needs_alpaca_eval
def test_the_published_judgments() -> None:
    found = {each.model: each for each in alpaca_eval_annotations()}
    assert sum(len(each.judgments) for each in found.values()) == 23340
    assert [model for model, each in found.items() if each.is_baseline] == ["gpt4_1106_preview"]
    assert found["FuseChat-Gemma-2-9B-Instruct"].judgments[4].place.endswith("annotations.parquet:row 5")
