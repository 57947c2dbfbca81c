"""`--set`: one graph becomes several, and every mistake names the right word."""

from __future__ import annotations

import pytest

from moa.errors import UsageError
from moa.evaluate.sweep import read_sweeps, shown, variants
from moa.spec.build import spec_from
from moa.spec.graph import GraphSpec

MIXED = spec_from(
    GraphSpec,
    {
        "name": "mixed",
        "nodes": {
            "drafts": {"agent": "proposer", "models": ["a", "b"], "samples": 2},
            "answer": {"agent": "aggregator", "model": "a", "inputs": "drafts", "rounds": 2},
        },
    },
)
SINGLE = spec_from(GraphSpec, {"name": "single", "nodes": {"answer": {"agent": "proposer", "model": "a"}}})


def made(*options: str, spec: GraphSpec = MIXED) -> dict[str, GraphSpec]:
    return {
        shown(settings): graph for settings, graph in variants(spec, read_sweeps(options, [MIXED, SINGLE]))
    }


def test_each_value_makes_a_graph() -> None:
    found = made("drafts.samples=1,3,6")
    assert {name: graph.nodes["drafts"].samples for name, graph in found.items()} == {
        "[drafts.samples=1]": 1, "[drafts.samples=3]": 3, "[drafts.samples=6]": 6,
    }  # fmt: skip
    assert all(graph.nodes["answer"] == MIXED.nodes["answer"] for graph in found.values())


def test_several_settings_are_every_combination() -> None:
    found = made("drafts.samples=1,3", "answer.quorum=1,2")
    assert [(g.nodes["drafts"].samples, g.nodes["answer"].quorum) for g in found.values()] == [
        (1, 1), (1, 2), (3, 1), (3, 2),
    ]  # fmt: skip
    assert next(iter(found)) == "[drafts.samples=1,answer.quorum=1]"


def test_a_path_leads_into_a_node() -> None:
    found = made("answer.sampling.temperature=0,0.7", "answer.window.size=4")
    assert [graph.nodes["answer"].sampling.temperature for graph in found.values()] == [0, 0.7]
    windows = [graph.nodes["answer"].window for graph in found.values()]
    assert all(window is not None and (window.size, window.keep) == (4, 3) for window in windows)


def test_a_short_form_gives_way_to_what_is_set_in_it() -> None:
    [graph] = made("answer.rounds.times=3").values()
    rounds = graph.nodes["answer"].rounds
    assert rounds is not None and rounds.times == 3


def test_lists_and_mappings_are_values_too() -> None:
    found = made("drafts.models=[a],[a, b, c]", "answer.window={size: 6, keep: 3}")
    assert [graph.nodes["drafts"].models for graph in found.values()] == [("a",), ("a", "b", "c")]
    assert list(found)[1] == '[drafts.models=["a","b","c"],answer.window={"size":6,"keep":3}]'


def test_a_graph_without_the_node_stays_as_it_is() -> None:
    assert list(made("drafts.samples=1,3", spec=SINGLE)) == [""]
    assert made("drafts.samples=1,3", spec=SINGLE)[""] is SINGLE


def test_models_are_swept_by_their_slot() -> None:
    [sweep] = read_sweeps(["a=openai:x,sim:skill=0.8,correlation=0.3,http://localhost/v1#y"], [MIXED])
    assert sweep.values == ("openai:x", "sim:skill=0.8,correlation=0.3", "http://localhost/v1#y")
    assert [settings for settings, _ in variants(SINGLE, [sweep])] == [{"a": value} for value in sweep.values]


MISTAKES = {
    "drafts.samples": "write NODE.FIELD=VALUE,VALUE such as drafts.samples=1,3,6, or SLOT=MODEL,MODEL",
    "drafts.samples=": "write NODE.FIELD=VALUE,VALUE",
    ".samples=1": "write NODE.FIELD=VALUE,VALUE",
    "drafts.samples=1,[2": "--set drafts.samples=1,[2: expected `,` or the closing bracket",
    "drafts.samples=3,3": "--set drafts.samples=3,3: the same value twice",
    "draft.samples=1,2": "no graph has a node `draft`; did you mean `drafts`?",
    "x.samples=1": "no graph has a node `x`; there are: drafts, answer",
    "drafts=1,2": "`drafts` is a node: say which field, such as drafts.samples",
    "d=openai:x": "no graph has a slot `d`; there are: a, b",
    "drafts.smaples=1": "a node has no field `smaples`; did you mean `samples`?",
    "drafts.zzz=1": "a node has no field `zzz`; it has agent, select, model, models, samples",
    "drafts.samples=many": "--set drafts.samples=many: expected a whole number",
    "drafts.samples=0": "--set drafts.samples=0: must be at least 1",
    "answer.sampling.temprature=1": "unknown key `temprature`; did you mean `temperature`?",
    "answer.window.size=1": "--set answer.window.size=1: must be at least 2",
    "answer.model=[a]": "--set answer.model=[a]: expected text",
}


@pytest.mark.parametrize("option", MISTAKES)
def test_a_mistake_names_the_option_and_the_remedy(option: str) -> None:
    with pytest.raises(UsageError) as caught:
        made(option)
    message = str(caught.value)
    assert message.startswith(f"--set {option}: ") and "\n" not in message
    assert MISTAKES[option] in message


def test_one_thing_is_set_once() -> None:
    with pytest.raises(UsageError, match=r"--set drafts.samples=3: `drafts.samples` is set already"):
        read_sweeps(["drafts.samples=1", "drafts.samples=3"], [MIXED])
