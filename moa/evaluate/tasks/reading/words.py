"""Answers in words, compared without case, space, and the punctuation round them."""

from __future__ import annotations

import re
import unicodedata

from moa.evaluate.tasks.reading.verdict import spoken, verdicts, without_filler

_EDGES = re.compile(r"^[\W_]+|[\W_]+$")
_SPACE = re.compile(r"\s+")


def plain(text: str) -> str:
    """The words of a text: case, width, inner space and outer punctuation do not count; `-5` and `.5` keep their first."""
    folded = _SPACE.sub(" ", unicodedata.normalize("NFKC", text).casefold().replace("−", "-")).strip()
    bare = _EDGES.sub("", folded)
    signed = re.match(r"[^\w]*?([-.]+)(?=\d)", folded)
    return f"{signed[1]}{bare}" if signed and bare[:1].isdigit() else bare


def read_words(text: str) -> str | None:
    """What a reply says in words: its last verdict, else all of it."""
    text = spoken(text)
    said = verdicts(text)
    found = plain(without_filler(said[0].text) if said else text)
    return found or None
