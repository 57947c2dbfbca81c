"""Literals are read and compared as Python would, and nothing is run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moa.evaluate.tasks.reading.literal import parse_literal, read_literal

READ: list[tuple[str, Any]] = [
    ("Answer: [1, 2]", [1, 2]),
    ("**Answer:** `'POO'`", "POO"),
    ("Answer: `{1: None}`.", {1: None}),
    ("The answer is:\n\n```python\n{'a': 1}\n```", {"a": 1}),
    ("[ANSWER]f(1) == (3, 6)[/ANSWER]", (3, 6)),
    ("[ANSWER]1[/ANSWER] no: [ANSWER]2[/ANSWER]", 2),
    ("assert f('x') == 'xx'", "xx"),
    ("Let me see.\nIt returns 'abc'", "abc"),
    ("Step 1: 3\nThe output is True.", True),
    ("Answer: 'a. b.'", "a. b."),
    ("Answer: ' spaced '", " spaced "),
    ("Answer: '\\n\\t'", "\n\t"),
    ("8.5", 8.5),
    ("'the last line'", "the last line"),
    ("Answer: set()", set()),
    ("\\boxed{[1]}", [1]),
]


@pytest.mark.parametrize(("text", "value"), READ)
def test_a_literal_is_read(text: str, value: Any) -> None:
    found = read_literal(text)
    assert found is not None
    assert found.value == value


@pytest.mark.parametrize("text", ["", "I do not know.", "Answer: hello", "Answer: f(3)", "Answer: x + 1"])
def test_what_is_no_literal_is_not_read(text: str) -> None:
    assert read_literal(text) is None


def test_nothing_is_run(tmp_path: Path) -> None:
    witness = tmp_path / "ran"
    call = f"__import__('pathlib').Path({str(witness)!r}).touch()"
    assert read_literal(f"Answer: {call}") is None
    assert read_literal(f"```python\n{call}\n```") is None
    assert read_literal("Answer: 9**9**9") is None
    assert not witness.exists()


def test_equality_is_that_of_python() -> None:
    def same(left: str, right: str) -> bool:
        found = [parse_literal(left), parse_literal(right)]
        assert found[0] and found[1]
        return found[0].equals(found[1])

    assert same("{'a': 1, 'b': 2}", '{"b": 2, "a": 1}')
    assert same("1", "1.0")
    assert not same("[1, 2]", "(1, 2)")
    assert not same("'1'", "1")


_LITERALS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text("ab cX9_-"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text("abc", max_size=3) | st.integers(), inner, max_size=3)
    ),
    max_leaves=6,
)
WRAPPERS = (
    "Answer: {x}",
    "**Answer:** {x}",
    "Answer: `{x}`",
    "Answer: {x}.",
    "The answer is {x}",
    "```python\n{x}\n```",
    "Answer:\n```python\n{x}\n```",
    "[ANSWER]{x}[/ANSWER]",
    "assert f(1, 'b') == {x}",
    "Answer: f(1) == {x}",
    "{x}",
)


@given(_LITERALS, st.sampled_from(WRAPPERS), st.sampled_from(("", "It begins with 1, then 2.\n")))
def test_wrapping_never_changes_the_literal(value: Any, said: str, before: str) -> None:
    text = before + said.format(x=repr(value))
    found = read_literal(text)
    assert found is not None, text
    assert found.value == value, text


@given(st.text() | st.text("[](){}'\"\\,:.1ae-=`\n ANSWER/", max_size=200))
def test_garbage_never_raises(text: str) -> None:
    read_literal(text)


@pytest.mark.parametrize("part", ["[", "(", "{", "-", "0x", "1,", "~", "not ", "9"])
def test_long_garbage_never_raises(part: str) -> None:
    assert parse_literal(f"{part * 20_000}") is None
