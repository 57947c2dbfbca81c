"""Where finished runs are found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

Json = dict[str, Any]


class Page(NamedTuple):
    """Some of the runs that fit a search, the newest or the first ones first."""

    total: int
    rows: list[Json]
    note: str = ""
    """What the reader should know of the search."""


class Source(Protocol):
    """Finished runs that can be listed, searched and opened; read-only. Called in a thread."""

    kind: str
    """`store` or `experiment`."""
    name: str

    def page(self, words: str, offset: int, count: int) -> Page:
        """Runs that hold all `words`; raises `MoaError`."""
        ...

    def run(self, id: str) -> Json | None:
        """One run with its nodes; None for an id that names none."""
        ...


def matching(words: str, texts: Sequence[str]) -> bool:
    """Whether each of the words stands in one of the texts, which are in lower case."""
    return all(any(word in text for text in texts) for word in words.lower().split())
