"""Which keys a spec takes at each place, read from the annotations of the pydantic models."""

from __future__ import annotations

import types
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel

from moa.spec.document import Path

KEY_MARK = "[key]"
"""What pydantic puts after a key of a mapping that is wrong itself."""


def branches(annotation: Any) -> Iterator[Any]:
    """The members of a union without None, `Annotated` taken off."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from branches(get_args(annotation)[0])
    elif origin in {Union, types.UnionType}:
        for member in get_args(annotation):
            yield from branches(member)
    elif annotation is not type(None):
        yield annotation


def children(annotation: Any, part: str | int) -> Iterator[Any]:
    """The annotations of what `part` leads to."""
    for branch in branches(annotation):
        if _is_model(branch):
            if part in branch.model_fields:
                yield branch.model_fields[part].annotation
        elif get_args(branch):
            yield get_args(branch)[-1 if get_origin(branch) is dict else 0]


def models_at(kind: type[BaseModel], path: Sequence[str | int]) -> list[type[BaseModel]]:
    """The models that may stand at `path` of a `kind`."""
    found: list[Any] = [kind]
    for part in path:
        found = [child for annotation in found for child in children(annotation, part)]
    return [branch for annotation in found for branch in branches(annotation) if _is_model(branch)]


class Place(NamedTuple):
    """A pydantic `loc` taken apart: the path in the data, and the union members that were tried.

    `forks` maps the length of the path before each union to the member's name.
    """

    path: Path
    forks: tuple[tuple[int, str], ...]
    at_key: bool


def place(kind: type[BaseModel], loc: Sequence[str | int]) -> Place:
    """Take the names of union members out of a pydantic `loc`."""
    found: list[Any] = [kind]
    path: list[str | int] = []
    forks: list[tuple[int, str]] = []
    for part in loc:
        at_fork = any(len(list(branches(annotation))) > 1 for annotation in found)
        if at_fork and (not forks or forks[-1][0] < len(path)):
            forks.append((len(path), str(part)))
        elif part != KEY_MARK:
            path.append(part)
            found = [child for annotation in found for child in children(annotation, part)]
    return Place(tuple(path), tuple(forks), bool(loc) and loc[-1] == KEY_MARK)


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
