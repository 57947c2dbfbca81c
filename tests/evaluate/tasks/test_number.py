"""Numbers are read from what a reply comes to, however it is written."""

from __future__ import annotations

from fractions import Fraction
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moa.evaluate.tasks.reading.number import Number, parse_number, read_number
from tests.evaluate.tasks.wrapping import AFTER, BEFORE, BOXED, SAID

READ = {
    "#### 42": "42",
    "The cost is 3*4=12.\n#### 12": "12",
    "The answer is $1,234.50.": "1234.5",
    "Answer: 3 + 4 = 7 apples": "7",
    "Answer: 20 + 22 = 42": "42",
    "Answer: -5": "-5",
    "x = -5": "-5",
    "It is −5": "-5",
    "Answer: -$5": "-5",
    "Answer: $-5": "-5",
    "10-5": "5",
    "Answer: \\$70,000": "70000",
    "$\\boxed{70{,}000}$": "70000",
    "Answer: 70\\,000": "70000",
    "Answer: 70\u202f000 people": "70000",
    "it is 1.5e3": "1500",
    "it is 2 \\times 10^{3}": "2000",
    "it is 2 × 10^-3": "1/500",
    "Answer: 3/4": "3/4",
    "Answer: \\frac{3}{4}": "3/4",
    "Answer: 1 1/2 cups": "3/2",
    "Answer: .5": "1/2",
    "Answer: 42\nThe answer is obtained by multiplying 6 by 7.": "42",
    "Answer: Tom has 5 and Jane 7, which makes 12": "12",
    "Answer: about 42 (that is 6*7)": "42",
    "The final answer (in dollars) is: 12": "12",
    "We get 7 and then 8": "8",
    "\\boxed{7}, or rather \\boxed{8}": "8",
    "\\boxed{7}. No: the answer is 8.": "8",
    "The answer is 7. I check: \\boxed{8}": "8",
    "In total, (5,6)": "6",
    "Answer: 10 USD": "10",
    "Answer: USD 10": "10",
    "Answer: 5 hours and 30 minutes": "5",
    "<think>the answer is 1</think> Answer: 2": "2",
}


@pytest.mark.parametrize(("text", "value"), READ.items())
def test_a_number_is_read_where_the_reply_comes_to_the_point(text: str, value: str) -> None:
    found = read_number(text)
    assert found is not None
    assert found.value == Fraction(value)


@pytest.mark.parametrize("text", ["", "none", "twelve", "Answer: x", "1/0", "A4 and x2", "<think>42"])
def test_a_reply_without_a_number_is_not_one(text: str) -> None:
    assert read_number(text) is None


def test_a_power_that_no_computer_holds_is_not_computed() -> None:
    begun = perf_counter()
    assert read_number("Answer: 9e999") is None
    read_number("Answer: 9e999999999")
    assert perf_counter() - begun < 1


def test_percent_is_what_the_right_answer_says() -> None:
    said = read_number("Answer: 15%")
    assert said is not None
    assert said.equals(Number(Fraction(15)))
    assert said.equals(Number(Fraction(15, 100)))
    assert said.equals(Number(Fraction(15), percent=True))
    assert not said.equals(Number(Fraction(15, 100), percent=True))
    assert not said.equals(Number(Fraction(16)))


def test_a_text_that_says_more_than_a_number_is_none() -> None:
    assert parse_number("42 apples") == Number(Fraction(42))
    assert parse_number("42 = 6 * 7") is None
    assert parse_number("x") is None


def _spellings(value: int) -> list[str]:
    sign, plain = "-" if value < 0 else "", str(abs(value))
    grouped = f"{abs(value):,}"
    return [
        f"{sign}{plain}",
        f"{sign}{grouped}",
        f"{sign}${grouped}",
        f"{sign}{grouped}.00",
        f"{sign}{plain} apples",
        f"{sign}\\${grouped}",
        f"{sign}{grouped.replace(',', '{,}')}",
        f"{sign}{plain}%",
        f"${sign}{plain}$",
        f"**{sign}{plain}**",
    ]


@given(
    st.integers(-(10**12), 10**12),
    st.integers(0, 9),
    st.sampled_from((*SAID, *BOXED)),
    st.sampled_from((*BEFORE, "First 3 + 4 = 7, then 7 * 2 = 14, so 14 of them.\n")),
    st.sampled_from(AFTER),
)
def test_wrapping_never_changes_the_number(
    value: int, spelling: int, said: str, before: str, after: str
) -> None:
    text = before + said.format(x=_spellings(value)[spelling]) + after
    found = read_number(text)
    assert found is not None, text
    assert found.equals(Number(Fraction(value))), text
    assert not found.equals(Number(Fraction(value) + 1)), text


@given(st.text() | st.text("0123456789.,-+/*^$%#{}\\ eE×\n", max_size=200))
def test_garbage_never_raises(text: str) -> None:
    found = read_number(text)
    assert found is None or isinstance(found.value, Fraction)
