"""JSON schemas of what users write, for editors: completion, and mistakes underlined while typing."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from pydantic import BaseModel

from moa.errors import UsageError
from moa.spec.agent import AgentSpec, Arity, Sampling, Spec
from moa.spec.defence import DefenceNode, DefenceSpec
from moa.spec.evaluation import AnswerSpec, BaselineSpec, EvalSpec, JoinSpec, JudgeSpec, SourceSpec
from moa.spec.graph import GraphSpec, NodeSpec, Rounds, Select, Subsets, Window
from moa.spec.model import Limits, ModelSpec, ModelsSpec, Price

FILES: dict[str, type[Spec]] = {
    "agent": AgentSpec,
    "graph": GraphSpec,
    "defence": DefenceSpec,
    "models": ModelsSpec,
    "eval": EvalSpec,
}
"""The kinds of file that users write."""

_PARTS = (
    AgentSpec,
    Sampling,
    GraphSpec,
    NodeSpec,
    DefenceSpec,
    DefenceNode,
    Window,
    Subsets,
    Rounds,
    Select,
    ModelsSpec,
    ModelSpec,
    Price,
    Limits,
    EvalSpec,
    SourceSpec,
    BaselineSpec,
    JoinSpec,
    AnswerSpec,
    JudgeSpec,
)
_SHORT_FORMS: dict[str, list[dict[str, Any]]] = {
    Arity.__name__: [
        {"type": "integer", "minimum": 0},
        {"type": "string", "pattern": r"^\d+(\+|-\d+)?$", "examples": ["1+", "2-6"]},
    ],
    Rounds.__name__: [{"type": "integer", "minimum": 1}],
    Subsets.__name__: [{"const": "all"}],
    Select.__name__: [
        {"type": "string"},
        {
            "type": "object",
            "minProperties": 1,
            "maxProperties": 1,
            "propertyNames": {"not": {"enum": ["name", "options"]}},
            "additionalProperties": {"type": ["object", "null"]},
        },
    ],
}


def schema(kind: str) -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of a file of `kind`: `agent`, `graph`, `defence`, `models` or `eval`.

    The short forms are part of it: `select: majority`, `subsets: all`, `rounds: 3`, an arity of `1+`.
    """
    if kind not in FILES:
        raise UsageError(f"no schema of {kind!r}: choose one of {', '.join(FILES)}")
    built = FILES[kind].model_json_schema()
    parts = {FILES[kind].__name__: built, **built.get("$defs", {})}
    for model in _PARTS:
        _describe(parts.get(model.__name__, {}), model)
    if kind == "defence":
        for part in built["$defs"].values():
            _allow_variables(part)
    for name, forms in _SHORT_FORMS.items():
        if name in built.get("$defs", {}):
            built["$defs"][name] = _with_short_forms(built["$defs"][name], forms)
    _close(built)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **built, "title": f"moa: {kind} file"}


def _with_short_forms(full: dict[str, Any], forms: list[dict[str, Any]]) -> dict[str, Any]:
    description = full.pop("description", "")
    return {"description": description, "anyOf": [*forms, full]}


def _allow_variables(part: dict[str, Any]) -> None:
    """Where a defence's field takes a number, allow the name of a variable too: `$size`."""
    for inner in part.get("properties", {}).values():
        forms = inner.get("anyOf", [inner])
        if any(form.get("type") in {"integer", "number"} for form in forms):
            bare = [{key: value for key, value in form.items() if key != "description"} for form in forms]
            about = {key: inner[key] for key in ("description", "default") if key in inner}
            inner.clear()
            inner |= {"anyOf": [*bare, {"type": "string", "pattern": r"^\$[A-Za-z][A-Za-z0-9_]*$"}], **about}


def _close(part: Any) -> None:
    """Where keys follow a pattern, refuse the others; pydantic's schema leaves them free."""
    if isinstance(part, dict) and "patternProperties" in part:
        part["additionalProperties"] = False
    for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        _close(inner)


def _describe(part: dict[str, Any], model: type[BaseModel]) -> None:
    """Put what the code says about each field into the schema, and drop titles and defaults that say nothing."""
    words = _field_docs(model)
    for name, field in part.get("properties", {}).items():
        field.pop("title", None)
        if field.get("default") is None or isinstance(field["default"], dict):
            field.pop("default", None)
        if name in words:
            field["description"] = words[name]


def _field_docs(model: type[BaseModel]) -> dict[str, str]:
    """The docstring below each field of a model; empty where the source is not at hand."""
    try:
        body = ast.parse(inspect.getsource(model)).body[0]
    except (OSError, TypeError):
        return {}
    assert isinstance(body, ast.ClassDef)
    return dict(_documented(body.body))


def _documented(lines: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    for field, below in pairwise(lines):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(words))):
                yield name, inspect.cleandoc(words)
