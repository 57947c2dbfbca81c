"""The JSON schemas are current, say what the loader says, and explain themselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from moa.errors import SpecError, UsageError
from moa.spec.agent import Spec
from moa.spec.loader import read_spec
from moa.spec.schema import FILES, schema

ROOT = Path(__file__).parents[2]
SHIPPED = [
    *((path, "agent") for path in ROOT.glob("agents/*.yaml")),
    *((path, "graph") for path in ROOT.glob("graphs/*.yaml")),
    *((path, "defence") for path in ROOT.glob("graphs/defences/*.yaml")),
]


def accepts(kind: str, text: str) -> bool:
    return Draft202012Validator(schema(kind)).is_valid(yaml.safe_load(text))


@pytest.mark.parametrize("kind", FILES)
def test_checked_in_schema_is_current(kind: str) -> None:
    path = ROOT / "docs" / "schemas" / f"{kind}.schema.json"
    assert json.loads(path.read_text(encoding="utf-8")) == schema(kind), f"moa schema {kind} > {path}"


@pytest.mark.parametrize("kind", FILES)
def test_schema_is_one(kind: str) -> None:
    Draft202012Validator.check_schema(schema(kind))


@pytest.mark.parametrize(("path", "kind"), SHIPPED, ids=lambda value: getattr(value, "stem", None))
def test_shipped_files_fit(path: Path, kind: str) -> None:
    errors = Draft202012Validator(schema(kind)).iter_errors(yaml.safe_load(path.read_text(encoding="utf-8")))
    assert [error.message for error in errors] == []


NODE = "nodes: {a: {agent: p, %s}, b: {agent: p}}"
BOTH_ACCEPT = [
    ("graph", NODE % "inputs: b"),
    ("graph", NODE % "inputs: [b, b]"),
    ("graph", NODE % "inputs: {refs: b, other: [b]}"),
    ("graph", NODE % "inputs: b, subsets: all"),
    ("graph", NODE % "inputs: b, subsets: {size: 2}"),
    ("graph", NODE % "inputs: b, rounds: 3"),
    ("graph", NODE % "inputs: b, rounds: {times: 3, replace: b}"),
    ("graph", NODE % "inputs: b, window: {size: 6, keep: 3}"),
    ("graph", NODE % "inputs: b, select: majority"),
    ("graph", NODE % "inputs: b, select: {top-k: {k: 3}}"),
    ("graph", NODE % "inputs: b, select: {top-k: }"),
    ("graph", NODE % "inputs: b, select: {name: top-k, options: {k: 3}}"),
    ("graph", "nodes: {a: {agent: {system: Hi}}}"),
    (
        "agent",
        "inputs: {refs: 1+, one: 1, few: 2-6, more: {min: 2}}\nuser: Hear {{ refs }} {{ one }} {{ few }} {{ more }}",
    ),
    ("agent", "vars: {x: [1, {y: null}]}"),
    ("models", "models: {a: {provider: openai, price: {input: 1, output: 2.5}}}"),
]
BOTH_REFUSE = [
    ("graph", NODE % "inputs: 3"),
    ("graph", NODE % "inputs: b, subsets: some"),
    ("graph", NODE % "inputs: b, rounds: 0"),
    ("graph", NODE % "inputs: b, select: {top-k: 3}"),
    ("graph", NODE % "inputs: b, select: {a: {}, b: {}}"),
    ("graph", NODE % "samples: 0"),
    ("graph", NODE % "modle: x"),
    ("graph", "nodes: {}"),
    ("graph", "nodes: {2b: {agent: p}}"),
    ("graph", "name: x"),
    ("agent", "inputs: {refs: many}"),
    ("agent", "inputs: {my-refs: 1}"),
    ("agent", "reads: chioce"),
    ("agent", "nodes: {}"),
    ("models", "models: {a: {provider: openai, api_key: x}}"),
    ("models", "models: {a: {provider: openai, price: {input: 1}}}"),
]


@pytest.mark.parametrize(("kind", "text"), BOTH_ACCEPT)
def test_schema_and_loader_accept(kind: str, text: str) -> None:
    assert accepts(kind, text)
    assert read_spec(text, "f", FILES[kind]).spec


@pytest.mark.parametrize(("kind", "text"), BOTH_REFUSE)
def test_schema_and_loader_refuse(kind: str, text: str) -> None:
    assert not accepts(kind, text)
    with pytest.raises(SpecError):
        read_spec(text, "f", FILES[kind])


def test_fields_are_explained() -> None:
    node: dict[str, Any] = schema("graph")["$defs"]["NodeSpec"]["properties"]
    assert (
        node["models"]["description"]
        == "One node for each of these; a name that repeats gives independent samples."
    )
    assert schema("agent")["properties"]["reads"]["description"].startswith("How the reply is read")


def test_unknown_kind() -> None:
    with pytest.raises(
        UsageError, match=r"^no schema of 'agents': choose one of agent, graph, defence, models, eval$"
    ):
        schema("agents")


def test_every_kind_of_file_has_a_schema_with_a_title() -> None:
    assert all(issubclass(kind, Spec) for kind in FILES.values())
    assert [schema(kind)["title"] for kind in FILES] == [f"moa: {kind} file" for kind in FILES]
