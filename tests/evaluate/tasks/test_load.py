"""Rows become items: streamed, sampled in nested subsets, and refused with the row named."""

from __future__ import annotations

import csv
import json
import tracemalloc
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.ipc
import pyarrow.parquet
import pytest

from moa.errors import UsageError
from moa.evaluate.records import Item
from moa.evaluate.tasks import count_items, load_items, with_baseline, with_data, without_baseline
from moa.spec.evaluation import EvalSpec

JUDGE: dict[str, Any] = {"kind": "pairwise"}
CHOICE: dict[str, Any] = {"read": "letter"}


def write(path: Path, rows: Iterable[Any]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def judged(path: Path | str, **data: Any) -> EvalSpec:
    return EvalSpec.model_validate({"name": "e", "data": {"path": str(path)} | data, "judge": JUDGE})


def checked(path: Path, prompt: str = "{{ question }}", **answer: Any) -> EvalSpec:
    return EvalSpec.model_validate({"data": {"path": str(path)}, "prompt": prompt, "answer": answer})


def items(spec: EvalSpec, near: Path | None = None, **options: Any) -> list[Item]:
    return list(load_items(spec, near, **options))


def refusal(spec: EvalSpec) -> str:
    with pytest.raises(UsageError) as refused:
        items(spec)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_rows_become_items_with_the_number_of_the_row_as_id(tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", [{"prompt": "Why?", "extra": [1, None]}, {"instruction": "How?"}])
    first, second = items(judged(path))
    assert (first.id, first.turns, first.fields) == ("0", ("Why?",), {"extra": [1, None]})
    assert (second.id, second.instruction, second.history, second.answer) == ("1", "How?", (), None)


def test_fields_are_found_by_the_first_name_that_a_row_has(tmp_path: Path) -> None:
    path = write(
        tmp_path / "p.jsonl",
        [
            {"uid": 7, "q": {"text": "Why?"}, "kind": "a"},
            {"key": "x", "turns": [{"content": "How?"}], "kind": "b"},
        ],
    )
    fields = {"id": ["uid", "key"], "prompt": ["q.text", "turns.0.content"], "group": "kind", "turns": "none"}
    found = items(judged(path, fields=fields))
    assert [(item.id, item.instruction, item.group) for item in found] == [
        ("7", "Why?", "a"),
        ("x", "How?", "b"),
    ]
    assert found[0].fields == {}


def test_the_folder_can_name_the_group(tmp_path: Path) -> None:
    folder = tmp_path / "anatomy"
    folder.mkdir()
    path = write(folder / "p.jsonl", [{"prompt": "Why?"}])
    assert items(judged(path, fields={"group": ["subject", "@folder"]}))[0].group == "anatomy"


@pytest.mark.parametrize("name", ["p.jsonl", "p.json", "p.csv", "p.parquet", "p.arrow"])
def test_every_format_says_the_same(tmp_path: Path, name: str) -> None:
    rows = [
        {"id": f"r{number}", "question": f"Is it {number}?", "options": ["yes", "no"], "answer": "B"}
        for number in range(700)
    ]
    path = tmp_path / name
    table = pyarrow.table({key: [row[key] for row in rows] for key in rows[0]})
    if name == "p.csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows({**row, "options": json.dumps(row["options"])} for row in rows)
    elif name == "p.parquet":
        pyarrow.parquet.write_table(table, path)
    elif name == "p.arrow":
        with path.open("wb") as out, pyarrow.ipc.new_stream(out, table.schema) as stream:
            stream.write_table(table)
    elif name == "p.json":
        path.write_text(json.dumps(rows))
    else:
        write(path, rows)
    found = items(checked(path, "{{ question }}\n{{ lettered }}", **CHOICE))
    assert len(found) == 700
    assert found[-1] == Item(
        id="r699",
        turns=("Is it 699?\nA. yes\nB. no",),
        answer="B",
        target="A",
        options=("yes", "no"),
        fields={"question": "Is it 699?"},
    )


def test_conversations_keep_their_history(tmp_path: Path) -> None:
    talk = [
        {"role": "user", "content": "Hi", "language": "English", "redacted": False},
        {"role": "assistant", "content": "Hello", "timestamp": None},
        {"role": "user", "content": "Why?"},
    ]
    spec = judged(write(tmp_path / "p.jsonl", [{"conversation": talk}]), fields={"messages": "conversation"})
    [item] = items(spec)
    assert item.turns == ("Why?",)
    assert item.history == ({"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"})
    [with_system] = items(spec.model_copy(update={"system": "Be brief, {{ conversation | length }}."}))
    assert with_system.history[0] == {"role": "system", "content": "Be brief, 3."}
    assert with_system.history[1:] == item.history


def test_turns_and_references_go_together(tmp_path: Path) -> None:
    write(tmp_path / "q_ref.jsonl", [{"n": 1, "choices": [{"turns": ["a", "b"]}]}])
    path = write(
        tmp_path / "q.jsonl", [{"n": 1, "turns": ["x", "y"]}, {"n": 2, "turns": ["z"], "reference": "c"}]
    )
    spec = judged(
        path,
        fields={"references": ["choices.0.turns", "reference"]},
        join={"beside": "*_ref.jsonl", "by": "n"},
    )
    first, second = items(spec)
    assert (first.turns, first.references) == (("x", "y"), ("a", "b"))
    assert (second.turns, second.references) == (("z",), ("c",))


def test_a_limit_is_part_of_every_larger_one_and_in_the_order_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", [{"id": f"r{number}", "prompt": "Why?"} for number in range(500)])
    spec = judged(path)
    everything = [item.id for item in items(spec)]
    before: set[str] = set()
    for limit in (1, 10, 20, 300, 500, 900):
        ids = [item.id for item in items(spec, limit=limit)]
        assert len(ids) == min(limit, 500) == count_items(spec, None, limit=limit)
        assert before <= set(ids)
        assert ids == sorted(ids, key=everything.index)
        before = set(ids)
    chosen = {seed: [item.id for item in items(spec, limit=20, seed=seed)] for seed in (0, 1)}
    assert chosen[0] != chosen[1]
    assert any(everything.index(name) > 250 for name in chosen[0])


def test_where_keeps_rows_and_their_numbers(tmp_path: Path) -> None:
    rows = [
        {"prompt": "a", "kind": "x"},
        {"prompt": "b", "kind": "y"},
        {"prompt": "c"},
        {"prompt": "d", "kind": "z"},
    ]
    path = write(tmp_path / "p.jsonl", rows)

    def kept(wanted: Any) -> list[str]:
        return [item.id for item in items(judged(path, where={"kind": wanted}))]

    assert kept("y") == ["1"]
    assert kept(["x", "z"]) == ["0", "3"]
    assert kept(["x", None]) == ["0", "2"]
    assert refusal(judged(path, where={"kind": "w"})).endswith("none of its 4 rows is as `where` asks")
    assert refusal(judged(path, where={"knd": "x"})).endswith("no row has `knd`; they have kind, prompt")


def test_options_can_stand_in_an_order_of_their_own(tmp_path: Path) -> None:
    plain = [{"question": "?", "options": ["p", "q", "r", "s"], "answer": "B"} for _ in range(40)]
    path = write(tmp_path / "p.jsonl", plain)
    found = items(checked(path, **CHOICE, shuffle=True))
    assert {item.answer for item in found} == {"A", "B", "C", "D"}
    assert all(item.options["ABCD".index(str(item.answer))] == "q" for item in found)
    assert found == items(checked(path, **CHOICE, shuffle=True))
    assert found != items(checked(path, **CHOICE, shuffle=True), seed=1)
    about = write(tmp_path / "a.jsonl", [{**row, "options": ["p", "q", "A and B", "r"]} for row in plain])
    assert {item.options for item in items(checked(about, **CHOICE, shuffle=True))} == {
        ("p", "q", "A and B", "r")
    }


@pytest.mark.parametrize(
    ("answer", "how", "letter"),
    [
        (0, None, "A"),
        (2, None, "C"),
        ("B", None, "B"),
        ("nine", None, "B"),
        (7, None, "D"),
        (1, "number", "A"),
        ("1", "number", "A"),
        ("1", "index", "B"),
        ("7", "text", "D"),
        (1.0, None, "B"),
    ],
)
def test_the_right_option_can_be_given_in_four_ways(
    tmp_path: Path, answer: Any, how: str | None, letter: str
) -> None:
    path = write(
        tmp_path / "p.jsonl", [{"question": "?", "options": ["five", "nine", "none", "7"], "answer": answer}]
    )
    assert items(checked(path, **CHOICE, given=how))[0].answer == letter


BAD: list[tuple[list[Any], str]] = [
    (
        [{"prompt": "a"}, {"promt": "b"}],
        ":2: has no instruction: expected one of `prompt`, `instruction`, `turns`; it has promt",
    ),
    ([{"prompt": "a"}, {"prompt": " "}], ":2: its instruction is empty"),
    ([{"prompt": 3}], ":1: its instruction must be text, not int"),
    ([{"prompt": "a"}, ["b"]], ":2: expected an object, not list"),
    (
        [{"id": "x", "prompt": "a"}, {"id": "y", "prompt": "b"}, {"id": "x", "prompt": "c"}],
        ":3: the id 'x' is already that of {path}:1",
    ),
    ([{"id": "x", "prompt": "a"}, {"prompt": "b"}], ":2: has no id, and rows before it do"),
    ([{"prompt": "a"}, {"id": "x", "prompt": "b"}], ":2: has an id, and rows before it have none"),
    ([{"id": ["x"], "prompt": "a"}], ":1: its `id` is neither text nor a number"),
    ([{"turns": []}], ":1: its turns must be a list of texts"),
    ([{"turns": ["a", ""]}], ":1: its turn 2 is empty or no text"),
    ([{"turns": {"a": 1}}], ":1: its turns must be a list of texts"),
    ([{"messages": "hello"}], ":1: its messages must be a list of messages"),
    (
        [{"messages": [{"role": "assistant", "content": "a"}]}],
        ":1: the conversation must end with a user's turn, not with 'assistant'",
    ),
    ([{"prompt": "a", "references": 3}], ":1: its `references` is neither text nor a list of texts"),
    ([{"prompt": "a", "checklist": [1]}], ":1: its `checklist` is neither text nor a list of texts"),
    ([], ": holds no rows"),
]


@pytest.mark.parametrize(("rows", "message"), BAD, ids=[message for _, message in BAD])
def test_bad_rows_are_refused_by_name(tmp_path: Path, rows: list[Any], message: str) -> None:
    path = write(tmp_path / "p.jsonl", rows)
    assert refusal(judged(path)) == f"{path}{message.format(path=path)}"


QUESTION = {"question": "?", "options": ["p", "q"], "answer": "A"}
BAD_CHOICES: list[tuple[Mapping[str, Any], str]] = [
    ({"answer": "C"}, "its answer 'C' is not among its 2 options"),
    ({"answer": 2}, "its answer 2 is not among its 2 options"),
    ({"answer": -1}, "its answer -1 is not among its 2 options"),
    ({"answer": "1"}, "its answer '1' may mean several options: say `given` under `answer`"),
    ({"answer": None}, "has no answer: expected the right option"),
    ({"answer": True}, "has no answer: expected the right option"),
    ({"options": ["p"]}, "needs a list of 2 to 26 `options`"),
    ({"options": "p or q"}, "needs a list of 2 to 26 `options`"),
    ({"options": ["p", " "]}, "its option 2 is empty or no text"),
    ({"question": None}, "the template cannot be filled in"),
]


@pytest.mark.parametrize(("wrong", "message"), BAD_CHOICES)
def test_bad_choices_are_refused_by_name(tmp_path: Path, wrong: Mapping[str, Any], message: str) -> None:
    row = {key: value for key, value in {**QUESTION, **wrong}.items() if value is not None}
    path = write(tmp_path / "p.jsonl", [QUESTION, row])
    assert refusal(checked(path, **CHOICE)).startswith(f"{path}:2: {message}")


def test_an_answer_that_is_not_there_is_missed(tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", [{"question": "?", "target": ""}])
    spec = checked(path, read="number")
    spec = spec.model_copy(
        update={"data": spec.data.model_copy(update={"fields": {"answer": ("answer", "target")}})}
    )
    assert refusal(spec) == f"{path}:1: has no answer: expected one in `answer` or `target`"


def test_a_template_that_asks_for_a_field_that_no_row_has_says_which_there_are(tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", [{"question": "?", "answer": "1"}])
    said = refusal(checked(path, "{{ queston }}", read="number"))
    assert said.startswith(f"{path}:1: ")
    assert "'queston' is undefined" in said
    assert said.endswith("the row has answer, question")


def test_paths_are_meant_from_the_evaluation_then_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evals, here = tmp_path / "evals", tmp_path / "here"
    for folder, prompt in ((evals, "beside"), (here, "here")):
        folder.mkdir()
        write(folder / "p.jsonl", [{"prompt": prompt}])
    monkeypatch.chdir(here)
    spec = judged("p.jsonl")
    assert items(spec, evals)[0].instruction == items(spec, evals / "e.yaml")[0].instruction == "beside"
    assert items(spec)[0].instruction == "here"
    assert items(with_data(spec, Path("p.jsonl")), evals)[0].instruction == "here"
    assert refusal(judged("none.jsonl")) == "no file none.jsonl: get one and give it with --data FILE"


def test_the_users_file_is_checked_at_once(tmp_path: Path) -> None:
    for path, why in ((tmp_path / "none.jsonl", "no such file"), (tmp_path, "not a file")):
        with pytest.raises(UsageError, match=f"cannot read {path}: {why}"):
            with_data(judged("p.jsonl"), path)


def with_recorded(path: Path, baseline: Path, **more: Any) -> EvalSpec:
    recorded = {"name": "old", "path": str(baseline)} | more
    return EvalSpec.model_validate({"data": {"path": str(path)}, "judge": JUDGE, "baseline": recorded})


def test_the_baseline_is_matched_by_id_or_by_instruction_in_any_order(tmp_path: Path) -> None:
    path = write(
        tmp_path / "p.jsonl", [{"id": str(number), "prompt": f"Why {number}?"} for number in range(5)]
    )
    by_id = write(
        tmp_path / "i.jsonl", [{"id": number, "output": f"o{number}"} for number in (3, 1, 0, 4, 2)]
    )
    by_text = write(
        tmp_path / "t.jsonl",
        [{"instruction": f" Why {number}? ", "output": [f"o{number}"]} for number in range(5)],
    )
    for recorded in (by_id, by_text):
        assert [item.baseline for item in items(with_recorded(path, recorded))] == [
            (f"o{n}",) for n in range(5)
        ]
        assert items(with_recorded(path, recorded), limit=2)[0].baseline


def test_equal_instructions_take_their_own_recordings(tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", [{"prompt": "Why?"}, {"prompt": "How?"}, {"prompt": "Why?"}])
    rows = [
        {"prompt": "How?", "output": "a"},
        {"prompt": "Why?", "output": "b"},
        {"prompt": "Why?", "output": "c"},
    ]
    recorded = write(tmp_path / "o.jsonl", rows)
    assert [item.baseline for item in items(with_recorded(path, recorded))] == [("b",), ("a",), ("c",)]


def test_a_baseline_may_differ_by_group(tmp_path: Path) -> None:
    path = write(
        tmp_path / "p.jsonl",
        [{"id": 1, "prompt": "a", "group": "hard"}, {"id": 2, "prompt": "b", "group": "easy"}],
    )
    rows = [
        {"id": number, "model": model, "output": f"{model}{number}"}
        for model in ("big", "small")
        for number in (1, 2)
    ]
    spec = with_recorded(path, write(tmp_path / "o.jsonl", rows), models={"hard": "big", "easy": "small"})
    assert [item.baseline for item in items(spec)] == [("big1",), ("small2",)]
    unnamed = with_recorded(path, tmp_path / "o.jsonl", models={"hard": "big"})
    assert "is of the group 'easy', for which" in refusal(unnamed)


def test_a_baseline_without_the_output_is_refused_unless_the_row_brings_it(tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", [{"id": "x", "prompt": "a"}])
    recorded = write(tmp_path / "o.jsonl", [{"id": "y", "output": "o"}])
    spec = with_recorded(path, recorded)
    assert "the baseline old has no output for the item 'x'" in refusal(spec)
    assert items(without_baseline(spec))[0].baseline == ()
    write(path, [{"id": "x", "prompt": "a", "baseline": "own"}])
    assert items(spec)[0].baseline == ("own",)
    other = write(tmp_path / "other.jsonl", [{"id": "x", "output": "theirs"}])
    write(path, [{"id": "x", "prompt": "a"}])
    assert items(with_baseline(spec, other))[0].baseline == ("theirs",)
    with pytest.raises(UsageError, match="has no recorded baseline"):
        with_baseline(judged(path), other)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"output": "o"}, "needs an `id` or the `prompt` that it answers"),
        ({"id": "x"}, "its `output` is neither text nor a list of texts"),
        ({"id": "x", "output": [1]}, "its `output` is neither text nor a list of texts"),
    ],
)
def test_bad_rows_of_the_baseline_are_refused_by_name(tmp_path: Path, row: Any, message: str) -> None:
    path = write(tmp_path / "p.jsonl", [{"id": "x", "prompt": "a"}])
    recorded = write(tmp_path / "o.jsonl", [row])
    assert refusal(with_recorded(path, recorded)) == f"{recorded}:1: {message}"


def test_many_rows_take_little_memory(tmp_path: Path) -> None:
    path = write(
        tmp_path / "p.jsonl", ({"prompt": f"Why is {number} so? {'x' * 400}"} for number in range(3_000))
    )
    recorded = write(tmp_path / "o.jsonl", ({"id": number, "output": "y" * 400} for number in range(3_000)))
    spec = with_recorded(path, recorded)
    tracemalloc.start()
    try:
        count = sum(1 for _ in load_items(spec, None, limit=2_900))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 2_900
    assert peak < 1_200_000
