"""Every evaluation of the catalogue: what it says of itself, its data, its judge, and real samples of it."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

from moa.evaluate.records import Item
from moa.evaluate.tasks import about, load_items, with_baseline, with_data, without_baseline
from moa.spec.catalogue import entries, find, load_eval, names, shipped
from moa.spec.evaluation import EvalSpec
from moa.spec.questions import NUMBERS
from tests.support.shared import shared_data

OURS = {"sample": 40, "sample_choice": 26, "sample_persuasion": 16}
PERSUASION = {"quality_honest", "quality_persuasion"}
OWN_DATA = {*OURS, "pairwise"}


class Sample(NamedTuple):
    """A file of the shared data, and what its first item must be."""

    file: str
    items: int
    groups: int
    id: str
    group: str
    begins: str
    answer: str | None = None


SAMPLES = {
    "gsm8k": Sample("gsm8k", 200, 1, "gsm8k-test-2", "", "Josh decides to try flipping a house.", "70000"),
    "math": Sample(
        "math500",
        200,
        7,
        "test/precalculus/807.json",
        "Precalculus",
        "Convert the point",
        "\\left( 3, \\frac{\\pi}{2} \\right)",
    ),
    "cruxeval": Sample(
        "cruxeval", 200, 1, "sample_1", "", "```python\ndef f(a, b, c):\n    result", "{1: None, 2: None}"
    ),
    "mmlu_redux": Sample(
        "mmlu_redux", 200, 57, "mmlu_redux-11", "abstract_algebra", "Statement 1 | Every", "A"
    ),
    "quality": Sample("quality_leval", 200, 15, "quality-0-0", "0", "LOST    IN    TRANSLATION", "B"),
    "mt_bench": Sample("mt_bench", 80, 8, "81", "writing", "Compose an engaging travel blog post"),
    "arena_hard": Sample(
        "arena_hard_v2.0", 200, 2, "ec71c09662a64365", "hard_prompt", "please write a python script"
    ),
    "arena_hard_v01": Sample(
        "arena_hard_v0.1",
        200,
        155,
        "328c149ed45a41c0b9d6f14659e63599",
        "ABC Sequence Puzzles & Groups",
        "Use ABC notation to write a melody",
    ),
}


def spec_of(name: str) -> EvalSpec:
    return load_eval(name).spec


def items_of(name: str, file: str) -> list[Item]:
    located = load_eval(name)
    given = without_baseline(with_data(located.spec, shared_data("tasks", f"{file}.jsonl")))
    return list(load_items(given, located.folder))


def test_the_catalogue_is_what_the_tests_know() -> None:
    assert set(names("evals")) == {
        *SAMPLES,
        *OWN_DATA,
        *PERSUASION,
        "alpaca_eval",
        "wildbench",
        "wildbench_score",
    }
    assert [entry.name for entry in entries("evals")] == names("evals")


@pytest.mark.parametrize("name", names("evals"))
def test_each_says_what_it_is_and_whose(name: str) -> None:
    spec = spec_of(name)
    assert spec.name == name
    assert spec.description.endswith(".")
    assert spec.licence or name == "pairwise"
    if name not in OWN_DATA:
        assert re.search(r"^[A-Z]\S+ et al\. 20\d\d, .+, arXiv:\d{4}\.\d{5}$", spec.source or "")
        assert spec.data.hub


@pytest.mark.parametrize("name", names("evals"))
def test_each_asks_for_numbers_that_its_verdicts_give(name: str) -> None:
    spec = spec_of(name)
    assert spec.numbers
    assert set(spec.numbers) <= set(NUMBERS[spec.judge.kind if spec.judge else "answer"])


@pytest.mark.parametrize("name", names("evals"))
def test_each_judge_is_there(name: str) -> None:
    judge = spec_of(name).judge
    if judge and judge.agent:
        assert find("agents", judge.agent)
    if judge and judge.graph:
        assert find("graphs", judge.graph)


@pytest.mark.parametrize(("name", "sample"), SAMPLES.items())
def test_real_samples_load(name: str, sample: Sample) -> None:
    items = items_of(name, sample.file)
    first = items[0]
    assert len(items) == sample.items == len({item.id for item in items})
    assert len({item.group for item in items}) == sample.groups
    assert (first.id, first.group, first.answer) == (sample.id, sample.group, sample.answer)
    assert first.turns[0].startswith(sample.begins)
    assert all(item.answer for item in items) == (sample.answer is not None)


def test_questions_of_quality_carry_their_article_and_letters() -> None:
    items = items_of("quality", "quality_leval")
    assert min(len(item.turns[0]) for item in items) > 5_000
    assert all("\nA. " in item.turns[0] and "\nD. " in item.turns[0] for item in items)
    assert all("text" not in item.fields for item in items)


def test_mt_bench_has_two_turns_and_references_where_fastchat_has_them() -> None:
    items = items_of("mt_bench", "mt_bench")
    assert {len(item.turns) for item in items} == {2}
    assert Counter(len(item.references) for item in items) == {0: 41 - 1, 2: 40}
    assert all(item.references for item in items if item.group in {"math", "reasoning", "coding"})


def test_alpaca_eval_has_its_baseline_beside_each_instruction() -> None:
    located = load_eval("alpaca_eval")
    given = with_data(located.spec, shared_data("alpaca_eval2", "instructions.jsonl.gz"))
    given = with_baseline(given, shared_data("alpaca_eval2", "outputs", "gpt4_1106_preview.jsonl.gz"))
    items = list(load_items(given, located.folder))
    assert [item.id for item in items] == [str(index) for index in range(805)]
    assert len({item.group for item in items}) == 5
    assert int(sum(len(item.baseline[0]) for item in items) / 805) == 2049
    ids = {item.id for item in load_items(given, located.folder, limit=50)}
    assert len(ids) == 50
    assert ids < {item.id for item in load_items(given, located.folder, limit=100)}


def test_alpaca_eval_reads_the_official_file_too(tmp_path: Path) -> None:
    row = {"dataset": "koala", "instruction": "Why?", "output": "Because.", "generator": "gpt4_1106_preview"}
    official = tmp_path / "alpaca_eval_gpt4_baseline.json"
    official.write_text(json.dumps([row, row | {"instruction": "How?", "output": "So."}]))
    located = load_eval("alpaca_eval")
    given = with_baseline(with_data(located.spec, official), official)
    found = [
        (item.id, item.group, item.instruction, item.baseline) for item in load_items(given, located.folder)
    ]
    assert found == [("0", "koala", "Why?", ("Because.",)), ("1", "koala", "How?", ("So.",))]


def test_wildbench_keeps_conversation_and_checklist(tmp_path: Path) -> None:
    talk = [
        {"role": "user", "content": "Hi", "language": "English"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "Write a poem."},
    ]
    row = {
        "session_id": "s",
        "conversation_input": talk,
        "checklist": ["Is it a poem?"],
        "primary_tag": "Creative Writing",
    }
    data, recorded = tmp_path / "w.jsonl", tmp_path / "o.jsonl"
    data.write_text(json.dumps(row))
    recorded.write_text(json.dumps({"session_id": "s", "output": ["Roses."], "generator": "gpt-4-turbo"}))
    located = load_eval("wildbench")
    [item] = load_items(with_baseline(with_data(located.spec, data), recorded), located.folder)
    assert (item.turns, item.group, item.baseline) == (("Write a poem.",), "Creative Writing", ("Roses.",))
    assert (len(item.history), item.checklist) == (2, ("Is it a poem?",))
    [scored] = load_items(with_data(spec_of("wildbench_score"), data), None)
    assert scored.checklist == item.checklist


def test_arena_hard_takes_the_baseline_of_each_kind(tmp_path: Path) -> None:
    def recorded(model: str) -> str:
        said = [{"role": "user", "content": "?"}, {"role": "assistant", "content": {"answer": f"by {model}"}}]
        return "".join(
            f"{json.dumps({'uid': uid, 'model': model, 'messages': said})}\n" for uid in ("h", "c")
        )

    data, outputs = tmp_path / "q.jsonl", tmp_path / "o.jsonl"
    kinds = {"h": "hard_prompt", "c": "creative_writing"}
    data.write_text(
        "".join(f"{json.dumps({'uid': u, 'category': k, 'prompt': '?'})}\n" for u, k in kinds.items())
    )
    outputs.write_text(recorded("o3-mini-2025-01-31") + recorded("gemini-2.0-flash-001"))
    given = with_baseline(with_data(spec_of("arena_hard"), data), outputs)
    found = [item.baseline for item in load_items(given, None)]
    assert found == [("by o3-mini-2025-01-31",), ("by gemini-2.0-flash-001",)]


def test_mmlu_redux_leaves_out_known_errors_and_knows_the_subject(tmp_path: Path) -> None:
    folder = tmp_path / "anatomy"
    folder.mkdir()
    rows = [
        {"question": f"Q{number}", "choices": ["a", "b", "c", "d"], "answer": number, "error_type": kind}
        for number, kind in enumerate(("ok", "wrong_groundtruth", "ok", "bad_question_clarity"))
    ]
    data = folder / "test.jsonl"
    data.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    found = [
        (item.id, item.group, item.answer)
        for item in load_items(with_data(spec_of("mmlu_redux"), data), None)
    ]
    assert found == [("0", "anatomy", "A"), ("2", "anatomy", "C")]
    assert len(spec_of("mmlu_redux").data.files) == 57


@pytest.mark.parametrize(("name", "count"), OURS.items())
def test_our_own_data_need_no_download(name: str, count: int) -> None:
    located = load_eval(name)
    items = list(load_items(located.spec, located.folder))
    assert len(items) == count == about(located.spec, located.folder).items
    assert len({item.turns[0] for item in items}) == count
    assert len({item.group for item in items}) > 5
    assert located.spec.licence == "Apache-2.0"
    assert located.folder is not None
    assert shipped("evals").resolve() == located.folder.resolve()


def test_our_own_questions_have_right_answers_in_every_place() -> None:
    located = load_eval("sample_choice")
    letters = Counter(item.answer for item in load_items(located.spec, located.folder))
    assert set(letters) == {*"ABCD"}
    assert max(letters.values()) <= 8


def test_what_an_evaluation_needs_is_said_in_words(tmp_path: Path) -> None:
    offline = {"XDG_CACHE_HOME": str(tmp_path), "HF_HOME": str(tmp_path)}

    def said(name: str) -> str:
        located = load_eval(name)
        known = about(located.spec, located.folder, offline)
        return "\n".join([str(known.items), *known.needs])

    assert "downloaded when it is first used, or --data FILE" in said("gsm8k")
    assert "no judge: of each answer the number" in said("gsm8k")
    assert "the agent `judge-weighted`" in said("alpaca_eval")
    assert "recorded outputs of gpt4_1106_preview" in said("alpaca_eval")
    assert said("pairwise").startswith("None\ndata: prompts.jsonl (--data FILE names yours)")
    assert said("sample").startswith("40\njudge: ")
