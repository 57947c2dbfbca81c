"""The options of a multiple-choice question, their letters, and which of them is right."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from string import ascii_uppercase
from typing import Any, NamedTuple

from moa.evaluate.tasks.rows import Row, as_list
from moa.spec.evaluation import AnswerSpec

_ABOUT_OTHERS = re.compile(
    r"\b(?:above|below|both|neither|[A-Z] (?:and|or) [A-Z])\b|^[A-Z](?:, [A-Z])+", re.IGNORECASE
)


class Options(NamedTuple):
    """Options in the order in which they are shown, and the letter or number of the right one."""

    texts: tuple[str, ...] = ()
    answer: str = ""

    @property
    def labels(self) -> tuple[str, ...]:
        """What each option is called."""
        return labels(len(self.texts), self.answer)

    @property
    def lettered(self) -> str:
        """A line for each option, with its letter."""
        return lettered(self.texts, self.labels)


def labels(count: int, answer: str) -> tuple[str, ...]:
    """What options are called, in the manner of the right one: letters, or numbers from 0."""
    return tuple(map(str, range(count))) if answer.isdecimal() else tuple(ascii_uppercase[:count])


def lettered(texts: Sequence[str], labels: Sequence[str]) -> str:
    """A line for each option: `A. ...`, or `(0) ...`."""
    lines = zip(labels, texts, strict=True)
    return "\n".join(
        f"({label}) {text}" if label.isdecimal() else f"{label}. {text}" for label, text in lines
    )


def read_options(answer: AnswerSpec | None, row: Row, name: str, seed: int) -> Options:
    """The options of a row; none where it is no multiple-choice question."""
    if answer is None or not answer.of_options:
        return Options()
    texts = _texts(row)
    right = _index(answer, row, texts)
    order = list(range(len(texts)))
    if answer.shuffle and not any(_ABOUT_OTHERS.search(text) for text in texts):
        random.Random(f"{seed}\0{name}").shuffle(order)
    place = order.index(right)
    label = str(place) if answer.read == "index" else ascii_uppercase[place]
    return Options(tuple(texts[index] for index in order), label)


def _texts(row: Row) -> list[str]:
    found = as_list(row.get("options"))
    if not isinstance(found, list) or not 2 <= len(found) <= len(ascii_uppercase):
        raise row.refuse("needs a list of 2 to 26 `options`")
    texts = [str(option) if isinstance(option, int | float) else option for option in found]
    for number, text in enumerate(texts, 1):
        if not isinstance(text, str) or not text.strip():
            raise row.refuse(f"its option {number} is empty or no text")
    return texts


def _index(answer: AnswerSpec, row: Row, texts: list[str]) -> int:
    """The place of the right option, from 0."""
    value = row.get("answer")
    if value is None or isinstance(value, bool | list | dict):
        raise row.refuse("has no answer: expected the right option")
    found = _meanings(value, texts)
    ways: tuple[str, ...] = (answer.given,) if answer.given else ("text", "letter", "index", "number")
    if answer.given is None and isinstance(value, int | float):
        ways = ("index",) if "index" in found else ("text",)
    meant = {found[way] for way in ways if way in found}
    if not meant:
        raise row.refuse(f"its answer {value!r} is not among its {len(texts)} options")
    if len(meant) > 1:
        raise row.refuse(f"its answer {value!r} may mean several options: say `given` under `answer`")
    return meant.pop()


def _meanings(value: Any, texts: list[str]) -> dict[str, int]:
    """What an answer may mean, by how it is given."""
    text = str(int(value) if isinstance(value, float) and value.is_integer() else value).strip()
    found: dict[str, int] = {}
    if texts.count(text) == 1:
        found["text"] = texts.index(text)
    if len(text) == 1 and text in ascii_uppercase[: len(texts)]:
        found["letter"] = ascii_uppercase.index(text)
    if text.isdecimal() and int(text) < len(texts):
        found["index"] = int(text)
    if text.isdecimal() and 1 <= int(text) <= len(texts):
        found["number"] = int(text) - 1
    return found
