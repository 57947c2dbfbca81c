"""Selectors that need no comparison: the first, by length, by chance, in random order, and labels."""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Literal

from pydantic import Field, model_validator

from moa.nodes.response import Response
from moa.nodes.selector import SelectContext, Selector

LabelBy = Literal["number", "letter", "node", "model", "text"]


class First(Selector):
    """The first `k` responses, in the order of the inputs."""

    k: int = Field(1, ge=1)

    async def select(self, responses: Sequence[Response], context: SelectContext) -> list[Response]:
        """Responses 1 to `k`."""
        return list(responses[: self.k])

    def kept(self, count: int) -> int:
        return min(self.k, count)


class Longest(Selector):
    """The `k` longest responses in characters, longest first; of equal ones the earlier."""

    k: int = Field(1, ge=1)

    async def select(self, responses: Sequence[Response], context: SelectContext) -> list[Response]:
        """Responses by falling length."""
        return sorted(responses, key=lambda response: -len(response.text))[: self.k]

    def kept(self, count: int) -> int:
        return min(self.k, count)


class Shortest(Selector):
    """The `k` shortest responses in characters, shortest first; of equal ones the earlier."""

    k: int = Field(1, ge=1)

    async def select(self, responses: Sequence[Response], context: SelectContext) -> list[Response]:
        """Responses by rising length."""
        return sorted(responses, key=lambda response: len(response.text))[: self.k]

    def kept(self, count: int) -> int:
        return min(self.k, count)


class AtRandom(Selector):
    """`k` responses drawn by chance, which the run's seed, the question and the node decide."""

    k: int = Field(1, ge=1)

    async def select(self, responses: Sequence[Response], context: SelectContext) -> list[Response]:
        """Responses in the order in which they were drawn."""
        return Random(context.seed).sample(responses, self.kept(len(responses)))

    def kept(self, count: int) -> int:
        return min(self.k, count)


class Shuffle(Selector):
    """All responses in a random order, which the run's seed, the question and the node decide."""

    async def select(self, responses: Sequence[Response], context: SelectContext) -> list[Response]:
        """The responses, shuffled."""
        shuffled = list(responses)
        Random(context.seed).shuffle(shuffled)
        return shuffled


class Label(Selector):
    """All responses in their order, each with a label that the next agent's template can show.

    `by` is `number` (from 1), `letter` (A to Z, then AA), `node`, `model`, or `text` with the label
    itself in `text`, the same for all.
    """

    by: LabelBy = "number"
    text: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _text_means_by_text(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("text") is not None and "by" not in data:
            return {**data, "by": "text"}
        return data

    @model_validator(mode="after")
    def _text_belongs_to_text(self) -> Label:
        if (self.by == "text") != (self.text is not None):
            raise ValueError("`by: text` and `text` (the label itself) belong together")
        return self

    async def select(self, responses: Sequence[Response], context: SelectContext) -> list[Response]:
        """Labelled copies."""
        return [
            response.labelled(self._label_of(response, number))
            for number, response in enumerate(responses, 1)
        ]

    def _label_of(self, response: Response, number: int) -> str:
        labels: dict[LabelBy, Callable[[], str]] = {
            "number": lambda: str(number),
            "letter": lambda: _letters(number),
            "node": lambda: response.node,
            "model": lambda: response.model or response.node,
            "text": lambda: self.text or "",
        }
        return labels[self.by]()


def _letters(number: int) -> str:
    """A, B, ... Z, AA, AB, ..."""
    name = ""
    while number:
        number, digit = divmod(number - 1, 26)
        name = string.ascii_uppercase[digit] + name
    return name
