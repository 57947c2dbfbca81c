"""The pages about agents, graphs and selectors: what they show works, and what they count is right."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from moa.graph.compile import compile_graph
from moa.spec.agent import AgentSpec
from moa.spec.catalogue import load_agent, names
from moa.spec.graph import GraphSpec
from moa.spec.loader import read_agent, read_graph
from moa.spec.registry import SELECTORS
from tests.nodes.test_select import SHIPPED
from tests.test_gallery import CALLS, SCORED

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("agents", "graphs", "selectors")
LIKELIHOOD = ("query-likelihood", "density-ratio", "perplexity-consistency")
"""Selectors that only choose where a server tells how probable a text is."""


class Snippet(NamedTuple):
    page: str
    line: int
    language: str
    text: str


def snippets(language: str) -> list[Snippet]:
    found = []
    for page in PAGES:
        text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
        for match in re.finditer(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
            found.append(Snippet(page, text[: match.start()].count("\n") + 1, language, match[1]))
    return found


def place(snippet: Snippet) -> str:
    return f"{snippet.page}.md:{snippet.line}"


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder where every agent file that the pages show is in place."""
    (tmp_path / "agents").mkdir()
    for snippet in snippets("yaml"):
        named = re.match(r"# (agents/\S+\.yaml)\n", snippet.text)
        if named:
            (tmp_path / named[1]).write_text(snippet.text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("snippet", snippets("yaml"), ids=place)
def test_yaml_is_a_graph_or_an_agent(snippet: Snippet, workplace: Path) -> None:
    file = workplace / "shown.yaml"
    file.write_text(snippet.text, encoding="utf-8")
    if "nodes" in yaml.safe_load(snippet.text):
        spec: GraphSpec = read_graph(file).spec
        assert compile_graph(spec, near=file).nodes
    else:
        agent: AgentSpec = read_agent(file).spec
        assert agent.description


@pytest.mark.parametrize("snippet", snippets("python"), ids=place)
def test_python_runs(snippet: Snippet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SELECTORS, "_registered", dict(SELECTORS._registered))
    exec(compile(snippet.text, place(snippet), "exec"), {"__name__": "snippet"})


def test_the_gallery_table_counts_as_the_tests_do() -> None:
    text = (DOCS / "graphs.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w-]+)` \|[^|]*\| (\d+) \|", text, re.MULTILINE)
    assert {name: int(calls) for name, calls in rows} == CALLS | SCORED


def test_every_agent_of_the_catalogue_is_on_its_page() -> None:
    rows = re.findall(
        r"^\| `([\w-]+)` \|([^|]*)\|", (DOCS / "agents.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    heard = {name: tuple(re.findall(r"`(\w+)`", inputs)) for name, inputs in rows}
    for name in names("agents"):
        assert heard[name] == tuple(load_agent(name).spec.inputs)


def test_every_selector_is_on_its_page() -> None:
    text = (DOCS / "selectors.md").read_text(encoding="utf-8")
    cells = "".join(row.split("|")[1] for row in text.splitlines() if row.startswith("|"))
    assert set(re.findall(r"`([\w-]+)`", cells)) == {*SHIPPED, *LIKELIHOOD}
