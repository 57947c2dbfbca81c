"""Going on past mistakes, so that one reading of a file shows them all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, NamedTuple

from moa.spec.document import Document, Path
from moa.spec.mistakes import Mistake, value_at


class Repaired(NamedTuple):
    """A document without the mistakes found so far, and the places whose values it lost for that."""

    document: Document
    lost: set[Path]


def repair(document: Document, mistakes: Iterable[Mistake]) -> Repaired | None:
    """Rename keys that are surely misspelt and take out what is wrong; None where all of it is."""
    data = _copied(document.data)
    renamed: dict[Path, str] = {}
    lost: set[Path] = set()
    for mistake in sorted(mistakes, key=lambda mistake: -len(mistake.path)):
        path = _removable(document.data, mistake.path)
        if not path:
            return None
        if mistake.instead is not None and _rename(data, path, mistake.instead):
            renamed[(*path[:-1], mistake.instead)] = str(path[-1])
        else:
            value_at(data, path[:-1]).pop(path[-1], None)
            lost.add(path)
    return Repaired(replace(document, data=data, renamed={**document.renamed, **renamed}), lost)


def is_upset(path: Path, lost: Iterable[Path]) -> bool:
    """Whether what is wrong at `path` may only be so because a value at or below it was taken out."""
    return any(place[: len(path)] == path for place in lost)


def _removable(data: Any, path: Path) -> Path:
    """The place to take out: the nearest key of a mapping, so that the entries of a list keep their numbers."""
    for depth, part in enumerate(path):
        owner = value_at(data, path[:depth])
        if not isinstance(owner, dict) or part not in owner:
            return path[:depth]
    return path


def _rename(data: Any, path: Path, name: str) -> bool:
    owner = value_at(data, path[:-1])
    if name in owner or path[-1] not in owner:
        return False
    owner[name] = owner.pop(path[-1])
    return True


def _copied(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _copied(value) for key, value in data.items()}
    return [_copied(item) for item in data] if isinstance(data, list) else data
