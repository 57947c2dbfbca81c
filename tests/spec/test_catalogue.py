"""Names and paths to files: the shipped catalogue, and the user's own files before it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from moa.errors import SpecError, UsageError
from moa.spec import catalogue
from moa.spec.catalogue import (
    KINDS,
    Kind,
    entries,
    find,
    find_any,
    is_path,
    load_agent,
    load_graph,
    names,
    shipped,
)

GRAPH = "description: Mine.\nsource: A paper.\nnodes: {a: {agent: proposer, model: x}}\n"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_shipped_folders_exist() -> None:
    assert all(shipped(kind).is_dir() for kind in KINDS)


def test_shipped_inside_the_installed_package_wins(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = here / "site" / "moa" / "catalogue" / "graphs"
    inside.mkdir(parents=True)
    monkeypatch.setattr(catalogue, "files", lambda package: here / "site" / package)
    assert shipped("graphs") == inside
    assert shipped("agents") == here / "site" / "agents"


def test_every_shipped_agent_and_graph_can_be_loaded() -> None:
    assert "proposer" in names("agents")
    for name in names("agents"):
        assert load_agent(name).spec.name == name
    for name in names("graphs"):
        assert load_graph(name).spec.name == name


def test_every_entry_says_what_it_is() -> None:
    listed = [entry for kind in KINDS for entry in entries(kind)]
    assert listed
    assert [entry.name for entry in listed if not entry.description] == []


def test_own_file_wins_over_a_shipped_one(here: Path) -> None:
    own = put(here / "agents" / "proposer.yaml", "description: Mine.\n")
    assert find("agents", "proposer").resolve() == own
    assert load_agent("proposer").spec.description == "Mine."


def test_file_beside_the_graph_wins_over_the_working_directory(here: Path) -> None:
    put(here / "agents" / "critic.yaml", "description: Here.\n")
    beside = put(here / "study" / "agents" / "critic.yml", "description: Beside.\n")
    assert find("agents", "critic", here / "study") == beside
    assert find("agents", "critic", here / "study" / "graph.yaml") == beside
    assert (
        find("agents", "critic", here / "elsewhere" / "graph.yaml").resolve()
        == here / "agents" / "critic.yaml"
    )


def test_paths_start_at_the_graph_and_then_where_moa_was_called(here: Path) -> None:
    near = put(here / "study" / "critic.yaml", "description: Near.\n")
    far = put(here / "judge.yaml", "description: Far.\n")
    assert find("agents", "critic.yaml", here / "study") == near
    assert find("agents", "judge.yaml", here / "study").resolve() == far
    assert find("agents", str(far), here / "study") == far


def test_home_folder_is_understood(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(here))
    put(here / "mine.yaml", GRAPH)
    assert load_graph("~/mine.yaml").spec.name == "mine"


@pytest.mark.parametrize("name", ["a.yaml", "a.yml", "./a", "folder/a", f"folder{os.sep}a"])
def test_is_a_path(name: str) -> None:
    assert is_path(name)


@pytest.mark.parametrize("name", ["moa", "self-moa", "v1.2", ""])
def test_is_a_name(name: str) -> None:
    assert not is_path(name)


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("agents", "propser", "unknown agent 'propser'; did you mean `proposer`? (known: aggregator,"),
        ("graphs", "moe", "unknown graph 'moe'; did you mean `moa`? (known: "),
        ("graphs", "", "unknown graph '' (known: "),
        ("evals", "alpaca", "unknown eval 'alpaca'; did you mean `alpaca_eval`? (known: alpaca_eval,"),
        ("graphs", "nope.yaml", "no file nope.yaml"),
        ("graphs", "folder/a", "no file folder/a"),
        ("graphs", "a\0b.yaml", "no file a"),
    ],
)
def test_what_is_not_there(kind: Kind, name: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        find(kind, name)
    assert str(caught.value).startswith(message)


def test_misspelt_path_suggests_its_neighbour(here: Path) -> None:
    put(here / "graphs" / "study.yaml", GRAPH)
    with pytest.raises(UsageError, match=r"^no file graphs/studdy\.yaml; did you mean graphs/study\.yaml\?$"):
        find("graphs", "graphs/studdy.yaml")


def test_names_list_own_files_too(here: Path) -> None:
    put(here / "graphs" / "mine.yaml", GRAPH)
    put(here / "graphs" / "notes.txt", "")
    assert "mine" in names("graphs")
    assert "notes" not in names("graphs")
    assert names("graphs") == sorted(names("graphs"))
    entry = next(entry for entry in entries("graphs") if entry.name == "mine")
    assert (entry.description, entry.source) == ("Mine.", "A paper.")


def test_broken_own_file_is_listed_with_a_remedy(here: Path) -> None:
    put(here / "graphs" / "broken.yaml", "nodes: [\n")
    entry = next(entry for entry in entries("graphs") if entry.name == "broken")
    assert entry.description == "cannot be read: try `moa validate graphs/broken.yaml`"


def test_file_is_read_once_until_it_changes(here: Path) -> None:
    path = put(here / "critic.yaml", "description: One.\n")
    first = load_agent("critic.yaml")
    assert load_agent("critic.yaml") is first
    put(path, "description: Second.\n")
    assert load_agent("critic.yaml").spec.description == "Second."


def test_mistake_in_a_loaded_file_has_its_position(here: Path) -> None:
    put(here / "critic.yaml", "\nsytem: Hi\n")
    with pytest.raises(SpecError, match=r"critic\.yaml:2:1: unknown key `sytem`; did you mean `system`\?$"):
        load_agent("critic.yaml")


def test_any_kind(here: Path) -> None:
    put(here / "agents" / "moa.yaml", "description: An agent called like a graph.\n")
    assert find_any("moa").kind == "graphs"
    assert find_any("moa", "agents").kind == "agents"
    assert find_any("proposer").kind == "agents"
    assert find_any(str(put(here / "g.yaml", GRAPH))).kind == "graphs"
    assert find_any(str(put(here / "a.yaml", "system: Hi\n"))).kind == "agents"
    assert find_any(str(put(here / "evals" / "e.yaml", "description: x\n"))).kind == "evals"


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("mao", None, "nothing in the catalogue is called 'mao'; did you mean `moa`?"),
        ("xyzzy", None, "nothing in the catalogue is called 'xyzzy'; `moa list` shows what there is"),
        ("moa", "graph", "unknown kind 'graph': choose one of agents, graphs, defences, evals"),
        (
            "models.yaml",
            None,
            "models.yaml lists models: `moa show` shows agents, graphs, defences and evaluations",
        ),
    ],
)
def test_nothing_of_any_kind(here: Path, name: str, kind: str | None, message: str) -> None:
    put(here / "models.yaml", "models: {}\n")
    with pytest.raises(UsageError) as caught:
        find_any(name, kind)
    assert str(caught.value) == message
