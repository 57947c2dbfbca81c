"""One item from one row: its turns, its options, its answer, and whatever else the row says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any

from pydantic import JsonValue

from moa.errors import SpecError
from moa.evaluate.deception.targets import SequentialTargets, seeded_target
from moa.evaluate.records import Item
from moa.evaluate.tasks.options import Options, read_options
from moa.evaluate.tasks.rows import Row, as_list, paths
from moa.evaluate.tasks.turns import history_of, turns_of
from moa.spec.evaluation import EvalSpec
from moa.spec.template import render

OURS = (
    "id",
    "prompt",
    "turns",
    "messages",
    "group",
    "answer",
    "options",
    "references",
    "checklist",
    "baseline",
)
"""Fields of a row that an item has a place for."""


def build_item(
    spec: EvalSpec, row: Row, name: str, seed: int, targets: SequentialTargets | None = None
) -> Item:
    """The item `name` that a row describes; raises `UsageError` that names the row for anything amiss.

    `targets` draws the deceivers' option where the evaluation has one draw after another.
    """
    options = read_options(spec.answer, row, name, seed)
    variables = _variables(row, options) if spec.prompt or spec.system else {}
    return Item(
        id=name,
        turns=(_rendered(spec.prompt, variables, row),) if spec.prompt else turns_of(row),
        history=history_of(row, _rendered(spec.system, variables, row) if spec.system else None),
        group="" if (group := row.get("group")) is None else str(group),
        answer=options.answer if options.texts else _answer(spec, row),
        options=options.texts,
        target=_target(options, name, seed, targets),
        checklist=_texts(row, "checklist"),
        references=_texts(row, "references"),
        baseline=_texts(row, "baseline"),
        fields=dict(_others(row)) | _given(spec, row),
    )


def pass_over(spec: EvalSpec, row: Row, name: str, seed: int, targets: SequentialTargets) -> None:
    """Take the draw of a row that is not asked, so that the next one has the same target as without a limit."""
    _target(read_options(spec.answer, row, name, seed), name, seed, targets)


def _variables(row: Row, options: Options) -> Mapping[str, Any]:
    """What a template sees: the row's fields, ours by our names, and the options with their letters."""
    ours = {key: row.get(key) for key in (*OURS, *row.source.fields)}
    found = {key: value for key, value in ours.items() if value is not None}
    if options.texts:
        found |= {"options": list(options.texts), "lettered": options.lettered}
    return {**row.fields, **found}


def _rendered(template: str, variables: Mapping[str, Any], row: Row) -> str:
    try:
        text = render(template, variables)
    except SpecError as error:
        raise row.refuse(f"{error}; the row has {', '.join(sorted(row.fields))}") from None
    if not text.strip():
        raise row.refuse("the question is empty")
    return text


def _answer(spec: EvalSpec, row: Row) -> str | None:
    if spec.answer is None:
        return None
    value = row.get("answer")
    if value is None or isinstance(value, list | dict) or not str(value).strip():
        raise row.refuse(f"has no answer: expected one in {_named(row, 'answer')}")
    return str(value)


def _target(options: Options, name: str, seed: int, targets: SequentialTargets | None) -> str | None:
    """The wrong option that deceivers are for; None where there are no options."""
    if not options.texts:
        return None
    if targets is not None:
        return targets.next(options.labels, options.answer)
    return seeded_target(options.labels, options.answer, name, seed)


def _given(spec: EvalSpec, row: Row) -> dict[str, JsonValue]:
    """The fields that the evaluation's protocol gives to agents."""
    found: dict[str, JsonValue] = {}
    for name in spec.protocol.given if spec.protocol else ():
        value = row.get(name)
        if value is None:
            raise row.refuse(f"has no {_named(row, name)}, which the evaluation's `protocol` gives to agents")
        found[name] = _json(value)
    return found


def _texts(row: Row, name: str) -> tuple[str, ...]:
    value = as_list(row.get(name))
    if value is None:
        return ()
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise row.refuse(f"its {_named(row, name)} is neither text nor a list of texts")
    return tuple(texts)


def _named(row: Row, name: str) -> str:
    return " or ".join(f"`{path}`" for path in paths(row.source, name))


def _others(row: Row) -> Iterator[tuple[str, JsonValue]]:
    """The fields that the item has no place for."""
    used = {path.split(".")[0] for name in (*OURS, *row.source.fields) for path in paths(row.source, name)}
    for key, value in row.fields.items():
        if key not in used:
            yield str(key), _json(value)


def _json(value: Any) -> JsonValue:
    if isinstance(value, float) and not isfinite(value):
        return None
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(key): _json(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_json(inner) for inner in value]
    return str(value)
