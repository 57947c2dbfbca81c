"""The chosen option is read, and never just the first letter in sight."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moa.evaluate.tasks.reading.letter import read_letter
from tests.evaluate.tasks.wrapping import AFTER, BEFORE, BOXED, CHOSEN, SAID

OPTIONS = ("True, True", "False, False", "A dog", "42 m")
RESTATED = (
    "A. True, True\nB. False, False\nC. A dog\nD. 42 m\n\n",
    "(A) True, True (B) False, False (C) A dog (D) 42 m\n\n",
    "- **A)** True, True\n- **B)** False, False\n- **C)** A dog\n- **D)** 42 m\n\n",
    "The options are A, B, C and D. A is tempting. ",
)
READ = {
    "C": "C",
    "c": "C",
    "Answer: c": "C",
    "C. A dog": "C",
    "A dog": "C",
    "The answer is a dog": "C",
    "Answer: A dog": "C",
    "Answer: A true statement": None,
    "Answer: 42 m": "D",
    "The answer is not B but C": "C",
    "The answer is not (B), it's (C).": "C",
    "It's not (B), it's rather (C).": "C",
    "Answer: not B": None,
    "not B": None,
    "I would not choose A. I choose B": "B",
    "The answer is A because C is wrong": "A",
    "The answer is A, since C is wrong": "A",
    "A is wrong, B is wrong, so I choose D.": "D",
    "A is correct only if it rains. B is correct.": "B",
    "Answer: B or C": None,
    "Answer: A, C": None,
    "Answer: both A and C": None,
    "Answer: C, D is wrong.": "C",
    "Answer: I think it is C": "C",
    "Answer: E": None,
    "Answer: none of these": None,
    "None": None,
    "": None,
    "Answer: C\n\nThis answer is based on the text.": "C",
    "If the answer is A, the dog barks. It does not. The answer is B": "B",
    "First I thought \\boxed{A}, but \\boxed{B}": "B",
    "<think>Answer: A</think>Answer: B": "B",
    "<think>Answer: A": None,
    "(B) seems possible, unlike (A).": "B",
    "(A) and (B) seem possible.": None,
    "A dog barks in the street and A cat sleeps.": None,
    "Both\n\nB": "B",
    "Verdict: [[D]]": "D",
    "The answer choices: A. True, True B. False, False. Answer: D": "D",
}


@pytest.mark.parametrize(("text", "letter"), READ.items())
def test_the_choice_is_read(text: str, letter: str | None) -> None:
    assert read_letter(text, OPTIONS) == letter


@given(
    st.sampled_from("ABCD"),
    st.sampled_from((*CHOSEN, *SAID, *BOXED)),
    st.sampled_from((*BEFORE, *RESTATED)),
    st.sampled_from((*AFTER, "\n\nI hope this helps.")),
)
def test_wrapping_never_changes_the_choice(letter: str, said: str, before: str, after: str) -> None:
    text = said.format(x=letter, text=OPTIONS["ABCD".index(letter)])
    if said == "Answer: {text}" or len(text) < 6:
        after = after.rstrip("abcdefghijklmnopqrstuvwxyzI .")
    if before.startswith("The options") and len(text) < 6:
        before = f"{before}\n"
    assert read_letter(before + text + after, OPTIONS) == letter, before + text + after


@given(st.sampled_from("ABCD"), st.sampled_from("ABCD"), st.sampled_from(SAID[:6]))
def test_what_is_ruled_out_is_not_chosen(right: str, wrong: str, said: str) -> None:
    text = f"It is not {wrong}, and not ({wrong}).\n" + said.format(x=right)
    assert read_letter(text, OPTIONS) == right


@given(st.text() | st.text("ABCD().:[]{}*\\$ \nnotor", max_size=200))
def test_garbage_never_raises(text: str) -> None:
    assert read_letter(text, OPTIONS) in {None, *"ABCD"}


def test_letters_end_where_the_options_do() -> None:
    assert read_letter("Answer: D", OPTIONS[:3]) is None
    assert read_letter("Answer: J", [str(number) for number in range(10)]) == "J"


def test_options_that_are_letters_themselves_are_chosen_by_their_place() -> None:
    assert read_letter("Answer: A", ["B", "A"]) == "A"
