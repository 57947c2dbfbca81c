"""The option that a reply chooses: its letter, or its text, and never just the first letter in sight."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from string import ascii_uppercase

from moa.evaluate.tasks.reading.verdict import boxes, spoken, verdicts, without_filler
from moa.evaluate.tasks.reading.words import plain

_NOUNS = r"choice|option|letter|verdict|conclusion|solution"
_OPEN, _CLOSE = r"[({\[<\s]{0,6}", r"[)}\]>]{0,4}"
_LETTER = rf"{_OPEN}(?P<letter>[A-Za-z])(?P<close>{_CLOSE})(?![A-Za-z\d'’])"
_LEADING = re.compile(rf"{_LETTER}(?P<after>\s*[.:,;!?–—-]|\s*$|\s+)?")
_MORE = re.compile(rf"\s*(?:,|/|&|\+|\band\b|\bor\b)+\s*{_OPEN}([A-Z]){_CLOSE}\s*(?:[.,;]|and\b|or\b|$)")
_CHOSEN = re.compile(
    rf"\b(?:choos(?:e|ing)|chose|pick(?:ed)?|select(?:ed)?|go(?:ing)? with|opt(?:ed)? for)\s+"
    rf"(?:(?:the|option|choice|answer|letter)\s+){{0,3}}{_OPEN}([A-Z]){_CLOSE}(?![A-Za-z\d'’])"
)
_PRAISED = re.compile(
    rf"(?<![A-Za-z\d]){_OPEN}([A-Z]){_CLOSE}\s+(?:is|must be|would be|seems)\s+(?:clearly\s+|therefore\s+)?(?:the\s+)?"
    r"(?:single\s+|only\s+)?(?:correct|right|best|true|most (?:accurate|appropriate|likely))\b(?!\s+(?:if|only if|unless)\b)"
)
_DOUBLE = re.compile(r"\[\[\s*([A-Z])\s*\]\]")
_BARE = re.compile(
    rf"^[ \t#>-]*(?:(?:option|choice)\s+)?{_OPEN}([A-Za-z]){_CLOSE}[.!]?[ \t]*$", re.IGNORECASE | re.MULTILINE
)
_RESTATED = re.compile(
    r"^[ \t#>-]*[({\[]?([A-Z])[)}\].:][ \t]*(?!(?:and|or|nor|is|are|seems?)\b)[^\s,/&]", re.MULTILINE
)
_MENTION = re.compile(r"(?:\(([A-Z])\)|\b[Oo]ption\s+\(?([A-Z])\b\)?)")
_STANDING = re.compile(r"(?<![A-Za-z\d'’])([A-Z])(?![A-Za-z\d'’])(?!(?<=[AI])\s+(?!(?:and|or)\b)[a-z])")
_DENIED = re.compile(
    r"(?:\bnot|n't|n’t|\bnor|\bneither|\brather than|\binstead of|\bunlike|\bthan|\bexcept)\s+(?:the\s+)?(?:option\s+|answer\s+)?[({\[]*$",
    re.IGNORECASE,
)
_NOT = re.compile(
    r"not\s+(?:the\s+)?(?:option\s+)?[({\[]*[A-Z][)}\]]*\s*,?\s*(?:but|it(?:'s| is)|rather)\s+(?:rather\s+|it is\s+)?",
    re.IGNORECASE,
)
_MARKUP = re.compile(
    r"\\(?:text(?:bf|it|rm|tt)?|math(?:rm|bf|tt|it)?|mbox)\s*(?=\{)|\\[()\[\],;!]|[*`$\"“”„«»]|(?<![A-Za-z\d])_+|_+(?![A-Za-z\d])"
)


def read_letter(text: str, options: Sequence[str]) -> str | None:
    """The letter of the option that a reply chooses; None where it chooses none, or two.

    The last of these: a boxed letter or `[[C]]`, a verdict such as `Answer: (C)` or `the answer is not B but C`, a choice
    such as `I choose C` or `C is correct`. Else a line of its own that is a letter; else the option whose text
    the verdict or the whole reply is; else the only option that is named at all.
    """
    known = ascii_uppercase[: len(options)]
    text = spoken(text)
    clean = _MARKUP.sub("", text)
    firm = [*_boxed(clean, options), *_said(clean, options), *_phrases(clean)]
    if firm:
        letter = max(firm)[1]
        return letter if letter and letter in known else None
    return _alone(clean, known) or _by_text(clean, options) or _within(clean, known) or _only(clean, known)


def _boxed(text: str, options: Sequence[str]) -> Iterable[tuple[int, str]]:
    for box in boxes(text):
        letter = _leading(box.text, options)
        if letter is not None:
            yield box.position, letter
    yield from ((found.start(), found[1]) for found in _DOUBLE.finditer(text))


def _said(text: str, options: Sequence[str]) -> Iterable[tuple[int, str]]:
    for verdict in verdicts(text, _NOUNS):
        letter = _leading(verdict.text, options)
        if letter is not None:
            yield verdict.position, letter


def _phrases(text: str) -> Iterable[tuple[int, str]]:
    for pattern in (_CHOSEN, _PRAISED):
        for found in pattern.finditer(text):
            if not _DENIED.search(text[max(0, found.start() - 30) : found.start(1)]):
                yield found.start(1), found[1]


def _leading(verdict: str, options: Sequence[str]) -> str | None:
    """The letter that a verdict begins with, or whose option it is; empty for two letters; None for no letter."""
    rest = without_filler(verdict)
    rest = rest[denied.end() :] if (denied := _NOT.match(rest)) else rest
    found = _LEADING.match(rest)
    whole = _of_text(rest, options)
    if found is None:
        return whole
    letter, after = found["letter"].upper(), rest[found.end("close") :]
    if _MORE.match(after) and rest[found.start("letter")].isupper():
        return ""
    if letter not in ascii_uppercase[: len(options)]:
        return whole
    alone = not after.strip(" .!?;:,)") or bool(found["close"].strip())
    if alone or (found["after"] or "").strip():
        return (
            letter
            if alone or rest[found.start("letter")].isupper() or found["after"].strip() in ".:"
            else whole
        )
    return whole or _before_words(rest, found["letter"], after, options)


def _before_words(rest: str, letter: str, after: str, options: Sequence[str]) -> str | None:
    """A capital with words behind it: the letter, unless it may be the article `A` or the word `I`."""
    if not letter.isupper():
        return None
    own = plain(_MARKUP.sub("", options[ascii_uppercase.index(letter)]))
    if letter not in "AI" or plain(after).startswith(own):
        return letter
    return letter if re.match(r"\s+(?:is|because|since|as|\()", after) else None


def _alone(text: str, known: str) -> str | None:
    """The letter that has a line to itself, or the only option that a reply writes out."""
    bare = [found[1].upper() for found in _BARE.finditer(text)]
    bare = [letter for letter in bare if letter in known]
    if bare:
        return bare[-1]
    restated = {found[1] for found in _RESTATED.finditer(text) if found[1] in known}
    return restated.pop() if len(restated) == 1 else None


def _by_text(text: str, options: Sequence[str]) -> str | None:
    last = text.strip().rpartition("\n")[2]
    return _of_text(text, options) or _of_text(last, options)


def _of_text(said: str, options: Sequence[str]) -> str | None:
    """The letter of the one option whose text this is."""
    words = plain(said)
    known = zip(ascii_uppercase, (plain(_MARKUP.sub("", option)) for option in options), strict=False)
    same = [letter for letter, option in known if option == words]
    return same[0] if len(same) == 1 and words else None


def _within(text: str, known: str) -> str | None:
    """The only letter that stands alone somewhere in the last verdict."""
    said = verdicts(text, _NOUNS)[:1]
    found = [found for verdict in said for found in _STANDING.finditer(verdict.text)]
    named = {
        each[1] for each in found if not _DENIED.search(each.string[max(0, each.start() - 30) : each.start()])
    }
    return named.pop() if len(named) == 1 and named <= set(known) else None


def _only(text: str, known: str) -> str | None:
    """The only option that a reply names without denying it."""
    named = set()
    for found in _MENTION.finditer(text):
        if not _DENIED.search(text[max(0, found.start() - 30) : found.start()]):
            named.add(found[1] or found[2])
    return named.pop() if len(named) == 1 and named <= set(known) else None
