"""Answers are right, wrong, unreadable or missing; what was read stands beside what was expected."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moa.evaluate.records import Answer, Item, Verdict
from moa.evaluate.tasks import check_answer
from moa.spec.evaluation import AnswerSpec
from tests.evaluate.tasks.wrapping import BOXED, SAID
from tests.support.shared import shared_data


def verdict(read: str, answer: str, said: str, options: tuple[str, ...] = (), **more: Any) -> Verdict:
    spec = AnswerSpec.model_validate({"read": read} | more)
    item = Item(id="q", turns=("?",), answer=answer, options=options)
    return check_answer(spec, item, Answer(item="q", entrant="e", state="ok", outputs=("first", said)))


@pytest.mark.parametrize(
    ("read", "answer", "said", "value"),
    [
        ("number", "72", "Answer: 72 clips", 1.0),
        ("number", "Half of 48 is 24.\n#### 1,072", "Answer: $1,072.00", 1.0),
        ("number", "72", "Answer: 73", 0.0),
        ("boxed", "\\frac{1}{2}", "\\boxed{0.5}", 1.0),
        ("boxed", "\\frac{1}{2}", "\\boxed{2}", 0.0),
        ("letter", "B", "Answer: (B)", 1.0),
        ("letter", "B", "Answer: A", 0.0),
        ("literal", "{'a': 1}", 'Answer: {"a": 1}', 1.0),
        ("literal", "[1]", "Answer: (1,)", 0.0),
        ("text", "Paris", "The answer is **paris**.", 1.0),
        ("text", "Paris", "Rome", 0.0),
    ],
)
def test_right_and_wrong(read: str, answer: str, said: str, value: float) -> None:
    found = verdict(read, answer, said, ("x", "y"))
    assert (found.state, found.value, found.kind, found.judge, found.turn) == (
        "ok",
        value,
        "correct",
        "exact",
        1,
    )
    assert found.details["expected"] == answer
    assert found.method == read


@pytest.mark.parametrize("read", ["number", "boxed", "letter", "literal", "text"])
def test_what_cannot_be_read_is_a_state_of_its_own(read: str) -> None:
    found = verdict(read, "1", "\n", ("x", "y"))
    assert (found.state, found.value, found.details["extracted"]) == ("unparsed", None, None)


def test_an_answer_that_failed_stays_failed() -> None:
    failed = Answer(item="q", entrant="e", state="failed", error="no answer")
    found = check_answer(AnswerSpec(read="number"), Item(id="q", turns=("?",), answer="1"), failed)
    assert (found.state, found.value, found.text) == ("failed", None, "no answer")


def test_what_was_extracted_is_shown() -> None:
    def extracted(*arguments: Any) -> Any:
        return verdict(*arguments).details["extracted"]

    assert extracted("number", "1", "Answer: 1,234.50") == "1234.5"
    assert extracted("number", "1", "Answer: 15%") == "15%"
    assert extracted("number", "1", f"Answer: {10**30}") == str(10**30)
    assert extracted("boxed", "1", "\\boxed{x + 1}") == "x + 1"
    assert extracted("literal", "1", "Answer: `[1]`") == "[1]"


def test_a_pattern_names_what_is_read() -> None:
    assert verdict("number", "7", "score=7 of 9", pattern=r"score=(\d+)").value == 1.0
    assert verdict("number", "7", "score=3, score=7 of 9", pattern=r"score=(\d+)").value == 1.0
    assert verdict("number", "7", "7", pattern=r"score=(\d+)").state == "unparsed"
    assert verdict("text", "a b", "say: A  b!", pattern=r"say: (.*)").value == 1.0


@given(st.sampled_from(["number", "boxed", "letter", "literal", "text"]), st.text(), st.text())
def test_garbage_never_raises(read: str, answer: str, said: str) -> None:
    assert verdict(read, answer, said, ("x", "y")).state in {"ok", "unparsed"}


def rows(name: str) -> Iterator[dict[str, Any]]:
    with shared_data("tasks", f"{name}.jsonl").open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def test_every_solution_of_gsm8k_is_right() -> None:
    found = [verdict("number", row["answer"], row["solution"]).value for row in rows("gsm8k")]
    assert found == [1.0] * 200


def test_every_solution_of_math_is_right() -> None:
    found = [verdict("boxed", row["answer"], row["solution"]).value for row in rows("math500")]
    assert found == [1.0] * 200


def test_every_output_of_cruxeval_is_right_in_every_wrapping() -> None:
    for row in rows("cruxeval"):
        for said in SAID[:6]:
            assert verdict("literal", row["output"], said.format(x=row["output"])).value == 1.0


def test_every_answer_of_math_is_right_in_every_box_and_no_other_is() -> None:
    answers = [row["answer"] for row in rows("math500")]
    for answer, other in zip(answers, [*answers[1:], answers[0]], strict=True):
        assert all(verdict("boxed", answer, said.format(x=answer)).value == 1.0 for said in BOXED)
        if answer != other:
            assert verdict("boxed", answer, f"\\boxed{{{other}}}").value == 0.0


def test_every_choice_of_mmlu_is_read_by_letter_and_by_text() -> None:
    for row in rows("mmlu_redux"):
        options, letter = tuple(row["choices"]), "ABCD"[row["answer"]]
        restated = "\n".join(f"{name}. {text}" for name, text in zip("ABCD", options, strict=True))
        for said in (letter, f"Answer: ({letter})", f"Answer: {letter}. {options[row['answer']]}"):
            assert verdict("letter", letter, f"{restated}\n\n{said}", options).value == 1.0, said
        if "\n" not in options[row["answer"]]:
            assert verdict("letter", letter, options[row["answer"]], options).value == 1.0, row
