"""Scores: how rows find their difficulties, what is warned of, and where the reference comes from."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from moa.errors import UsageError
from moa.evaluate import reference as module
from moa.evaluate.annotations import Annotations, read_annotations
from moa.evaluate.reference import Instructions, read_reference
from moa.evaluate.score import Options, Score, score
from tests.support.annotated import (
    official,
    simulate,
    simulate_gamed,
    table,
    write_json,
    write_jsonl,
    write_reference,
)
from tests.support.shared import ALPACA_EVAL, alpaca_eval_annotations, needs_alpaca_eval

N = 80
SIMULATED = simulate(N, seed=0)
ROWS = table(SIMULATED)
TEXTS = [f"Instruction  number\n{index} " for index in range(N)]
KEYS = [
    "model",
    "win_rate",
    "standard_error",
    "n_wins",
    "n_wins_base",
    "n_draws",
    "n_total",
    "discrete_win_rate",
    "avg_length",
    "length_controlled_winrate",
    "lc_standard_error",
    "lc_ci",
    "warnings",
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A reference folder, on a machine that knows nothing else and has no network."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for variable in ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_ENDPOINT"):
        monkeypatch.delenv(variable, raising=False)
    gamed = simulate_gamed(SIMULATED.difficulty, seed=1)
    return write_reference(tmp_path / "reference", SIMULATED.difficulty, gamed)


def read(path: Path, rows: list[dict[str, Any]]) -> list[Annotations]:
    write = write_json if path.suffix == ".json" else write_jsonl
    return read_annotations([write(path, rows)])


def one(found: list[Annotations], folder: Path | None, **options: Any) -> Score:
    [scored] = score(found, Options(**{"reference": folder, "replicates": 0} | options))
    return scored


def lc(scored: Score) -> float:
    assert scored.length_controlled is not None
    return scored.length_controlled.win_rate


def test_json_has_the_promised_keys(tmp_path: Path, folder: Path) -> None:
    told = one(read(tmp_path / "a.jsonl", ROWS), folder, replicates=100).to_json()
    assert list(told)[: len(KEYS)] == KEYS
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    low, high = told["lc_ci"]
    assert low < told["length_controlled_winrate"] < high
    assert told["win_rate_ci"][0] < told["win_rate"] < told["win_rate_ci"][1]
    assert told["lc_fit"] == "liblinear-cv"
    assert told["lc_ci_method"].startswith("BCa bootstrap, 100 replicates, newton fit with C = ")
    assert told["warnings"] == []


def test_the_order_of_rows_does_not_matter(tmp_path: Path, folder: Path) -> None:
    shuffled = [ROWS[place] for place in np.random.default_rng(0).permutation(N)]
    ordered = one(read(tmp_path / "a.jsonl", ROWS), folder, replicates=50)
    again = one(read(tmp_path / "b.jsonl", shuffled), folder, replicates=50)
    assert ordered.length_controlled == again.length_controlled
    assert ordered.lc_ci == again.lc_ci


def test_by_position_the_order_of_rows_matters_unless_the_table_says_it(tmp_path: Path, folder: Path) -> None:
    shuffled = [ROWS[place] for place in np.random.default_rng(0).permutation(N)]
    right = one(read(tmp_path / "a.jsonl", ROWS), folder, row_index=True)
    wrong = one(read(tmp_path / "b.jsonl", shuffled), folder, row_index=True)
    assert abs(lc(right) - lc(wrong)) > 0.05
    positioned = [row | {"row": row["index"]} for row in shuffled]
    again = one(read(tmp_path / "c.jsonl", positioned), folder, row_index=True)
    assert right.length_controlled == again.length_controlled


def test_by_position_rows_need_no_index(tmp_path: Path, folder: Path) -> None:
    bare = [{key: value for key, value in row.items() if key != "index"} for row in ROWS]
    found = read(tmp_path / "a.jsonl", bare)
    assert lc(one(found, folder, row_index=True)) == lc(one(read(tmp_path / "b.jsonl", ROWS), folder))
    with pytest.raises(UsageError, match=r"a.jsonl:1: has neither `index` nor `instruction`"):
        one(found, folder)


def test_missing_instructions_are_named_and_keyed(tmp_path: Path, folder: Path) -> None:
    some = [row for row in ROWS if row["index"] not in (3, 40)]
    keyed = one(read(tmp_path / "a.jsonl", some), folder)
    assert keyed.warnings == ("2 of 80 instructions are missing: 3, 40",)
    shifted = one(read(tmp_path / "a.jsonl", some), folder, row_index=True)
    assert "difficulties of the first 78" in shifted.warnings[0]
    assert lc(keyed) != lc(shifted)


def test_many_missing_instructions_are_counted(tmp_path: Path, folder: Path) -> None:
    found = one(read(tmp_path / "a.jsonl", ROWS[:20]), folder)
    assert found.warnings[0] == "60 of 80 instructions are missing: 20, 21, 22, 23, 24 and 55 more"
    assert "length control from 20 rows says little" in found.warnings


def test_an_index_without_a_difficulty(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(UsageError, match=r"a.jsonl:1: there are difficulties for instructions 0 to 79 only"):
        one(read(tmp_path / "a.jsonl", [ROWS[0] | {"index": 80}, *ROWS[1:]]), folder)
    more = [*ROWS, ROWS[0] | {"index": 80}]
    with pytest.raises(UsageError, match=r"a.jsonl:81: there are difficulties for instructions 0 to 79"):
        one(read(tmp_path / "a.jsonl", more), folder, row_index=True)


def instructions(folder: Path, texts: list[str]) -> None:
    write_jsonl(
        folder / "instructions.jsonl", [{"index": i, "instruction": text} for i, text in enumerate(texts)]
    )


def test_texts_find_their_place_in_the_list(tmp_path: Path, folder: Path) -> None:
    instructions(folder, TEXTS)
    texts = [" ".join(text.split()) for text in TEXTS]
    rows = list(reversed(official(ROWS[5:], texts)))
    keyed = one(read(tmp_path / "annotations.json", rows), folder)
    assert keyed.length_controlled == one(read(tmp_path / "a.jsonl", ROWS[5:]), folder).length_controlled
    assert keyed.baseline == "baseline"


def test_a_text_that_is_not_in_the_list(tmp_path: Path, folder: Path) -> None:
    instructions(folder, TEXTS)
    rows = official(ROWS, [*TEXTS[:7], "Something else", *TEXTS[8:]])
    with pytest.raises(UsageError, match=r"record 8: the instruction 'Something else' is not in .*jsonl"):
        one(read(tmp_path / "annotations.json", rows), folder)


def test_texts_alike_but_for_white_space() -> None:
    known = Instructions(["a b", "a  b", "c"], "the list")
    assert [known.index(text) for text in ("a b", "a  b", " c\n")] == [0, 1, 2]
    with pytest.raises(UsageError, match="'a b' stands at 0 and 1 in the list: give `index`"):
        known.index("a\nb")


def test_the_same_instruction_by_text_and_by_index(tmp_path: Path, folder: Path) -> None:
    instructions(folder, TEXTS)
    rows = [
        *ROWS,
        {key: value for key, value in ROWS[4].items() if key != "index"} | {"instruction": TEXTS[4]},
    ]
    with pytest.raises(UsageError, match=r"a.jsonl:81: small has instruction 4 already at .*a.jsonl:5"):
        one(read(tmp_path / "a.jsonl", rows), folder)


def test_without_a_list_a_complete_model_is_it(tmp_path: Path, folder: Path) -> None:
    whole = official(ROWS, TEXTS)
    part = official([row | {"model": "part"} for row in ROWS[3:]], TEXTS)
    found = read(tmp_path / "annotations.json", [*part, *whole])
    scored = list(score(found, Options(reference=folder, replicates=0)))
    assert all("no list of instructions: that of small's 80 rows" in each.warnings[0] for each in scored)
    known = one(read(tmp_path / "a.jsonl", ROWS[3:]), folder)
    assert scored[0].length_controlled == known.length_controlled
    assert "3 of 80 instructions are missing: 0, 1, 2" in scored[0].warnings


def test_without_a_list_and_a_complete_model(tmp_path: Path, folder: Path) -> None:
    found = read(tmp_path / "annotations.json", official(ROWS[1:], TEXTS))
    with pytest.raises(UsageError, match=r"need instructions.jsonl .* --reference DIR, or --row-index"):
        one(found, folder)
    assert lc(one(found, folder, row_index=True)) > 0


def test_rows_without_a_verdict_are_counted(tmp_path: Path, folder: Path) -> None:
    instructions(folder, TEXTS)
    rows = official(ROWS, TEXTS)
    rows[2]["preference"] = None
    found = one(read(tmp_path / "annotations.json", rows), folder, replicates=60)
    assert found.raw.n_total == N - 1
    assert found.warnings == (
        f"1 row without a verdict left out of the win rate: {tmp_path}/annotations.json:record 3",
    )
    assert found.lc_ci is not None
    assert found.lc_ci.contains(lc(found))


def test_no_verdict_at_all(tmp_path: Path) -> None:
    rows = [row | {"preference": None} for row in official(ROWS, TEXTS)]
    with pytest.raises(UsageError, match="record 1: small has no verdict at all"):
        one(read(tmp_path / "annotations.json", rows), None, length_control=False)


def test_equal_lengths_have_no_length_control(tmp_path: Path, folder: Path) -> None:
    rows = [row | {"len_2": row["len_1"] + 7} for row in ROWS]
    found = one(read(tmp_path / "a.jsonl", rows), folder, replicates=50)
    assert found.length_controlled is None and found.lc_ci is None
    assert found.win_rate_ci is not None
    assert found.warnings[0].startswith("no length-controlled win rate: the outputs' lengths differ")
    told = found.to_json()
    assert told["length_controlled_winrate"] is None and told["lc_ci"] is None


def test_the_baseline_itself_has_50(tmp_path: Path, folder: Path) -> None:
    rows = [row | {"preference": 1.5, "len_2": row["len_1"]} for row in ROWS]
    found = one(read(tmp_path / "a.jsonl", rows), folder, replicates=50)
    assert (lc(found), found.raw.win_rate, found.warnings) == (50, 50, ())
    told = found.to_json()
    assert (told["lc_fit"], told["lc_c"], told["lc_ci"]) == ("none: the baseline itself", None, None)


def test_equal_preferences_have_no_interval(tmp_path: Path, folder: Path) -> None:
    rows = [row | {"preference": 2.0} for row in ROWS]
    found = one(read(tmp_path / "a.jsonl", rows), folder, replicates=50)
    assert found.win_rate_ci is None
    assert "all preferences are 2: no interval of the win rate" in found.warnings


def test_a_single_row(tmp_path: Path, folder: Path) -> None:
    told = one(read(tmp_path / "a.jsonl", ROWS[:1]), folder, replicates=50).to_json()
    assert told["standard_error"] is None
    assert told["length_controlled_winrate"] is None
    assert "a single verdict has no standard error" in told["warnings"]


def test_extrapolation_and_a_far_win_rate_are_told(tmp_path: Path, folder: Path) -> None:
    rows = [row | {"len_2": row["len_1"] + 1500 + 10 * row["index"]} for row in ROWS]
    winning = [row | {"preference": 1.8 + 0.001 * row["index"]} for row in rows]
    found = one(read(tmp_path / "a.jsonl", winning), folder)
    assert any("extrapolates: every output is longer" in warning for warning in found.warnings)
    assert any("is far from the raw one" in warning for warning in found.warnings)


def test_seeds_and_fits_are_kept_apart(tmp_path: Path, folder: Path) -> None:
    found = read(tmp_path / "a.jsonl", ROWS)
    first, same, other = (one(found, folder, replicates=40, seed=seed) for seed in (0, 0, 1))
    assert first.lc_ci == same.lc_ci != other.lc_ci
    fast = one(found, folder, fit="newton")
    assert fast.to_json()["lc_fit"] == "newton"
    assert lc(fast) == pytest.approx(lc(first), abs=0.15)


def test_no_reference_is_needed_without_length_control(tmp_path: Path, folder: Path) -> None:
    found = one(read(tmp_path / "a.jsonl", ROWS), None, length_control=False, replicates=40)
    assert found.length_controlled is None and found.warnings == ()
    assert found.win_rate_ci is not None


def test_offline_without_a_reference_is_one_line(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(UsageError) as caught:
        one(read(tmp_path / "a.jsonl", ROWS), None)
    message = str(caught.value)
    assert "\n" not in message
    assert "df_gamed.csv of tatsu-lab/alpaca_eval is not on this machine" in message
    assert "--reference DIR" in message and "--no-length-control" in message


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("df_gamed.csv", None, "has no df_gamed.csv"),
        ("df_gamed.csv", "preference,index\n0.5,0\n", "df_gamed.csv:2: std_delta_len and"),
        (
            "df_gamed.csv",
            "preference,index,std_delta_len,instruction_difficulty\n1.5,0,1,1\n",
            "must be from 0 to 1",
        ),
        (
            "df_gamed.csv",
            "preference,index,std_delta_len,instruction_difficulty\n0.5,1,1,1\n",
            "without a gap",
        ),
        (
            "df_gamed.csv",
            "preference,index,std_delta_len,instruction_difficulty\nx,0,1,1\n",
            "'x', not a number",
        ),
        ("df_gamed.csv", "preference,index,std_delta_len,instruction_difficulty\n", "has 0 different ones"),
        ("instruction_difficulty.csv", "index,instruction_difficulty\na,1\n", "index is 'a', not a whole"),
    ],
)
def test_a_bad_reference(folder: Path, file: str, content: str | None, message: str) -> None:
    if content is None:
        (folder / file).unlink()
    else:
        (folder / file).write_text(content)
    with pytest.raises(UsageError, match=message):
        read_reference(folder)


def test_gamed_rows_without_a_verdict_are_left_out(folder: Path) -> None:
    path = folder / "df_gamed.csv"
    lines = path.read_text().splitlines()
    lines[3] = lines[3][lines[3].index(",") :]
    path.write_text("\n".join(lines) + "\n")
    found = read_reference(folder)
    assert len(found.gamed.preferences) == 2 * N - 1
    assert len(found.difficulty) == N
    assert found.warnings == ()


def test_two_tables_of_difficulties_that_differ(folder: Path) -> None:
    path = folder / "instruction_difficulty.csv"
    path.write_text(path.read_text().replace("index,instruction_difficulty", ",instruction_difficulty"))
    assert read_reference(folder).warnings == ()
    other = read_reference(folder).difficulty + 1
    rows = "".join(f"{index},{value!r}\n" for index, value in enumerate(other.tolist()))
    path.write_text("index,instruction_difficulty\n" + rows)
    [warning] = read_reference(folder).warnings
    assert "does not hold the difficulties of df_gamed.csv" in warning


class Hub(BaseHTTPRequestHandler):
    """Serves the files of a folder as the hub does, and counts."""

    folder = Path()
    asked: list[str] = []  # noqa: RUF012

    def do_GET(self) -> None:
        self.asked.append(self.path)
        file = self.folder / self.path.rpartition("/")[2]
        wanted = f"/datasets/{module.DATASET}/resolve/{module.REVISION}/{file.name}"
        if self.path != wanted or not file.is_file():
            self.send_error(404)
            return
        content = file.read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def hub(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A hub that has the reference; what it was asked for."""
    monkeypatch.setattr(Hub, "folder", folder)
    monkeypatch.setattr(Hub, "asked", [])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    yield Hub.asked
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_hub_is_asked_once(tmp_path: Path, folder: Path, hub: list[str]) -> None:
    baseline = [{"instruction": text, "output": "", "generator": "baseline"} for text in TEXTS]
    write_json(folder / "alpaca_eval_gpt4_baseline.json", baseline)
    found = read(tmp_path / "annotations.json", official(ROWS[9:], TEXTS))
    first = one(found, None)
    assert [path.rpartition("/")[2] for path in hub] == ["df_gamed.csv", "alpaca_eval_gpt4_baseline.json"]
    assert one(found, None) == first
    assert len(hub) == 2
    assert first.length_controlled == one(read(tmp_path / "a.jsonl", ROWS[9:]), folder).length_controlled


