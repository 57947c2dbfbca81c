"""Formulas in replies, and whether two of them say the same without any algebra done."""

from __future__ import annotations

import re
from fractions import Fraction

from moa.evaluate.tasks.reading.latex import normal
from moa.evaluate.tasks.reading.verdict import boxes, spoken, verdicts, without_filler

_ASSIGNED = re.compile(r"^([a-zA-Z](?:_\w+)?(?:\([a-zA-Z]\))?)(?:=|\\in)(?=.)")
_INTEGER = r"\d{1,300}"
_WHOLE = re.compile(rf"(-?)(?:{_INTEGER}|\d{{1,3}}(?:,\d{{3}})+)?(?:\.{_INTEGER})?")
_QUOTIENT = re.compile(rf"(-?)({_INTEGER})?\\frac\{{(-?{_INTEGER})\}}\{{(-?{_INTEGER})\}}")
_MATRIX = re.compile(r"\\begin\{pmatrix\}(.*)\\end\{pmatrix\}")
_OPENING, _CLOSING = "([{", ")]}"
_DEEPEST = 20


def read_formula(text: str) -> str | None:
    r"""The formula that a reply comes to: the last one in a box, else its last verdict, else its only line."""
    text = spoken(text)
    boxed = [box.text for box in boxes(text) if box.text]
    if boxed:
        return boxed[0]
    said = verdicts(text)
    if said:
        return without_filler(said[0].text) or None
    line = text.strip()
    return line if line and "\n" not in line and "\\boxed" not in line and len(line) <= 200 else None


def same_formula(left: str, right: str) -> bool:
    """Whether two formulas are spelled alike, are one number, or have the same parts.

    Order does not count in sets and in lists without brackets; it does in tuples, intervals and matrices.
    """
    return _same(normal(left), normal(right), 0)


def _same(left: str, right: str, depth: int) -> bool:
    if left == right:
        return True
    if depth > _DEEPEST or not left or not right:
        return False
    left, right = _values(left, right)
    if left == right or (_is_word(left) and left.casefold() == right.casefold()):
        return True
    numbers = [_number(left), _number(right)]
    if None not in numbers:
        return numbers[0] == numbers[1]
    return any(same(left, right, depth + 1) for same in (_same_list, _same_matrix, _same_brackets))


def _is_word(text: str) -> bool:
    return len(text) > 1 and text.isalpha()


def _values(left: str, right: str) -> tuple[str, str]:
    """Both without the name that is given a value, such as `x=`, unless they name different things."""
    names = [_ASSIGNED.match(left), _ASSIGNED.match(right)]
    if names[0] and names[1] and names[0][1] != names[1][1]:
        return left, right
    found = [text[name.end() :] if name else text for name, text in zip(names, (left, right), strict=True)]
    bare = [re.sub(r"^\(([A-Z])\)$", r"\1", text) for text in found]
    return bare[0], bare[1]


def _number(text: str) -> Fraction | None:
    """The number that a formula is: whole, decimal, a quotient, or a whole number and a quotient."""
    if (found := _WHOLE.fullmatch(text)) and text[-1:].isdigit():
        return Fraction(text.replace(",", ""))
    if (found := _QUOTIENT.fullmatch(text)) and int(found[4]):
        value = Fraction(int(found[3]), int(found[4])) + int(found[2] or 0)
        return -value if found[1] else value
    return None


def _same_list(left: str, right: str, depth: int) -> bool:
    """Several values, or several intervals: the same ones in any order."""
    for split in (_alternatives, _union):
        parts = [split(left), split(right)]
        if min(len(each) for each in parts) > 1:
            return _matched(parts[0], parts[1], depth)
    return False


def _same_brackets(left: str, right: str, depth: int) -> bool:
    """Sets in any order; tuples and intervals with the same brackets and the same parts in order."""
    sets = [_inside_set(left), _inside_set(right)]
    if sets[0] is not None and sets[1] is not None:
        return _matched(_alternatives(sets[0]), _alternatives(sets[1]), depth)
    if left[0] + left[-1] != right[0] + right[-1] or left[0] + left[-1] not in {"()", "[]", "(]", "[)"}:
        return False
    return _in_order(_split(left[1:-1], ","), _split(right[1:-1], ","), depth)


def _same_matrix(left: str, right: str, depth: int) -> bool:
    found = [_MATRIX.fullmatch(left), _MATRIX.fullmatch(right)]
    if not (found[0] and found[1]):
        return False
    rows = [[row.split("&") for row in each[1].strip("\\").split("\\\\")] for each in found if each]
    if [len(row) for row in rows[0]] != [len(row) for row in rows[1]]:
        return False
    return all(_in_order(one, other, depth) for one, other in zip(*rows, strict=True))


def _in_order(left: list[str], right: list[str], depth: int) -> bool:
    return len(left) == len(right) > 0 and all(
        _same(one, other, depth) for one, other in zip(left, right, strict=True)
    )


def _matched(left: list[str], right: list[str], depth: int) -> bool:
    """Whether each of the one has its own partner in the other."""
    rest = list(right)
    for one in left:
        partner = next((other for other in rest if _same(one, other, depth)), None)
        if partner is None:
            return False
        rest.remove(partner)
    return not rest


def _inside_set(text: str) -> str | None:
    return text[2:-2] if text.startswith(r"\{") and text.endswith(r"\}") else None


def _alternatives(text: str) -> list[str]:
    r"""The values of a list; `1\pm2` are two of them."""
    found: list[str] = []
    for part in _split(text, ","):
        before, sign, after = part.partition(r"\pm")
        found += [f"{before}+{after}".removeprefix("+"), f"{before}-{after}"] if sign else [part]
    return found


def _union(text: str) -> list[str]:
    return _split(text, r"\cup")


def _split(text: str, separator: str) -> list[str]:
    """The parts of a text between separators that stand in no bracket."""
    parts, depth, start, index = [], 0, 0, 0
    while index < len(text):
        if depth == 0 and text.startswith(separator, index):
            parts.append(text[start:index])
            index = start = index + len(separator)
            continue
        depth += (text[index] in _OPENING) - (text[index] in _CLOSING)
        index += 1
    return [part for part in [*parts, text[start:]] if part]
