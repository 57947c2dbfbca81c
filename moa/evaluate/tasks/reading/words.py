"""Answers in words, compared without case, space, and the punctuation round them."""

from __future__ import annotations

import re
import unicodedata

from moa.evaluate.tasks.reading.verdict import spoken, verdicts, without_filler

_SPACE = re.compile(r"\s+")


def plain(text: str) -> str:
    """The words of a text: case, width, inner space and outer punctuation do not count; `-5` and `.5` keep their first."""
    folded = _SPACE.sub(" ", unicodedata.normalize("NFKC", text).casefold().replace("−", "-"))
    inner = [index for index, character in enumerate(folded) if character.isalnum()]
    if not inner:
        return ""
    bare = folded[inner[0] : inner[-1] + 1]
    before = folded[max(0, inner[0] - 2) : inner[0]]
    return before.lstrip(" $([{*`\"'") + bare if bare[0].isdigit() and before.endswith(("-", ".")) else bare


def read_words(text: str) -> str | None:
    """What a reply says in words: its last verdict, else all of it."""
    text = spoken(text)
    said = verdicts(text)
    found = plain(without_filler(said[0].text) if said else text)
    return found or None
