"""Who takes part, and under which name."""

from __future__ import annotations

from pathlib import Path

import pytest

from moa.errors import SpecError, UsageError
from moa.evaluate.entrants import Contender, contenders
from moa.evaluate.folder import file_name
from moa.graph.bind import Bindings


def taking_part(*graphs: str, bind: str = "sim:", settings: tuple[str, ...] = ()) -> list[Contender]:
    return contenders(graphs, Bindings.parse([bind]), settings)


def test_graphs_take_part_under_their_names() -> None:
    found = taking_part("self-moa", "single")
    assert [each.name for each in found] == ["self-moa", "single"]
    first = found[0].entrant
    assert first.models == {"a": "sim:"}
    assert first.fingerprint == found[0].plan.fingerprint
    assert "samples: 6" in first.yaml and first.mermaid and first.svg.startswith("<svg")


def test_a_sweep_is_in_the_name_and_in_the_graph() -> None:
    found = taking_part("self-moa", "single", settings=("drafts.samples=1,3",))
    assert [each.name for each in found] == [
        "self-moa[drafts.samples=1]", "self-moa[drafts.samples=3]", "single",
    ]  # fmt: skip
    assert [len(each.plan.nodes) for each in found] == [2, 4, 1]
    assert found[1].entrant.settings == {"drafts.samples": 3}
    assert len({each.entrant.fingerprint for each in found}) == 3


def test_a_sweep_over_models_binds_them() -> None:
    found = taking_part("single", bind="a=sim:x", settings=("a=sim:skill=0.1,sim:skill=0.9",))
    assert [each.name for each in found] == ["single[a=sim:skill=0.1]", "single[a=sim:skill=0.9]"]
    assert [each.entrant.models for each in found] == [{"a": "sim:skill=0.1"}, {"a": "sim:skill=0.9"}]


def test_two_graphs_of_one_name_are_numbered(tmp_path: Path) -> None:
    path = tmp_path / "single.yaml"
    path.write_text(
        "nodes: {answer: {agent: critic, model: a, inputs: draft}, draft: {agent: proposer, model: a}}\n"
    )
    found = taking_part("single", str(path))
    assert [each.name for each in found] == ["single", "single-2"]


def test_the_same_graph_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="single takes part twice: single asks the very same"):
        taking_part("single", "single")


def test_slots_belong_to_the_graphs_that_have_them() -> None:
    found = contenders(
        ["moa-lite", "single"],
        Bindings.parse(["a=sim:1", "b=sim:2", "c=sim:3", "d=sim:4", "e=sim:5", "f=sim:6", "judge=sim:7"]),
    )
    assert found[1].entrant.models == {"a": "sim:1"}
    assert set(found[0].entrant.models.values()) <= {f"sim:{number}" for number in range(1, 7)}


def test_a_slot_that_no_graph_has_is_refused() -> None:
    with pytest.raises(UsageError, match="-m z=sim:1: no graph has a slot `z`; their slots: a"):
        contenders(["single"], Bindings.parse(["z=sim:1"]))


def test_a_slot_that_nobody_binds_is_a_mistake_of_that_graph() -> None:
    with pytest.raises(SpecError, match="slot `b` is not bound"):
        contenders(["moa-lite", "single"], Bindings.parse(["a=sim:1"]))


def test_a_setting_that_breaks_the_graph_names_the_entrant() -> None:
    with pytest.raises(UsageError, match=r"^self-moa\[answer.inputs=nobody\]: "):
        taking_part("self-moa", settings=("answer.inputs=nobody",))


def test_names_of_files_are_different_and_short() -> None:
    long = "x" * 300
    names = ["a", "A b", "single[a=openai:x/y]", "single[a=openai:x:y]", long + "1", long + "2"]
    files = [file_name(name) for name in names]
    assert len(set(files)) == len(names)
    assert all(len(name.encode()) <= 120 and not set('/\\:*?"<>|') & set(name) for name in files)
    assert file_name("self-moa[drafts.samples=3]") == "self-moa[drafts.samples=3]"
