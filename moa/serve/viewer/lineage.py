"""Which stored samples heard which: a store keeps requests, and a run is found again in what they quote.

A node that hears others has their texts in its prompt, word for word. So a sample whose text stands in a later
prompt was heard there, and a run is a sample that nobody heard, with everything behind it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

SHORT = 20
"""Characters under which a text is common: it also needs its question in the prompt."""
TOGETHER = 60.0
"""Seconds between samples that belong to one run, at most."""
KEPT = 4000
"""Characters of a text that a search looks at."""
_MARKER = re.compile(r"^\W{0,3}(?:response |answer |model )?[\w-]{1,3}[.):\]>]+\s+", re.IGNORECASE)


class Key(NamedTuple):
    """A sample of the store: its request's number and its own."""

    request: int
    sample: int


class Turn(NamedTuple):
    """A message of a prompt as text."""

    role: str
    text: str


@dataclass(slots=True, eq=False)
class Sample:
    """One stored sample, and which others it heard."""

    key: Key
    model: str
    created: float
    text: str
    question: str
    """The latest user turn of the conversation that began it."""
    heard: tuple[Sample, ...] = ()
    was_heard: bool = False
    words: str = field(default="", repr=False)
    """What a search looks at."""


class Lineage:
    """Samples and who heard whom; they must be added in the order in which they were made."""

    def __init__(self) -> None:
        self.samples: dict[Key, Sample] = {}
        self._by_line: dict[str, list[Sample]] = {}

    def add(self, key: Key, model: str, created: float, prompt: Sequence[Turn], text: str) -> None:
        """Take in one sample."""
        asked = "\n".join(turn.text for turn in prompt if turn.role != "assistant")
        heard = tuple(self._heard(asked, key))
        own = next((turn.text for turn in reversed(prompt) if turn.role == "user"), "")
        question = heard[0].question if heard else own
        sample = Sample(key, model, created, text.strip(), question, heard)
        sample.words = f"{question[:KEPT]}\n{text[:KEPT]}\n{model}".lower()
        for each in heard:
            each.was_heard = True
        self.samples[key] = sample
        if sample.text:
            self._by_line.setdefault(_longest_line(sample.text), []).append(sample)

    def runs(self) -> list[list[Sample]]:
        """The samples that nobody heard, those of one request or of one vote together; the newest first."""
        last = [sample for sample in self.samples.values() if not sample.was_heard]
        last.sort(key=lambda sample: (sample.question, _request(sample), sample.created))
        found: list[list[Sample]] = []
        for _, alike in groupby(last, key=lambda sample: (sample.question, _request(sample))):
            found += _together(alike)
        return sorted(found, key=lambda run: run[-1].created, reverse=True)

    def _heard(self, asked: str, key: Key) -> Iterator[Sample]:
        """The samples that a prompt quotes, in the order in which they stand there; of equal texts the latest."""
        candidates: dict[str, list[Sample]] = {}
        for line in set(_lines(asked)):
            for sample in self._by_line.get(line, ()):
                if sample.key.request != key.request:
                    candidates.setdefault(sample.text, []).append(sample)
        for text in sorted(candidates, key=asked.find):
            alike = [one for one in candidates[text] if len(text) >= SHORT or one.question in asked]
            times = asked.count(text)
            if times and alike:
                yield from alike[-times:]


def ancestry(run: Iterable[Sample]) -> list[Sample]:
    """Everything behind the last samples of a run and these, those that were heard first."""
    found: dict[Key, Sample] = {}

    def visit(sample: Sample) -> None:
        stack = [(sample, iter(sample.heard))]
        while stack:
            current, rest = stack[-1]
            following = next((one for one in rest if one.key not in found), None)
            if following is None:
                found.setdefault(current.key, current)
                stack.pop()
            else:
                stack.append((following, iter(following.heard)))

    for sample in run:
        visit(sample)
    return list(found.values())


def _request(sample: Sample) -> int:
    """What tells last samples of one question apart: their request, unless they heard nobody, as voters do."""
    return sample.key.request if sample.heard else 0


def _together(samples: Iterable[Sample]) -> list[list[Sample]]:
    found: list[list[Sample]] = []
    for sample in samples:
        if found and sample.created - found[-1][-1].created <= TOGETHER:
            found[-1].append(sample)
        else:
            found.append([sample])
    return found


def _longest_line(text: str) -> str:
    return max((line.strip() for line in text.splitlines()), key=len)


def _lines(asked: str) -> Iterator[str]:
    """The lines of a prompt, also without the number or label before a reference."""
    for line in asked.splitlines():
        whole = line.strip()
        yield whole
        bare = _MARKER.sub("", whole)
        if bare != whole:
            yield bare
