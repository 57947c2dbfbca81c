"""Numbers in replies: with separators, units, signs, percent, fractions and powers of ten."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NamedTuple

from moa.evaluate.tasks.reading.verdict import boxes, spoken, verdicts, without_filler

_DIGITS = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d{1,200})"
_DECIMAL = rf"(?:{_DIGITS}(?:\.\d{{1,200}})?|\.\d{{1,200}})"
_POWER = r"(?:[eE](?P<e>[+-]?\d{1,3})(?!\d)|\s?(?:×|x|\*|·)\s?10\s?\^?\s?[({]?(?P<ten>[+-]?\d{1,3})[)}]?)"
_SIGN = r"(?:(?<![\w)\]}.])-\s?)?"
_MONEY = r"(?:(?:USD|EUR|GBP|CAD|AUD|INR|Rs\.?|[$€£¥₹])\s?)?"
_NUMBER = re.compile(
    rf"(?P<sign>{_SIGN}{_MONEY}{_SIGN})(?<![A-Za-z\d_^])(?<!\d\.)"
    rf"(?:(?P<whole>\d{{1,200}})\s+(?=\d+\s?/))?"
    rf"(?P<value>{_DECIMAL})(?:\s?/\s?(?P<under>{_DECIMAL})(?![\d/]))?{_POWER}?(?P<percent>\s?(?:%|percent\b))?"
)
_SPACES = re.compile(r"(?<=\d)(?:\\[,!;: ]|[\u00a0\u2009\u202f'’_]|\{,\}|,\\!\s?)(?=\d{3}(?!\d))")
_FRACTION = re.compile(r"\\[dtc]?frac\s*\{\s*([\d.,]+)\s*\}\s*\{\s*([\d.,]+)\s*\}")
_POWERS = re.compile(r"\s{0,3}\\(?:times|cdot)\s*10\s*\^")
_MARKUP = re.compile(
    r"\\(?:text|mathrm|textbf|mathbf|mbox|boxed|fbox)\s*\{|\*\*|__|`|\\[()\[\]]|\\(?=[$%])|\\left|\\right"
)
_LARGEST = 400
"""Powers of ten beyond this are no answer, and would take the memory of one."""


class Number(NamedTuple):
    """A number, and whether it was written as a percentage: `15%` is 15 here."""

    value: Fraction
    percent: bool = False

    def equals(self, other: Number) -> bool:
        """Whether the two say the same: 15% is 15, and it is 0.15 where that is what the other says."""
        if self.value == other.value:
            return True
        if self.percent == other.percent:
            return False
        return self.value / (100 if self.percent else 1) == other.value / (100 if other.percent else 1)


def read_number(text: str) -> Number | None:
    """The number that a reply comes to.

    The last of: what follows `####`, what is boxed, and a verdict that begins with a number; else the last
    number of the last verdict, else of the reply.
    """
    text = spoken(text)
    said = verdicts(text)
    firm = [(box.position, found) for box in boxes(text) if (found := _last(box.text)) is not None]
    firm += [(verdict.position, found) for verdict in said if (found := _leading(verdict.text)) is not None]
    if firm:
        return max(firm, key=lambda each: each[0])[1]
    loose = (_last(part) for part in [verdict.text for verdict in said[:1]] + [text])
    return next((found for found in loose if found is not None), None)


def parse_number(text: str) -> Number | None:
    """The number that a text is, but for a unit after it; None for one that says more."""
    plain = _plain(text).strip()
    found = _NUMBER.match(plain)
    if found is None or re.search(r"[\d=+*/^\\]", plain[found.end() :]):
        return None
    return _value(found)


def _plain(text: str) -> str:
    """The text without markup, LaTeX fractions and powers written out."""
    text = text.replace("−", "-").replace("\u2013", "-")
    text = _SPACES.sub("", text)
    text = _POWERS.sub("×10^", _FRACTION.sub(r"\1/\2", text))
    return _MARKUP.sub("", text)


def _leading(verdict: str) -> Number | None:
    """The number that a verdict begins with; of a calculation, its result."""
    plain = without_filler(_plain(verdict)).lstrip("({[<~≈$ ")
    plain = f"-{plain[1:].lstrip()}" if plain.startswith("-") else plain
    found = _NUMBER.match(plain)
    if found is None:
        return None
    result = re.match(r"[^=\n]*[-+*/×·÷^][^=\n]*=(.*)", plain)
    return _leading(result[1]) if result else _value(found)


def _last(text: str) -> Number | None:
    latest = list(_NUMBER.finditer(_plain(text)))[::-1]
    return next((value for found in latest if (value := _value(found)) is not None), None)


def _value(found: re.Match[str]) -> Number | None:
    power = int(found["e"] or found["ten"] or 0)
    under = Fraction((found["under"] or "1").replace(",", ""))
    if abs(power) > _LARGEST or under == 0:
        return None
    value = Fraction(found["value"].replace(",", "")) / under + int(found["whole"] or 0)
    sign = -1 if "-" in found["sign"] else 1
    return Number(sign * value * Fraction(10) ** power, found["percent"] is not None)
