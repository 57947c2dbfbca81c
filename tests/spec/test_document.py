"""Plain data from YAML, and the position of everything in it."""

from __future__ import annotations

from itertools import pairwise

import pytest

from moa.errors import Problem, SpecError
from moa.spec.document import parse

TEXT = """\
name: x
nodes:
  drafts: {agent: proposer, models: [a, b]}
  answer:
    select: {top-k: {k: 3}}
    inputs:
      - drafts
      - other
"""


@pytest.mark.parametrize(
    ("loc", "key", "line", "column"),
    [
        ((), False, 1, 1),
        (("name",), False, 1, 7),
        (("name",), True, 1, 1),
        (("nodes",), False, 2, 1),
        (("nodes", "drafts"), False, 3, 11),
        (("nodes", "drafts"), True, 3, 3),
        (("nodes", "drafts", "models", 1), False, 3, 41),
        (("nodes", "answer"), False, 4, 3),
        (("nodes", "answer", "inputs"), False, 6, 5),
        (("nodes", "answer", "inputs", 1), False, 8, 9),
        (("nodes", "answer", "inputs", 7), False, 6, 5),
        (("nodes", "answer", "select", "options", "k"), False, 5, 25),
        (("nodes", "answer", "model"), False, 4, 3),
        (("nodes", "nobody", "model"), False, 2, 1),
        (("name", "first", 0), False, 1, 7),
    ],
)
def test_position(loc: tuple[str | int, ...], key: bool, line: int, column: int) -> None:
    document = parse(TEXT, "g.yaml")
    assert document.problem(loc, "wrong", key=key) == Problem("wrong", "g.yaml", line, column)


def test_data_is_plain() -> None:
    document = parse("a: [1, 2.5, true, null, 'no', 0x1f, 1_000, 1e3]\nb:\n  c: |\n    x\n", "f")
    assert document.data == {"a": [1, 2.5, True, None, "no", 31, 1000, "1e3"], "b": {"c": "x\n"}}
    assert [type(value) for value in document.data["a"][:3]] == [int, float, bool]


def test_merged_mappings_give_way_to_own_keys_and_to_earlier_ones() -> None:
    text = "x: &x {a: 1, b: 1, c: 1}\ny: &y {b: 2, c: 2, d: 2}\nz: {<<: [*x, *y], c: 3}\n"
    assert parse(text, "f").data["z"] == {"a": 1, "b": 1, "c": 3, "d": 2}


def test_aliases_are_copies() -> None:
    data = parse("a: &a {x: [1]}\nb: *a\n", "f").data
    assert data["a"] == data["b"]
    assert data["a"]["x"] is not data["b"]["x"]


def test_alias_bomb_is_refused_at_once() -> None:
    names = [f"n{number}" for number in range(30)]
    lines = [f"{names[0]}: &{names[0]} x"]
    lines += [f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]" for before, name in pairwise(names)]
    with pytest.raises(SpecError, match=r"^f:\d+:\d+: more than 100,000 values: too many aliases `\*name`$"):
        parse("\n".join(lines), "f")


@pytest.mark.parametrize("innermost", ["{x: 1}", "{}"])
def test_merge_bomb_is_refused_at_once(innermost: str) -> None:
    names = [f"n{number}" for number in range(30)]
    lines = [f"{names[0]}: &{names[0]} {innermost}"]
    lines += [
        f"{name}: &{name} {{<<: [{', '.join([f'*{before}'] * 9)}]}}" for before, name in pairwise(names)
    ]
    with pytest.raises(SpecError, match="too many aliases"):
        parse("\n".join(lines), "f")


def test_a_value_that_merges_itself_is_refused() -> None:
    with pytest.raises(SpecError, match=r"^f:1:4: an alias `\*name` inside its own anchor `&name`$"):
        parse("a: &a {b: {<<: *a}}\n", "f")


def test_lines_count_as_editors_count_them() -> None:
    assert parse("a: 1\r\nb: 2\r\n", "f").problem(("b",), "wrong")[2:] == (2, 4)
