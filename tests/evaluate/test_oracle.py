"""The oracle: the best by recorded preference, and what it says where it cannot choose."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from moa.errors import UsageError
from moa.evaluate.oracle import Oracle, informed, oracles
from moa.graph.bind import Bindings
from moa.graph.compile import compile_graph
from moa.nodes.response import Response
from moa.spec.catalogue import load_graph
from tests.nodes.scripted import Context

QUESTION = "Which?"
"""What the scripted context asks."""


def written(folder: Path, **preferences: float | None) -> Path:
    """Preferences for the texts `says a`, `says b`, ... of the models `a`, `b`, ..."""
    rows = [
        {"instruction": QUESTION, "output_1": "base", "generator_1": "base", "output_2": f"says {name}",
         "generator_2": name, "preference": preference}
        for name, preference in preferences.items()
    ]  # fmt: skip
    path = folder / "annotations.json"
    path.write_text(json.dumps(rows))
    return path


def said(*names: str) -> list[Response]:
    return [Response(f"says {name}", f"drafts[{number}]", name) for number, name in enumerate(names)]


async def kept(path: Path, responses: list[Response], context: Context | None = None) -> Response:
    [response] = await Oracle(preferences=str(path)).select(responses, context or Context())
    return response


async def test_the_judges_favourite_is_kept_with_its_preference(tmp_path: Path) -> None:
    response = await kept(written(tmp_path, a=1.25, b=1.75, c=1.5), said("a", "b", "c"))
    assert (response.node, response.score) == ("drafts[1]", 0.75)


async def test_of_equal_ones_the_earlier_wins(tmp_path: Path) -> None:
    path = written(tmp_path, a=1.25, b=1.75, c=1.75)
    assert (await kept(path, said("a", "b", "c"))).node == "drafts[1]"
    assert (await kept(path, said("a", "c", "b"))).node == "drafts[1]"


async def test_what_was_not_judged_is_passed_over(tmp_path: Path) -> None:
    path = written(tmp_path, a=1.0, b=None)
    assert (await kept(path, said("z", "b", "a"))).text == "says a"


async def test_where_nothing_was_judged_the_first_is_kept_with_a_warning(tmp_path: Path) -> None:
    context = Context()
    assert (await kept(written(tmp_path, a=1.0), said("y", "z"), context)).text == "says y"
    assert context.warnings == ["no preference is recorded for any of 2 responses; kept the first"]


async def test_a_file_that_changed_is_read_again(tmp_path: Path) -> None:
    assert (await kept(written(tmp_path, a=1.0, b=2.0), said("a", "b"))).text == "says b"
    path = written(tmp_path, a=2.0, b=1.0)
    path.touch()
    assert (await kept(path, said("a", "b"))).text == "says a"


async def test_without_preferences_it_says_what_to_do() -> None:
    assert "--judge recorded:FILE" in (Oracle().lacks() or "")
    with pytest.raises(UsageError, match="chooses by recorded preferences"):
        await Oracle().select(said("a"), Context())


def test_a_graph_is_told_where_the_preferences_are(tmp_path: Path) -> None:
    spec = load_graph("oracle").spec
    assert oracles(spec) == ["answer"] and oracles(load_graph("longest").spec) == []
    seeing = informed(spec, tmp_path / "p.json")
    assert seeing.nodes["answer"].select is not None
    assert seeing.nodes["answer"].select.options == {"preferences": str(tmp_path / "p.json")}
    assert compile_graph(seeing, Bindings(rest="x:y")).answer == "answer"
    assert informed(seeing, None) is seeing
    with pytest.raises(UsageError, match="oracle: its node `answer` chooses by recorded preferences"):
        informed(spec, None)
