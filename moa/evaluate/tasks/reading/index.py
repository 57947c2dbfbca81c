"""The option that a reply chooses by its number from 0: `Answer: (1)`, and never just the first number in sight."""

from __future__ import annotations

import re
from collections.abc import Sequence
from string import ascii_uppercase

from moa.evaluate.tasks.reading.letter import read_letter
from moa.evaluate.tasks.reading.verdict import spoken

_NUMBER = r"(?P<number>\d{1,2})"
_BRACKETED = re.compile(rf"(?<![\w)])[(\[]\s*{_NUMBER}\s*[)\]]")
_AFTER_MARK = re.compile(
    rf"(?P<mark>\b(?:answer|option|choice|verdict|choose|chose|pick|select)\b(?:\s+(?:is|was|number|option))*[\s:=*_`(\[]{{0,6}})"
    rf"{_NUMBER}(?![\w.]*\d|\w|\s*[%:/])",
    re.IGNORECASE,
)
_ALONE = re.compile(rf"^(?P<mark>[ \t#>*_-]*){_NUMBER}(?=[.)]?[ \t*_]*$)", re.MULTILINE)
_ELSEWHERE = re.compile(
    r"\b(?:references?|responses?|respondents?|arguments?|agents?|models?|passages?|parts?|paragraphs?|sections?|clusters?|"
    r"debaters?|writers?|advisers?|members?|number|no\.|step|figure|table|note)\s*#?\s*[(\[]?\d{1,3}[)\]]?"
    r"(?:(?:\s*,\s*|\s*(?:,\s*)?(?:and|or|&|to|-)\s*)[(\[]?\d{1,3}[)\]]?)*",
    re.IGNORECASE,
)
"""Numbers of something that is not an option: `reference (0)`, `responses (1) and (2)`."""


def read_index(text: str, options: Sequence[str]) -> str | None:
    """The number of the option that a reply chooses, as text; None where it chooses none, or two.

    The rules are those of letters: the last verdict counts, else a choice that stands by itself. Options that are restated before a
    verdict do not count, and the numbers of references are no options'.
    """
    plain = _ELSEWHERE.sub(lambda found: re.sub(r"\d+", "#", found[0]), spoken(text))
    for pattern in (_BRACKETED, _AFTER_MARK, _ALONE):
        plain = pattern.sub(lambda found: _as_letter(found, len(options)), plain)
    letter = read_letter(plain, options)
    return None if letter is None else str(ascii_uppercase.index(letter))


def _as_letter(found: re.Match[str], count: int) -> str:
    """The number in the place of which a letter stands; one that no option has is no letter either."""
    number = int(found["number"])
    if number >= count:
        return found[0]
    start, end = found.span("number")
    whole = found[0]
    return f"{whole[: start - found.start()]}{ascii_uppercase[number]}{whole[end - found.start() :]}"
