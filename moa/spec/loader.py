"""Reading what users write: YAML text to a checked spec, every mistake with its line and column."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from pydantic import ValidationError

from moa.errors import Problem, SpecError, UsageError
from moa.spec.agent import AgentSpec, Spec
from moa.spec.defence import DefenceSpec, hears_references
from moa.spec.document import Document, parse, parse_leniently
from moa.spec.document import Path as DataPath
from moa.spec.evaluation import EvalSpec
from moa.spec.graph import GraphSpec
from moa.spec.mistakes import Mistake, find_mistakes
from moa.spec.model import ModelSpec, ModelsSpec
from moa.spec.prompts import find_prompt_problems
from moa.spec.questions import find_question_problems
from moa.spec.repair import is_upset, repair
from moa.spec.words import nearest

__all__ = [
    "Document",
    "Examined",
    "Located",
    "examine",
    "in_order",
    "kind_of",
    "parse",
    "read_agent",
    "read_defence",
    "read_eval",
    "read_graph",
    "read_models",
    "read_spec",
    "read_text",
]

T = TypeVar("T", bound=Spec)

_ATTEMPTS = 4
"""Readings of one file, each past the mistakes of the one before."""


@dataclass(frozen=True, slots=True)
class Located(Generic[T]):
    """A spec and the document that it was read from, which knows the position of everything."""

    spec: T
    document: Document

    @property
    def folder(self) -> Path | None:
        """The folder of the file, from which its paths are meant; None for text that is not a file."""
        path = Path(self.document.source)
        return path.parent if path.suffix in {".yaml", ".yml"} else None


def read_spec(text: str, source: str, kind: type[T]) -> Located[T]:
    """Read one spec of `kind`; raises `SpecError` with all mistakes at once.

    `source` stands before the line in every message: the file's name.
    """
    examined = examine(text, source, kind)
    if examined.problems or examined.spec is None:
        raise SpecError(examined.problems)
    return Located(examined.spec, examined.document)


def read_agent(path: Path) -> Located[AgentSpec]:
    """Read an agent file; without a `name` it is called like the file."""
    return _read(path, AgentSpec)


def read_defence(path: Path) -> Located[DefenceSpec]:
    """Read a defence file; without a `name` it is called like the file."""
    return _read(path, DefenceSpec)


def read_eval(path: Path) -> Located[EvalSpec]:
    """Read an evaluation's file; without a `name` it is called like the file."""
    return _read(path, EvalSpec)


def read_graph(path: Path) -> Located[GraphSpec]:
    """Read a graph file; without a `name` it is called like the file."""
    return _read(path, GraphSpec)


def read_models(path: Path) -> Located[ModelsSpec]:
    """Read a models.yaml; each entry is called like its key, and so is its model unless it says otherwise."""
    return _read(path, ModelsSpec)


def read_text(path: Path) -> str:
    """The text of a file; raises `UsageError` where there is none and `SpecError` where it is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise SpecError([Problem("is not UTF-8 text: save the file in that encoding", str(path))]) from None
    except OSError as error:
        raise UsageError(f"cannot read {path}: {(error.strerror or 'not a file').lower()}") from None
    except ValueError:
        raise UsageError(f"cannot read {str(path)!r}: not the name of a file") from None


FileKind = type[AgentSpec] | type[GraphSpec] | type[DefenceSpec] | type[EvalSpec] | type[ModelsSpec]


def kind_of(data: Mapping[str, Any]) -> FileKind:
    """What kind of file this is, by its keys.

    `nodes` make a graph, or a defence where they hear `references` that are no node; `models` a models
    file, `data` an evaluation; else it is an agent.
    """
    if hears_references(data):
        return DefenceSpec
    telling: dict[str, FileKind] = {"nodes": GraphSpec, "models": ModelsSpec, "data": EvalSpec}
    for key, kind in telling.items():
        if key in data:
            return kind
    if data.keys() & (AgentSpec.model_fields.keys() - GraphSpec.model_fields.keys()):
        return AgentSpec
    if data.keys() & {"judge", "baseline", "numbers"}:
        return EvalSpec
    meant = next(filter(None, (nearest(key, telling) for key in data)), None)
    return telling[meant] if meant else AgentSpec


class Examined(NamedTuple, Generic[T]):
    """A spec as far as it can be made out, and all that is wrong with it.

    `spec` is None where too little is right. `lost` are the places whose values had to be left out
    of it. `document` is the file as `spec` sees it.
    """

    spec: T | None
    document: Document
    problems: list[Problem]
    lost: set[DataPath]


def examine(text: str, source: str, kind: type[T]) -> Examined[T]:
    """Read as much as possible; raises `SpecError` only for text that is not a YAML mapping at all."""
    document, problems = parse_leniently(text, source)
    spec, lost = None, set[DataPath]()
    for _ in range(_ATTEMPTS):
        spec, mistakes = _validate(kind, document)
        new = [mistake for mistake in mistakes if not is_upset(mistake.path, lost)]
        problems += [document.problem(m.path, m.message, key=m.key) for m in new]
        repaired = repair(document, mistakes) if mistakes else None
        if repaired is None:
            break
        document, lost = repaired.document, lost | repaired.lost
    if spec is not None:
        spec = _named(spec, source)
        problems += find_prompt_problems(spec, document, lost)
        problems += find_question_problems(spec, document, lost)
    return Examined(spec, document, in_order(problems), lost)


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """The problems as they stand in the file, one at each position: the first that was found."""
    by_place: dict[tuple[int, int], Problem] = {}
    for problem in problems:
        by_place.setdefault((problem.line, problem.column), problem)
    return [by_place[place] for place in sorted(by_place)]


def _read(path: Path, kind: type[T]) -> Located[T]:
    return read_spec(read_text(path), str(path), kind)


def _validate(kind: type[T], document: Document) -> tuple[T | None, list[Mistake]]:
    try:
        return kind.model_validate(document.data), []
    except ValidationError as error:
        return None, find_mistakes(error, kind, document.data, document.written)


def _named(spec: T, source: str) -> T:
    """`spec` with the names that the file and its keys imply."""
    if isinstance(spec, ModelsSpec):
        return spec.model_copy(update={"models": _named_entries(spec.models)})
    if getattr(spec, "name", None) == "":
        return spec.model_copy(update={"name": Path(source).stem})
    return spec


def _named_entries(models: dict[str, ModelSpec]) -> dict[str, ModelSpec]:
    return {
        key: entry.model_copy(update={"name": key, "model": entry.model or key})
        for key, entry in models.items()
    }
