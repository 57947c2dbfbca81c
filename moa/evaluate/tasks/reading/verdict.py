"""Where a reply comes to the point: `Answer: ...`, `the answer is ...`, `#### ...`."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

_ANSWER = r"answers?|final\s+(?:result|value|number|total|verdict)"
_MARK = (
    r"\b(?:{nouns})\b[\s*_`]{{0,6}}(?:\([^()\n]{{0,40}}\)[\s*_`]{{0,6}})?"
    r"(?:(?:would|should|must|will)\s+be\b|is\b|are\b|was\b|[:=：]|->|→)"
    r"|^[ \t]*\#{{4,6}}(?!\#)"
)
_FILLER = re.compile(
    r"[\s:=*_`]+|(?:thus|therefore|hence|then|clearly|simply|indeed|exactly|approximately|about|just|again|the|"
    r"option|choice|letter|number|equal to|equals|given by|as follows)\b(?=[\s:*_`(\[{$\\])",
    re.IGNORECASE,
)
_BOX = re.compile(r"\\f?box(?:ed)?\s{0,3}(?=[{\d-])")
_LONGEST = 4000
"""Characters of a verdict that are looked at."""
_MOST = 40
"""Verdicts that are looked at, so that a reply of nothing else costs no time."""


class Verdict(NamedTuple):
    """What follows a mark, up to the end of the line, and where in the reply that is."""

    text: str
    position: int


def spoken(text: str) -> str:
    """The reply without a thinking model's notes to itself."""
    return text.rpartition("</think>")[2].partition("<think>")[0]


def verdicts(text: str, nouns: str = "") -> list[Verdict]:
    """Every place where a reply says that it comes to the point, the last one first.

    `nouns` are further words for an answer, as alternatives of a regular expression.
    """
    return list(_verdicts(text, _latest(_mark(nouns).finditer(text))))


def _latest(found: Iterable[re.Match[str]]) -> list[re.Match[str]]:
    return list(deque(found, _MOST))[::-1]


@lru_cache(maxsize=16)
def _mark(nouns: str) -> re.Pattern[str]:
    both = f"{_ANSWER}|{nouns}" if nouns else _ANSWER
    return re.compile(_MARK.format(nouns=both), re.IGNORECASE | re.MULTILINE)


def _verdicts(text: str, marks: Iterable[re.Match[str]]) -> Iterator[Verdict]:
    for mark in marks:
        rest = text[mark.end() : mark.end() + _LONGEST].lstrip(" \t\r\n:*_=>")
        line = rest.partition("\n")[0].strip()
        if line:
            yield Verdict(line, mark.end())


def without_filler(text: str) -> str:
    """A verdict without the words that may stand before what it says, such as `therefore` or `option`."""
    while found := _FILLER.match(text):
        text = text[found.end() :]
    return text


def boxes(text: str) -> list[Verdict]:
    r"""The contents of each `\boxed{...}`, the last one first; braces inside are matched."""
    found = (_box(text, mark) for mark in _latest(_BOX.finditer(text)))
    return [box for box in found if box is not None]


def _box(text: str, mark: re.Match[str]) -> Verdict | None:
    start = mark.end()
    if text[start] != "{":
        bare = re.match(r"-?[\d.,]*\d", text[start:])
        return Verdict(bare.group(), start) if bare else None
    depth = 0
    for index in range(start, min(len(text), start + _LONGEST)):
        depth += {"{": 1, "}": -1}.get(text[index], 0) if text[index - 1] != "\\" else 0
        if depth == 0:
            return Verdict(text[start + 1 : index].strip(), start)
    return None
