"""What nodes hand on to each other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from moa.values import value


@value(frozen=True, slots=True)
class Response:
    """One response on its way through the graph.

    `value` is what the agent read from the text (a choice, a score, a ranking, an object); `label` and
    `score` are what selectors attach.
    """

    text: str
    node: str
    model: str | None = None
    label: str | None = None
    score: float | None = None
    value: Any = None

    def labelled(self, label: str) -> Response:
        """A copy that carries `label`."""
        return replace(self, label=label)

    def scored(self, score: float) -> Response:
        """A copy that carries `score`."""
        return replace(self, score=score)
