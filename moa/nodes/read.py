"""Reading a reply: the verdict in a text, as a choice, a score, a ranking or an object."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from moa.nodes.preference import labels_in, read_preference
from moa.spec.agent import AgentSpec

_MOST_OBJECTS = 200
"""Places where an object may begin that are tried, so that a reply of braces costs no time."""

_NOUN = r"(?:responses?|candidates?|answers?|options?|choices?|numbers?)"
_NUMBER = r"(?<![\d.])(\d{1,6})(?!\d|\.\d)"
_MARKS = r"[*_`\"'#(\[\])]{0,6}"
_NAMED = rf"{_NOUN}\s{{0,2}}{_MARKS}\s?{_NUMBER}"
_GAP = (
    rf"(?:\s|{_NOUN}\b|(?:overall|one|is|was|with|would be|to be|the|as|for)\b|[:=#*_(\[\"'`]|->|→){{1,12}}?"
)
_DENIED = r"(?<!\bnot )(?<!\bno )(?<!n't )"
_BEST = (
    rf"{_DENIED}\b(?:best|winner|winning|verdict|select(?:ed|ion)?|chosen?|choose|choice|pick(?:ed)?|prefer(?:red)?"
    r"|consistent|go with|final answer|decision)\b"
)
_PRAISE = r"(?:best|winner|wins|better|strongest|most (?:consistent|accurate|helpful|complete|correct))\b"
_PLAIN_GAP = r"(?:(?!\b(?:not|never|than|nor|or|and|but)\b|n't)[^\d.!?;,\n]){1,30}?"

_DOUBLE = re.compile(r"\[\[\s{0,3}(\d{1,6})\s{0,3}\]\]")
_VERDICTS = tuple(
    re.compile(pattern, re.IGNORECASE | re.MULTILINE)
    for pattern in (
        rf"{_BEST}{_GAP}{_NUMBER}",
        rf"\b{_NAMED}[\])*_`]{{0,4}}{_PLAIN_GAP}\b{_PRAISE}",
        rf"^\W{{0,8}}(?:final\s+)?(?:answer|choice|verdict)\W{{0,3}}[:=]\W{{0,6}}(?:{_NOUN}\s{{0,2}})?{_MARKS}{_NUMBER}",
        rf"^[ \t]{{0,8}}{_MARKS}(?:{_NOUN}\s{{0,2}})?{_MARKS}{_NUMBER}[\])*_`.\"':]{{0,6}}[ \t]{{0,8}}$",
    )
)
_SINGLE = re.compile(r"\[\s{0,3}(\d{1,6})\s{0,3}\]")
_MENTION = re.compile(
    r"(?<!than )(?<!over )(?<!unlike )(?<!not )(?<!nor )(?<!neither )(?<!from )(?<!to )\b" + _NAMED,
    re.IGNORECASE,
)

_VALUE = r"(-?\d{1,9}(?:\.\d{1,9})?)"
_END = r"(?![\d]|\.\d)"
_SCORES = tuple(
    re.compile(pattern, re.IGNORECASE | re.MULTILINE)
    for pattern in (
        rf"\[\[\s{{0,3}}{_VALUE}\s{{0,3}}(?:/\s{{0,3}}\d+)?\s{{0,3}}\]\]",
        rf"\b(?:score|rating|grade|mark)\b(?:\s|\b(?:overall|is|of|was|would be)\b|[:=*_(\[\"'`]){{1,8}}?{_VALUE}{_END}",
        rf"(?<![\d./]){_VALUE}\s{{0,3}}/\s{{0,3}}\d+",
        rf"^[ \t]{{0,8}}[*_`(\[\"']{{0,4}}{_VALUE}[*_`)\]\"'.]{{0,4}}[ \t]{{0,8}}$",
    )
)
_ANY_VALUE = re.compile(rf"(?<![\w.]){_VALUE}(?![\w])")

_ITEM = rf"{_MARKS}(?:{_NOUN}\s{{0,2}})?{_MARKS}\d{{1,6}}{_MARKS}"
_CHAIN = re.compile(rf"{_ITEM}(?:\s{{0,3}}[>≻≥=]{{1,2}}\s{{0,3}}{_ITEM})+", re.IGNORECASE)
_LIST = re.compile(r"\d{1,6}(?:\s{0,3},\s{0,3}\d{1,6})+")
_LINES = re.compile(
    rf"^[ \t]{{0,8}}\d{{1,3}}[.):][ \t]{{0,4}}{_MARKS}{_NOUN}[ \t]{{0,4}}{_MARKS}(\d{{1,6}})\b",
    re.IGNORECASE | re.MULTILINE,
)
_DIGITS = re.compile(r"\d{1,6}")

_FENCE = re.compile(r"```(?:json)?[ \t]{0,8}\n(.*?)```", re.IGNORECASE | re.DOTALL)
_DECODER = json.JSONDecoder()


def read_reply(
    agent: AgentSpec,
    text: str,
    count: int,
    logprobs: Any = None,
    given: Mapping[str, Any] = MappingProxyType({}),
) -> Any | None:
    """What `agent.reads` asks for, read from a reply; None where the reply does not say it.

    `count` is the number of candidates that the reply may name, from 1. `choice` gives the number of
    the verdict (never the first number in sight), `score` a float (of `7/10` the 7), `ranking` the
    numbers from best to worst, each once and none invented, `json` a dict, `text` the text itself,
    and `preference` the probability of the first of the two `labels` that are `given`, from `logprobs` where
    there are any (`moa.nodes.preference`). With `pattern`, all of these read the first group of its last match. Never raises for any text.
    """
    if agent.reads == "preference":
        return read_preference(agent, text, logprobs, labels_in(agent, given))
    if agent.pattern is not None:
        found = _last_group(agent.pattern, text)
        return None if found is None else _PARTS[agent.reads](found, count)
    return _WHOLES[agent.reads](text, count)


def _last_group(pattern: str, text: str) -> str | None:
    groups = [match.group(1) for match in re.finditer(pattern, text, re.MULTILINE)]
    return groups[-1] if groups else None


def _spoken(text: str) -> str:
    """The reply without a thinking model's notes to itself."""
    after = text.rpartition("</think>")[2]
    return after.partition("<think>")[0]


