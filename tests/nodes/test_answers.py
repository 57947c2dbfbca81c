"""Short answers, in the spellings that models use."""

from __future__ import annotations

import time
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moa.nodes.answers import AnswerMode, canonical, extract_answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"so \boxed{\frac{1}{2}}.", "0.5"),
        (r"\boxed{\frac{1}{3}}", "1/3"),
        (r"\boxed{x^{2}+1}", "x^{2}+1"),
        (r"\boxed{42\text{ cm}}", "42"),
        (r"\boxed{1{,}000}", "1000"),
        (r"first \boxed{1}, then \boxed{2}", "2"),
        ("6 * 7 = 42\n#### 42", "42"),
        ("The answer is 3.14.", "3.14"),
        ("The answer is 12 of 30", "12"),
        ("the answer is Paris.", "paris"),
        ("The answer is the Eiffel Tower", "eiffel tower"),
        ("So the answer is (B) because C is wrong", "B"),
        ("Answer: B", "B"),
        ("The answer is A", "A"),
        ("The answer is a dog", "dog"),
        ("**Answer:** 7", "7"),
        ("**The answer is: 42**", "42"),
        ("The answer is -5", "-5"),
        ("the final answer is:\n\n12", "12"),
        ("The answer is $\\frac{3}{4}$.", "0.75"),
        ("I said the answer is 3, but no: the answer is 4", "4"),
        ("(A) or (B)?\nI choose (B)", "B"),
        ("B) Paris", "B"),
        ("b", "B"),
        ("x = 5 and y = -3.", "-3"),
        ("10-3 = 7", "7"),
        ("I think it's 3, 4 or 5", "5"),
        ("Paris", "paris"),
        ("Yes.", "yes"),
    ],
)
def test_auto_finds_the_answer(text: str, answer: str) -> None:
    assert extract_answer(text) == answer


@pytest.mark.parametrize(
    "text", ["", "   ", "A long reply that never comes to any kind of point, as happens now and then, alas."]
)
def test_auto_finds_none_in_prose(text: str) -> None:
    assert extract_answer(text) is None


@pytest.mark.parametrize(
    "spellings",
    [
        ["1,000", "1000", "1000.0", "$1000", "1000.00 dollars", "1e3", "１０００"],
        ["1/2", "2/4", "0.5", ".5", r"\frac{1}{2}", "½"],
        ["(b)", "B", "B.", "**B**"],
        ["The Eiffel Tower", "eiffel  tower.", "“Eiffel Tower”"],
        ["50%", "50"],
    ],
)
def test_equal_answers_have_one_spelling(spellings: list[str]) -> None:
    assert len({canonical(spelling) for spelling in spellings}) == 1


def test_different_answers_keep_apart() -> None:
    answers = ["1", "10", "100", "-1", "0.1", "1/3", "0.333", "A", "B", "one", "1/0"]
    assert len({canonical(answer) for answer in answers}) == len(answers)


@pytest.mark.parametrize(
    ("mode", "text", "answer"),
    [
        ("exact", "  Hello  World ", "hello world"),
        ("exact", "The answer is 4", "answer is 4"),
        ("number", "I say 3. No, 4", "4"),
        ("number", r"\boxed{2} of 3", "2"),
        ("number", "none", None),
        ("choice", "Options: (0) (1). Answer: (1)", "1"),
        ("choice", "(A) is wrong; I take (C)", "C"),
        ("choice", "The answer is Paris", None),
        ("choice", "12 apples", None),
        ("boxed", r"\boxed{7} or 8", "7"),
        ("boxed", "7", None),
        ("boxed", r"\boxed{7", None),
    ],
)
def test_each_mode_reads_its_own_kind(mode: AnswerMode, text: str, answer: str | None) -> None:
    assert extract_answer(text, mode) == answer


def test_a_pattern_reads_its_last_match() -> None:
    assert extract_answer("X=4, no, X=5.0", "regex", r"X=([\d.]+)") == "5"
    assert extract_answer("Y=4", "regex", r"X=(\d)") is None
    assert extract_answer("X", "regex", r"X(\d)?") is None


@given(number=st.fractions())
def test_numbers_are_spelled_by_value(number: object) -> None:
    spelled = canonical(str(number))
    assert spelled is not None
    assert canonical(spelled) == spelled


@pytest.mark.parametrize("mode", [mode for mode in get_args(AnswerMode) if mode != "regex"])
@given(text=st.text() | st.text(alphabet=r"0123456789,./-$\boxed{}()AB answeris:#" + "\n"))
def test_no_text_raises_and_no_answer_is_empty(mode: AnswerMode, text: str) -> None:
    assert extract_answer(text, mode) != ""


@pytest.mark.parametrize("unit", ["answer is ", r"\boxed{", "1,", "9", "(", " ", "\n", "1/", "#### ", "*"])
def test_hostile_replies_take_no_time(unit: str) -> None:
    text = unit * (50_000 // len(unit))
    began = time.process_time()
    for mode in get_args(AnswerMode):
        extract_answer(text, mode)
    assert time.process_time() - began < 5
