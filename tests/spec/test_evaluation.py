"""Mistakes in an evaluation's file are found where they stand, with what to write instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from moa.errors import SpecError, UsageError
from moa.spec.agent import AgentSpec
from moa.spec.catalogue import find_any, load_eval
from moa.spec.evaluation import EvalSpec
from moa.spec.graph import GraphSpec
from moa.spec.loader import kind_of, read_spec
from moa.spec.model import ModelsSpec

GOOD = """\
description: A few questions.
data:
  path: questions.jsonl
  fields: {prompt: [question, q], group: kind}
  where: {kind: [a, null]}
prompt: |
  {{ question }}
answer: {read: number}
numbers: [accuracy]
"""


def problems(text: str) -> list[str]:
    with pytest.raises(SpecError) as refused:
        read_spec(text, "e.yaml", EvalSpec)
    return [str(problem) for problem in refused.value.problems]


def test_a_whole_file_is_read() -> None:
    spec = read_spec(GOOD, "evals/mine.yaml", EvalSpec).spec
    assert spec.name == "mine"
    assert spec.data.fields == {"prompt": ("question", "q"), "group": "kind"}
    assert spec.data.where == {"kind": ["a", None]}
    assert spec.answer is not None
    assert spec.answer.read == "number"


WRONG = [
    ("description:", "descripton:", "e.yaml:1:1: unknown key `descripton`; did you mean `description`?"),
    ("path: q", "pth: q", "e.yaml:3:3: unknown key `pth`; did you mean `path`?"),
    (
        "path: questions.jsonl",
        "hub: gsm8k\n  file: x",
        "e.yaml:3:8: a dataset on the hub is called `owner/name`, such as `openai/gsm8k`",
    ),
    ("path: questions.jsonl", "hub: openai/gsm8k", "e.yaml:2:1: `hub` and `file` go together"),
    (
        "path: questions.jsonl",
        "path: q\n  hub: openai/gsm8k\n  file: x",
        "e.yaml:2:1: needs either `path` or `hub`",
    ),
    (
        "path: questions.jsonl",
        f"hub: a/b\n  file: [x, y]\n  sha256: {'0' * 64}",
        "e.yaml:2:1: `sha256` is that of one file, and these are several: pin `revision` instead",
    ),
    (
        "path: questions.jsonl",
        "path: q\n  sha256: abc",
        "e.yaml:4:11: a SHA-256 is 64 characters of 0-9 and a-f",
    ),
    ("[question, q]", "3", 'e.yaml:4:20: expected text or a list, not `3`: if it is text, write "3"'),
    ("{{ question }}", "{{ question", "e.yaml:7:3: template: unexpected end of template"),
    ("{read: number}", "{reed: number}", "e.yaml:8:10: unknown key `reed`; did you mean `read`?"),
    (
        "number}",
        "nmber}",
        "e.yaml:8:16: expected one of number, boxed, letter, index, literal, text; not `nmber`; did you mean `number`?",
    ),
    (
        "number}",
        "number, shuffle: true}",
        "e.yaml:8:9: `given` and `shuffle` are about options: they need `read: letter`",
    ),
    (
        "number}",
        'number, pattern: "("}',
        "e.yaml:8:33: not a regular expression: missing ), unterminated subpattern at position 0",
    ),
    ("number}", 'number, pattern: "a"}', "e.yaml:8:33: needs a group in parentheses: what is read"),
    (
        "answer: {read: number}",
        "description: x",
        "e.yaml:8:1: duplicate key `description`: it is already on line 1",
    ),
    ("answer: {read: number}\n", "", "e.yaml:1:1: needs either `answer` (exact match) or `judge`"),
    ("answer: {", "judge: {}\nanswer: {", "e.yaml:1:1: needs either `answer` (exact match) or `judge`"),
    (
        "[accuracy]",
        "[win-rate]",
        "e.yaml:9:11: `win-rate` cannot be had from `answer`; these can: accuracy, parse-rate",
    ),
    (
        "numbers:",
        "baseline: {name: x, path: y}\nnumbers:",
        "e.yaml:9:11: only a pairwise judge compares with a baseline",
    ),
    ("null]}\n", "null]}\n  join: {beside: x}\n", "e.yaml:6:9: `by` is missing"),
]


@pytest.mark.parametrize(("old", "new", "message"), WRONG, ids=[message for _, _, message in WRONG])
def test_mistakes_are_named_where_they_stand(old: str, new: str, message: str) -> None:
    assert old in GOOD
    found = problems(GOOD.replace(old, new, 1))
    assert any(problem.startswith(message) for problem in found), found


def test_every_mistake_is_shown_at_once() -> None:
    text = GOOD.replace("description", "descripton").replace("path", "pth").replace("accuracy", "acuracy")
    assert [problem.split(":")[1] for problem in problems(text)] == ["1", "3", "9"]


def test_a_file_is_known_by_its_keys() -> None:
    assert kind_of({"data": {}, "answer": {}}) is EvalSpec
    assert kind_of({"judge": {}}) is EvalSpec
    assert kind_of({"baseline": {}, "description": ""}) is EvalSpec
    assert kind_of({"nodes": {}, "answer": "a"}) is GraphSpec
    assert kind_of({"models": {}}) is ModelsSpec
    assert kind_of({"system": "Hi"}) is AgentSpec


def test_your_own_evaluation_wins_over_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evals").mkdir()
    (tmp_path / "evals" / "gsm8k.yaml").write_text(GOOD)
    (tmp_path / "elsewhere.yaml").write_text(GOOD)
    assert load_eval("gsm8k").spec.description == "A few questions."
    assert load_eval("elsewhere.yaml").spec.name == "elsewhere"
    assert find_any("gsm8k").kind == find_any("elsewhere.yaml").kind == "evals"
    with pytest.raises(UsageError, match=r"unknown eval 'gsm8'; did you mean `gsm8k`\?"):
        load_eval("gsm8")
