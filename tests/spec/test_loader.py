"""Files to specs: names, encodings, files that are not there, and texts that nobody would write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from moa.errors import SpecError, UsageError
from moa.spec.agent import AgentSpec, Spec
from moa.spec.graph import GraphSpec
from moa.spec.loader import examine, kind_of, read_agent, read_graph, read_models, read_spec
from moa.spec.model import ModelsSpec

KINDS = [AgentSpec, GraphSpec, ModelsSpec]


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_agent_is_named_like_its_file(tmp_path: Path) -> None:
    assert read_agent(write(tmp_path, "critic.yaml", "system: Be strict.\n")).spec.name == "critic"
    assert read_agent(write(tmp_path, "critic.yaml", "name: judge\n")).spec.name == "judge"


def test_graph_is_named_like_its_file_and_knows_its_folder(tmp_path: Path) -> None:
    located = read_graph(write(tmp_path, "mine.yml", "nodes: {a: {agent: proposer, model: x}}\n"))
    assert located.spec.name == "mine"
    assert located.folder == tmp_path


def test_text_that_is_not_a_file_has_no_folder() -> None:
    assert read_spec("name: a\n", "<text>", AgentSpec).folder is None


def test_model_entries_are_named_like_their_keys(tmp_path: Path) -> None:
    text = "models:\n  small: {provider: openai, model: gpt-5-nano}\n  llama3.1: {provider: ollama}\n"
    models = read_models(write(tmp_path, "models.yaml", text)).spec.models
    assert {name: (model.name, model.model) for name, model in models.items()} == {
        "small": ("small", "gpt-5-nano"),
        "llama3.1": ("llama3.1", "llama3.1"),
    }


def test_short_forms() -> None:
    text = "nodes: {a: {select: {top-k: {k: 3}}, inputs: b, rounds: 3}, b: {agent: p, inputs: [a], subsets: all}}\n"
    nodes = read_spec(text, "f", GraphSpec).spec.nodes
    assert (nodes["a"].select and nodes["a"].select.name, nodes["a"].rounds and nodes["a"].rounds.times) == (
        "top-k",
        3,
    )
    assert nodes["b"].subsets is not None
    assert nodes["b"].inputs == ("a",)


def test_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"\xef\xbb\xbfdescription: caf\xc3\xa9\n")
    assert read_agent(path).spec.description == "café"


def test_file_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"description: caf\xe9\n")
    with pytest.raises(SpecError, match=r"a\.yaml: is not UTF-8 text: save the file in that encoding$"):
        read_agent(path)


@pytest.mark.parametrize("name", ["missing.yaml", ".", "a\0b"])
def test_file_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"^cannot read "):
        read_agent(tmp_path / name)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        ({"nodes": {}}, GraphSpec),
        ({"models": {}, "slots": {}}, ModelsSpec),
        ({"system": "Hi", "nodse": {}}, AgentSpec),
        ({"description": "x", "nodse": {}}, GraphSpec),
        ({"model": {}}, ModelsSpec),
        ({}, AgentSpec),
    ],
)
def test_kind_is_told_by_the_keys(data: dict[str, Any], kind: type[Spec]) -> None:
    assert kind_of(data) is kind


WORDS = [
    "nodes",
    "agent",
    "select",
    "inputs",
    "models",
    "window",
    "rounds",
    "subsets",
    "vars",
    "sampling",
    "a",
    "on",
]
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates()
KEYS = st.sampled_from(WORDS) | st.text(max_size=6) | st.integers() | st.booleans()
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=15,
)
YAML_PIECES = st.lists(
    st.sampled_from(
        [*"{}[]:,-?&*!|>'\"%@`#\n \t", "a", "1", "no", "nodes", "<<", "---", "&a", "*a", "!!int", "1:2"]
    ),
    max_size=30,
).map("".join)


@pytest.mark.parametrize("kind", KINDS)
@given(text=YAML_PIECES | st.text(max_size=60))
@example(text="a: !!int x")
@example(text="!!map foo")
@example(text="!!float {a: b}: c")
@example(text="a: !!bool maybe")
@example(text="a: !!timestamp maybe")
@example(text="a: !!float 1:x")
@example(text="=: =")
@example(text="<<: 3")
@example(text="a: \ud800")
def test_any_text_is_read_or_refused_with_a_position(kind: type[Spec], text: str) -> None:
    try:
        examined = examine(text, "f", kind)
    except SpecError as error:
        problems = error.problems
    else:
        assert examined.spec is not None or examined.problems
        problems = examined.problems
    assert all(problem.line >= 1 and problem.column >= 1 for problem in problems)
    assert all(problem.message.isprintable() for problem in problems)


@pytest.mark.parametrize("kind", KINDS)
@given(tree=st.dictionaries(KEYS, TREES, max_size=4))
def test_any_structure_is_read_or_refused_with_a_position(kind: type[Spec], tree: dict[Any, Any]) -> None:
    text = yaml.safe_dump(tree)
    try:
        read_spec(text, "f", kind)
    except SpecError as error:
        lines = text.count("\n") + 1
        assert error.problems
        assert all(1 <= problem.line <= lines and problem.column >= 1 for problem in error.problems)
        assert all(problem.message.isprintable() for problem in error.problems)
