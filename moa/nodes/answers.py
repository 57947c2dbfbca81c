"""Short answers in long replies: what a vote counts."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Literal

AnswerMode = Literal["auto", "exact", "number", "choice", "boxed", "regex"]

_MOST_WORDS = 8
"""A reply of one line and at most this many words is itself an answer."""
_LONGEST = 200
"""Characters of a number or a box, at most."""
_MOST_BOXES = 20

_BOX = re.compile(r"\\(?:boxed|fbox)\s{0,3}\{")
_HASHES = re.compile(r"^[ \t]{0,8}####[ \t]{0,8}(\S.*)$", re.MULTILINE)
_STATED = re.compile(
    r"\banswer\b[*_]{0,3}(?:\s{0,3}(?:is|would be|must be)\b\s{0,2}:?|\s{0,3}[:=])[*_]{0,3}", re.IGNORECASE
)
_SENTENCE_END = re.compile(r"[.!?](?:\s|$)|,?\s(?:because|since|so|as)\s|;")
_NUMBER = re.compile(
    r"(?<![\w.])(?:(?<=[\s(\[=:$€£*`])-|^-)?[$€£]?\s?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][+-]?\d{1,2})?"
    r"(?:\s?/\s?\d+)?(?![\w]*\d)",
    re.MULTILINE,
)
_PLAIN = re.compile(r"[+-]?(?:\d{1,3}(?:,\d{3})+|\d+|(?=\.\d))(?:\.\d+)?(?:[eE][+-]?\d{1,2})?")
_FRACTION = re.compile(r"([+-]?\d+)\s?/\s?(\d+)")
_TEX_FRACTION = re.compile(r"\\[dt]?frac\s?\{\s?([+-]?\d+)\s?\}\s?\{\s?(\d+)\s?\}")
_TEX_TEXT = re.compile(r"\s?\\text\s?\{\s?([^{}]*)\}")
_TEX_NOISE = re.compile(r"\\(?:[,;!: ]|left|right|text\s?\{[^{}]*\}|%|\$|circ)|\^\{?\\circ\}?|[$]")
_UNIT = re.compile(r"^[$€£]?\s?(?P<number>[+-]?[\d.,/eE+-]*\d)\s?(?:%|°|[A-Za-z]+(?:\s[A-Za-z]+){0,2})?$")
_OPTION = re.compile(r"\(([A-J]|\d{1,2})\)")
_LETTER_LINE = re.compile(
    r"^[ \t*_`]{0,8}(?:(?:option|choice|answer)\s{0,2}:?\s{0,2})?[*_`(\[]{0,4}([A-Ja-j])[*_`)\]]{0,4}(?:[.)](?:[ \t].{0,200})?|:)?[*_`]{0,3}$",
    re.IGNORECASE,
)
_LETTER_START = re.compile(
    r"(?:option|choice)?\s{0,2}[*_`(\[]{0,4}(?:([A-J])(?=[*_`)\].:,]|$)|([a-j])(?=[)\]]|$))", re.IGNORECASE
)
_ARTICLE = re.compile(r"^(?:the|a|an)\s+(?=\S)")
_EDGES = " \t\n*_`\"'“”‘’.,;:!?()[]{}"


def extract_answer(text: str, mode: AnswerMode = "auto", pattern: str | None = None) -> str | None:
    r"""The short answer of a reply in one canonical spelling, or None where there is none to read.

    `auto` takes the first of these that is there: the last `\boxed{...}`, a line `#### 42`, `the answer
    is ...`, an option such as `(B)` on the last line, the last number, and a reply that is one short
    line. `exact` compares whole replies, `number` last numbers, `choice` option letters or numbers,
    `boxed` boxes, and `regex` the first group of the last match of `pattern`.
    Equal answers get equal spellings: `1,000`, `$1000` and `1000.0`; `1/2` and `0.5`; `(b)` and `B`.
    """
    if mode == "regex":
        return _by_pattern(text, pattern or r"(?!)()")
    return _READERS[mode](text)


def canonical(answer: str) -> str | None:
    """One spelling for equal answers: numbers by value, option letters in capitals, text without its dress."""
    plain = unicodedata.normalize("NFKC", answer).strip()
    number = _as_number(plain)
    if number is not None:
        return number
    letter = plain.strip(_EDGES)
    if len(letter) == 1 and letter.isalpha():
        return letter.upper()
    words = " ".join(plain.casefold().split()).strip(_EDGES)
    return _ARTICLE.sub("", words) or None


def _as_number(text: str) -> str | None:
    """The number that a text is, whatever its unit or dress."""
    if len(text) > _LONGEST:
        return None
    text = text.replace("{,}", ",").replace("\N{FRACTION SLASH}", "/")
    bare = (
        _TEX_NOISE.sub("", _TEX_FRACTION.sub(r"\1/\2", text)).strip(_EDGES.replace(".", "") + " ").rstrip(".")
    )
    unit = _UNIT.match(bare)
    if unit is None:
        return None
    number = unit["number"]
    fraction = _FRACTION.fullmatch(number)
    if fraction is not None:
        return _value(Fraction(int(fraction[1]), int(fraction[2]))) if int(fraction[2]) else None
    return _value(Fraction(number.replace(",", ""))) if _PLAIN.fullmatch(number) else None


def _value(number: Fraction) -> str:
    """An integer or a decimal where that is exact, else the reduced fraction."""
    rest = number.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    if rest != 1:
        return f"{number.numerator}/{number.denominator}"
    with localcontext(prec=2 * _LONGEST):
        text = f"{Decimal(number.numerator) / Decimal(number.denominator):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _by_pattern(text: str, pattern: str) -> str | None:
    groups = [match.group(1) for match in re.finditer(pattern, text, re.MULTILINE)]
    return canonical(groups[-1] or "") if groups else None


def _exact(text: str) -> str | None:
    return canonical(text) if len(text) <= _LONGEST else " ".join(text.casefold().split())


def _boxed(text: str) -> str | None:
    for opening in reversed(list(_BOX.finditer(text))[-_MOST_BOXES:]):
        inside = _until_closed(text[opening.end() : opening.end() + 2 * _LONGEST])
        if inside is not None:
            return canonical(_TEX_TEXT.sub(r" \1", inside))
    return None


def _until_closed(text: str) -> str | None:
    """What stands before the brace that closes, or None where it never does."""
    depth = 1
    for index, character in enumerate(text):
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth == 0:
            return text[:index]
    return None


def _hashed(text: str) -> str | None:
    found = _HASHES.findall(text)
    return canonical(found[-1]) if found else None


def _after_statement(text: str) -> str | None:
    """The rest of the line, or the next line, after the last `the answer is` or `answer:`."""
    markers = [match.end() for match in _STATED.finditer(text)]
    rest = text[markers[-1] :].lstrip() if markers else ""
    return rest.splitlines()[0] if rest else None


def _stated(text: str) -> str | None:
    after = _after_statement(text)
    if after is None:
        return None
    said = _SENTENCE_END.split(after, maxsplit=1)[0].strip()
    letter = _LETTER_START.match(said)
    if letter is not None:
        return (letter[1] or letter[2]).upper()
    option = _OPTION.match(said)
    number = option or _NUMBER.match(said)
    return canonical(number[1] if option else number[0]) if number else canonical(said)


def _number(text: str) -> str | None:
    for read in (_boxed, _hashed):
        found = read(text)
        if found is not None and _as_number(found) is not None:
            return found
    numbers = _NUMBER.findall(_after_statement(text) or "")[:1]
    numbers = numbers or _NUMBER.findall(text)
    return _as_number(numbers[-1]) if numbers else None


def _choice(text: str) -> str | None:
    """An option's letter or number: boxed, stated, alone on the last line, or the last in brackets."""
    for read in (_boxed, _stated, _last_line_option):
        found = read(text)
        if found is not None and re.fullmatch(r"[A-J]|\d{1,2}", found):
            return found
    found_options = _OPTION.findall(text)
    return canonical(found_options[-1]) if found_options else None


def _last_line_option(text: str) -> str | None:
    lines = text.strip().splitlines()
    last = lines[-1].strip() if lines else ""
    options = _OPTION.findall(last)
    if options:
        return canonical(options[-1])
    letter = _LETTER_LINE.match(last)
    return letter[1].upper() if letter else None


def _auto(text: str) -> str | None:
    readers: tuple[Callable[[str], str | None], ...] = (
        _boxed,
        _hashed,
        _stated,
        _last_line_option,
        _number,
        _short,
    )
    return next((found for read in readers if (found := read(text)) is not None), None)


def _short(text: str) -> str | None:
    line = text.strip()
    short = "\n" not in line and len(line.split()) <= _MOST_WORDS and len(line) <= _LONGEST
    return canonical(line) if short else None


_READERS: dict[str, Callable[[str], str | None]] = {
    "auto": _auto,
    "exact": _exact,
    "number": _number,
    "choice": _choice,
    "boxed": _boxed,
}
