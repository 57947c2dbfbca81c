"""The right answers that simulated members know: questions and answers of a JSONL file, or an experiment's items."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from string import ascii_uppercase
from typing import Any, NamedTuple

from moa.errors import UsageError

_QUESTIONS = ("question", "stem", "prompt", "instruction")


class Known(NamedTuple):
    """A question of the file, and its right answer as the file gives it."""

    question: str
    answer: str

    def label(self, labels: Sequence[str]) -> str:
        """The answer as one of these labels: letters and numbers from 0 stand for each other."""
        if self.answer in labels or not labels:
            return self.answer
        place = int(self.answer) if self.answer.isdecimal() else ascii_uppercase.find(self.answer)
        return labels[place] if 0 <= place < len(labels) else self.answer


class Truth:
    """Finds the question that a prompt asks: the longest of the file's that it holds word for word."""

    def __init__(self, path: str) -> None:
        self._rows = sorted(_rows(path), key=lambda row: -len(row.question))

    def find(self, prompt: str) -> Known | None:
        """The question and its answer; None for a prompt that holds none of them."""
        return next((row for row in self._rows if row.question in prompt), None)


@lru_cache(maxsize=16)
def open_truth(path: str) -> Truth:
    """The truth in a file; the same file is read once."""
    return Truth(path)


def _rows(path: str) -> Iterator[Known]:
    try:
        lines = Path(path).expanduser().read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise UsageError(
            f"cannot read the truth in {path}: {(error.strerror or 'no file').lower()}"
        ) from None
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield _known(line, f"{path}:{number}")


def _known(line: str, place: str) -> Known:
    try:
        row: Any = json.loads(line)
    except ValueError:
        raise UsageError(f"{place}: not JSON") from None
    if not isinstance(row, Mapping) or row.get("answer") is None:
        raise UsageError(f"{place}: expected `question` and `answer`")
    turns = row.get("turns")
    asked = {**row, "question": turns[-1]} if isinstance(turns, list) and turns else row
    question = next((asked[name] for name in _QUESTIONS if isinstance(asked.get(name), str)), None)
    if not question:
        raise UsageError(f"{place}: has no question: expected one of {', '.join(_QUESTIONS)}")
    return Known(question.strip(), str(row["answer"]).strip())