def _last(patterns: Iterable[re.Pattern[str]], text: str) -> str | None:
    """The match that ends last, of all patterns together."""
    found = [match for pattern in patterns for match in pattern.finditer(text)]
    return max(found, key=lambda match: match.end(1)).group(1) if found else None


def _read_text(text: str, count: int) -> str | None:
    return text


def _read_choice(text: str, count: int) -> int | None:
    text = _spoken(text)
    for patterns in ((_DOUBLE,), _VERDICTS, (_SINGLE,), (_MENTION,)):
        found = _last(patterns, text)
        if found is not None:
            return _in_range(found, count)
    return None


def _in_range(number: str, count: int) -> int | None:
    return value if 1 <= (value := int(number)) <= count else None


def _read_score(text: str, count: int) -> float | None:
    text = _spoken(text)
    for pattern in _SCORES:
        found = _last((pattern,), text)
        if found is not None:
            return float(found)
    values = {float(found) for found in _ANY_VALUE.findall(text)}
    return values.pop() if len(values) == 1 else None


def _read_ranking(text: str, count: int) -> list[int] | None:
    text = _spoken(text)
    for pattern in (_CHAIN, _LIST):
        found = [match.group() for match in pattern.finditer(text)]
        if found:
            return _ranked(_DIGITS.findall(found[-1]), count)
    lines = _LINES.findall(text)
    if len(lines) > 1:
        return _ranked(lines, count)
    only = _read_choice(text, count)
    return None if only is None else [only]


def _ranked(numbers: Iterable[str], count: int) -> list[int] | None:
    valid = (_in_range(number, count) for number in numbers)
    return list(dict.fromkeys(number for number in valid if number is not None)) or None


def _read_json(text: str, count: int) -> dict[str, Any] | None:
    text = _spoken(text)
    for part in [*reversed(_FENCE.findall(text)), text]:
        found = _last_object(part)
        if found is not None:
            return found
    return None


def _last_object(text: str) -> dict[str, Any] | None:
    found = None
    start = text.find("{")
    for _ in range(_MOST_OBJECTS):
        if start < 0:
            break
        try:
            value, end = _DECODER.raw_decode(text, start)
        except (ValueError, RecursionError):
            end = start + 1
        else:
            found = value
        start = text.find("{", end)
    return found


def _part_choice(text: str, count: int) -> int | None:
    digits = _DIGITS.search(text)
    return _in_range(digits.group(), count) if digits else None


def _part_score(text: str, count: int) -> float | None:
    value = _ANY_VALUE.search(text)
    return float(value.group(1)) if value else None


def _part_ranking(text: str, count: int) -> list[int] | None:
    return _ranked(_DIGITS.findall(text), count)


_WHOLES = {
    "text": _read_text,
    "choice": _read_choice,
    "score": _read_score,
    "ranking": _read_ranking,
    "json": _read_json,
}
_PARTS = _WHOLES | {"choice": _part_choice, "score": _part_score, "ranking": _part_ranking}