def test_a_hub_that_refuses(tmp_path: Path, folder: Path, hub: list[str]) -> None:
    (folder / "df_gamed.csv").unlink()
    with pytest.raises(UsageError, match=r"HTTP 404.*--reference DIR"):
        one(read(tmp_path / "a.jsonl", ROWS), None)


@needs_alpaca_eval
def test_texts_and_indices_of_the_published_judgments_agree(tmp_path: Path) -> None:
    """A model that lacks instructions, written as AlpacaEval's command does."""
    with gzip.open(ALPACA_EVAL / "instructions.jsonl.gz", "rt", encoding="utf-8") as file:
        texts = [json.loads(line)["instruction"] for line in file]
    [known] = [each for each in alpaca_eval_annotations() if each.model == "text_davinci_001"]
    rows = [
        {
            "model": known.model,
            "index": each.index,
            "preference": each.preference,
            "len_1": each.len_1,
            "len_2": each.len_2,
        }
        for each in known.judgments
    ]
    found = read(tmp_path / "annotations.json", official(rows, texts))
    scored = one(found, ALPACA_EVAL, fit="newton")
    assert scored.length_controlled == one([known], ALPACA_EVAL, fit="newton").length_controlled
    assert scored.warnings == ("2 of 805 instructions are missing: 247, 504",)
