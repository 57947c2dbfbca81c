"""Exact match: what an answer says, read from its text and compared with the right one."""

from __future__ import annotations

import re
from typing import NamedTuple

from moa.evaluate.records import Answer, Item, Verdict
from moa.evaluate.tasks.reading.formula import read_formula, same_formula
from moa.evaluate.tasks.reading.index import read_index
from moa.evaluate.tasks.reading.letter import read_letter
from moa.evaluate.tasks.reading.literal import parse_literal, read_literal
from moa.evaluate.tasks.reading.number import Number, read_number
from moa.evaluate.tasks.reading.verdict import spoken
from moa.evaluate.tasks.reading.words import plain, read_words
from moa.spec.evaluation import AnswerSpec


class Reading(NamedTuple):
    """What was read from a reply, in words, and whether it is right."""

    extracted: str
    right: bool


def check_answer(spec: AnswerSpec, item: Item, answer: Answer) -> Verdict:
    """Whether an answer is right: 1 or 0, or `unparsed` where nothing could be read from it.

    `details` has what was `extracted` (None where nothing was) and what was `expected`. The last turn's output
    counts. Never raises for any text.
    """
    failed = answer.state == "failed"
    read = None if failed else read_answer(spec, item, answer.output)
    return Verdict(
        item=item.id,
        entrant=answer.entrant,
        kind="correct",
        judge="exact",
        state="failed" if failed else "unparsed" if read is None else "ok",
        value=None if read is None else float(read.right),
        turn=max(0, len(answer.outputs) - 1),
        text=(answer.error or "") if failed else "",
        method=spec.read,
        details={"extracted": read and read.extracted, "expected": item.answer},
    )


def read_answer(spec: AnswerSpec, item: Item, text: str) -> Reading | None:
    """What a reply says to an item, and whether it is right; None where it says nothing that can be read."""
    part = text if spec.pattern is None else _part(spec.pattern, text)
    return None if part is None else _READERS[spec.read](part, item)


def _part(pattern: str, text: str) -> str | None:
    """The first group of a pattern's last match."""
    found = [match[1] for match in re.finditer(pattern, spoken(text), re.MULTILINE) if match[1]]
    return found[-1] if found else None


def _number(text: str, item: Item) -> Reading | None:
    said, expected = read_number(text), read_number(item.answer or "")
    if said is None:
        return None
    return Reading(_shown(said), expected is not None and said.equals(expected))


def _shown(number: Number) -> str:
    exact = float(number.value) if abs(number.value) < 10**15 else None
    text = str(number.value) if exact is None or number.value.denominator == 1 else f"{exact:g}"
    return f"{text}%" if number.percent else text


def _formula(text: str, item: Item) -> Reading | None:
    said = read_formula(text)
    return None if said is None else Reading(said, same_formula(said, item.answer or ""))


def _letter(text: str, item: Item) -> Reading | None:
    said = read_letter(text, item.options)
    return None if said is None else Reading(said, said == item.answer)


def _index(text: str, item: Item) -> Reading | None:
    said = read_index(text, item.options)
    return None if said is None else Reading(said, said == item.answer)


def _literal(text: str, item: Item) -> Reading | None:
    said, expected = read_literal(text), parse_literal(item.answer or "")
    if said is None:
        return None
    return Reading(said.text, said.text == item.answer if expected is None else said.equals(expected))


def _words(text: str, item: Item) -> Reading | None:
    said = read_words(text)
    return None if said is None else Reading(said, said == plain(item.answer or ""))


_READERS = {
    "number": _number,
    "boxed": _formula,
    "letter": _letter,
    "index": _index,
    "literal": _literal,
    "text": _words,
}
