"""Python literals in replies, read by `ast.literal_eval` and never run."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

from moa.evaluate.tasks.reading.verdict import boxes, spoken, verdicts

_NOUNS = r"output|outputs|value|return value|result|returns|evaluates to"
_TAG = re.compile(r"\[(/?)ANSWER\]", re.IGNORECASE)
_FENCE = re.compile(r"```(?:\w+)?[ \t]*\n(.*?)```", re.DOTALL)
_ASSERT = re.compile(r"^[ \t]*assert\b.*?==\s*(.+)$", re.MULTILINE)
_CALL = re.compile(r"^\s*(?:assert\s+)?[A-Za-z_]\w{0,40}\(.*\)\s*==\s*", re.DOTALL)
_RETURNS = re.compile(r"\b(?:returns?|outputs?|evaluates to|prints)[ \t:]+(.+)$", re.MULTILINE)
_MOST = 40
"""Candidates of a kind that are tried."""
_LONGEST = 20_000
"""Characters of a literal, at most."""


class Literal(NamedTuple):
    """A value that a text says; `text` is how it was written."""

    value: Any
    text: str

    def equals(self, other: Literal) -> bool:
        """Whether Python finds the two equal, as CRUXEval's assertion would."""
        try:
            return bool(self.value == other.value)
        except RecursionError:
            return False


def read_literal(text: str) -> Literal | None:
    """The literal that a reply comes to: a tagged one, its last verdict, an assertion, a code block, its last line."""
    for candidate in _candidates(spoken(text)):
        found = parse_literal(candidate)
        if found is not None:
            return found
    return None


def parse_literal(text: str) -> Literal | None:
    """The literal that a text is, but for markup round it; None for any other."""
    for written in _peeled(text.strip()):
        if 0 < len(written) <= _LONGEST:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    return Literal(ast.literal_eval(written), written)
            except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
                continue
    return None


def _candidates(text: str) -> Iterator[str]:
    yield from _tagged(text)
    yield from _said(text, "")
    yield from (box.text for box in boxes(text))
    yield from _ASSERT.findall(text)[: -_MOST - 1 : -1]
    yield from _said(text, _NOUNS)
    yield from _RETURNS.findall(text)[: -_MOST - 1 : -1]
    yield from _FENCE.findall(text)[: -_MOST - 1 : -1]
    yield text.strip().rpartition("\n")[2]
    yield text


def _tagged(text: str) -> Iterator[str]:
    """What stands between `[ANSWER]` and `[/ANSWER]`, the last one first."""
    tags = list(_TAG.finditer(text))[::-1]
    for closing, opening in pairwise(tags):
        if closing[1] and not opening[1]:
            yield text[opening.end() : closing.start()]


def _said(text: str, nouns: str) -> Iterator[str]:
    """What follows each mark: a code block, or the rest of the line."""
    for verdict in verdicts(text, nouns):
        fence = re.match(r"[\s:*_]*```", text[verdict.position :])
        block = _FENCE.search(text, verdict.position) if fence else None
        yield block[1] if block else verdict.text


def _peeled(text: str) -> Iterator[str]:
    """The text, then without a call before it, its full stop and its markup."""
    text = _CALL.sub("", text)
    yield text
    for _ in range(4):
        shorter = _shorter(text)
        if shorter == text:
            return
        text = shorter
        yield text


def _shorter(text: str) -> str:
    text = text.strip().removesuffix(".").strip()
    for mark in ("```", "**", "__", "`", "*", "$"):
        if len(text) > 2 * len(mark) and text.startswith(mark) and text.endswith(mark):
            return text[len(mark) : -len(mark)].strip()
    return text.removesuffix("**")
