"""Formulas are the same where they say the same, and are read from their box."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moa.evaluate.tasks.reading.formula import read_formula, same_formula
from tests.evaluate.tasks.wrapping import AFTER, BEFORE, BOXED

SAME = [
    ("\\frac{1}{2}", "0.5"),
    ("\\dfrac12", "\\frac{1}{2}"),
    ("1/2", "\\tfrac{1}{2}"),
    (".5", "0.50"),
    ("-\\frac{35}{9}", "\\frac{-35}{9}"),
    ("-\\frac{35}{9}", "-35/9"),
    ("\\frac{270}7\\text{ degrees}", "\\frac{270}{7}"),
    ("137 \\frac{1}{2}", "137.5"),
    ("1 \\pm \\sqrt{19}", "1+\\sqrt{19}, 1-\\sqrt{19}"),
    ("\\{1\\pm\\sqrt{5},-2\\}", "\\{-2, 1-\\sqrt 5, 1+\\sqrt5\\}"),
    ("x=5", "5"),
    ("y = 2x + 3", "y=2x+3"),
    ("15\\mbox{ cm}^2", "15"),
    ("5.4 \\text{ cents}", "5.4"),
    ("5 cm", "5"),
    ("\\$36", "36"),
    ("50\\%", "50"),
    ("90^\\circ", "90"),
    ("90^{\\circ}", "90°"),
    ("(-\\infty, 2) \\cup (3, \\infty)", "\\left(3,\\infty\\right)\\cup\\left(-\\infty,2\\right)"),
    ("-2,1", "1, -2"),
    ("1 \\text{ and } 3", "3, 1"),
    ("\\text{(C)}", "C"),
    ("\\text{Navin}", "navin"),
    ("11,\\! 111,\\! 111,\\! 100", "11111111100"),
    ("10,080", "10080"),
    ("10{,}080", "10080"),
    (
        "\\begin{pmatrix} -1/3 \\\\ 2/3 \\\\ 5/3 \\end{pmatrix}",
        "\\begin{bmatrix} -\\frac13 \\\\ \\frac23 \\\\ \\frac{5}{3} \\end{bmatrix}",
    ),
    ("\\left( 3, \\frac{\\pi}{2} \\right)", "(3,\\pi/2)"),
    ("(3, π/2)", "(3,\\frac{\\pi}{2})"),
    ("(5,\\infty)", "x \\in (5, \\infty)"),
    ("3\\sqrt{13}", "3\\sqrt 13"),
    ("3\\cdot\\sqrt{2}", "3\\sqrt2"),
    ("2516_8", "2516_{8}"),
    ("x^{2}", "x^2"),
    ("x \\leq 3", "x\\le3"),
    ("16 \\sqrt{3}", "16\\sqrt{3}."),
]
OTHER = [
    ("(1,2)", "(2,1)"),
    ("[1,2]", "(1,2)"),
    ("(1,2]", "(1,2)"),
    ("x=5", "y=5"),
    ("5", "6"),
    ("\\frac12", "2"),
    ("\\frac12", "\\frac21"),
    ("1,2", "1,3"),
    ("1,2", "1"),
    ("\\{1,2\\}", "\\{1,2,3\\}"),
    ("\\{1,1,2\\}", "\\{1,2,2\\}"),
    ("\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}", "\\begin{pmatrix} 1 & 2 \\end{pmatrix}"),
    ("3\\text{ and }5", "35"),
    ("x", "X"),
    ("2\\sqrt{3}", "3\\sqrt{2}"),
    ("5m", "5"),
    ("", "5"),
    ("\\frac{1}{0}", "\\frac{2}{0}"),
]


@pytest.mark.parametrize(("left", "right"), SAME)
def test_spelling_does_not_count(left: str, right: str) -> None:
    assert same_formula(left, right)
    assert same_formula(right, left)


@pytest.mark.parametrize(("left", "right"), OTHER)
def test_what_differs_is_not_the_same(left: str, right: str) -> None:
    assert not same_formula(left, right)
    assert not same_formula(right, left)


@pytest.mark.parametrize(
    ("text", "formula"),
    [
        ("So \\boxed{\\frac{1}{2}} it is.", "\\frac{1}{2}"),
        ("\\boxed{1} and then \\boxed{2}", "2"),
        ("\\boxed{\\left\\{1, 2\\right\\}}", "\\left\\{1, 2\\right\\}"),
        ("\\boxed 5", "5"),
        ("Put it into \\boxed{}. The answer is $x+1$.", "$x+1$."),
        ("x+1", "x+1"),
        ("I\ndo not\nknow", None),
        ("\\boxed{never closed", None),
        ("", None),
    ],
)
def test_the_last_box_is_read(text: str, formula: str | None) -> None:
    assert read_formula(text) == formula


@given(
    st.sampled_from([left for left, _ in SAME]),
    st.sampled_from(BOXED),
    st.sampled_from((*BEFORE, "We try \\boxed{7} first.\n")),
    st.sampled_from((*AFTER, "\n\nI hope this helps.")),
)
def test_wrapping_never_changes_the_formula(formula: str, said: str, before: str, after: str) -> None:
    read = read_formula(before + said.format(x=formula) + after)
    assert read is not None
    assert same_formula(read, formula)


_LATEX = st.text("\\{}()[]^_,.=+-/ 0123xabfrcsqt$%&", max_size=80)


@given(st.text() | _LATEX, st.text() | _LATEX)
def test_garbage_never_raises_and_is_the_same_as_itself(left: str, right: str) -> None:
    read_formula(left)
    assert same_formula(left, right) == same_formula(right, left)
    assert same_formula(left, left)
