"""The chosen option is read by its number: the verdict, and never just the first number in sight."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moa.evaluate.tasks.reading.index import read_index

OPTIONS = ("red", "green", "blue", "black")
MANY = tuple(f"colour {number}" for number in range(14))
READ = {
    "(2)": "2",
    "2": "2",
    "(1) yes": "1",
    "I think (3)": "3",
    "I choose (3).": "3",
    "**Answer: (1)**": "1",
    "Final answer: **2**": "2",
    "Answer: 1) green": "1",
    "The correct option is: (3) black": "3",
    "The correct answer is (0) red, not (1).": "0",
    "The answer is not (1) but (2).": "2",
    "The argument for (0) is weak. (2) is correct.": "2",
    "A boy has 3 dogs. Answer: (1)": "1",
    "Answer: (7)": None,
    "Answer: 2.5": None,
    "(0) or (1)": None,
    "no idea": None,
    "": None,
}


@pytest.mark.parametrize(("reply", "expected"), READ.items())
def test_replies(reply: str, expected: str | None) -> None:
    assert read_index(reply, OPTIONS) == expected


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("As reference (0) argues, it is blue. Answer: (2)", "2"),
        ("Reference (0) is the most convincing.", None),
        ("References (0) and (1) agree.", None),
        ("Responses (0), (1) and (2) differ; I follow the last one and choose (3).", "3"),
        ("According to argument (1) the sky is red.", None),
    ],
)
def test_bug_7_the_number_of_a_reference_is_no_answer(reply: str, expected: str | None) -> None:
    """The published defences number references as options are numbered, and the first number wins."""
    assert read_index(reply, OPTIONS) == expected


@pytest.mark.parametrize(
    ("reply", "options", "expected"),
    [
        ("Options: (0) red (1) green (2) blue (3) black. Answer: (1)", OPTIONS, "1"),
        ("(0) red\n(1) green\n(2) blue\n(3) black\n\nAnswer: (2)", OPTIONS, "2"),
        ("Of (0) to (13), the answer is (12).", MANY, "12"),
        ("Answer: 12", MANY, "12"),
        ("(10)", MANY, "10"),
    ],
)
def test_bug_8_the_verdict_counts_and_numbers_may_have_two_digits(
    reply: str, options: tuple[str, ...], expected: str
) -> None:
    """The published pattern takes the first `(d)` anywhere, of one digit."""
    assert read_index(reply, options) == expected


@given(st.text(max_size=200))
def test_any_text_is_read_or_not(text: str) -> None:
    assert read_index(text, OPTIONS) in {None, "0", "1", "2", "3"}
