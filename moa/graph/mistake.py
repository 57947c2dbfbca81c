"""A mistake in a graph, before it has a position in a file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from moa.spec.words import nearest

Loc = tuple[str | int, ...]


class Mistake(NamedTuple):
    """What is wrong and how to mend it; `loc` is the path of keys and indices in the graph's file."""

    loc: Loc
    message: str


def hint(name: str, known: Iterable[str]) -> str:
    """`; did you mean ...?` for the nearest known name, else a list of all; empty where there is none."""
    names = list(known)
    meant = nearest(name, names)
    if meant is not None:
        return f"; did you mean `{meant}`?"
    return f"; known: {', '.join(names)}" if names else ""
