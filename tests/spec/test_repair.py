"""One reading of a file shows all of its mistakes, and none that only follow from another."""

from __future__ import annotations

import pytest

from moa.errors import SpecError
from moa.spec.agent import AgentSpec, Spec
from moa.spec.graph import GraphSpec
from moa.spec.loader import examine, read_spec


def problems(text: str, kind: type[Spec]) -> list[str]:
    with pytest.raises(SpecError) as caught:
        read_spec(text, "f.yaml", kind)
    return [str(problem) for problem in caught.value.problems]


GRAPH = """\
name: on
descripton: Many mistakes.
nodes:
  drafts: {agent: proposer, modle: a, samples: yes}
  off: {select: majority}
  drafts: {agent: proposer}
  answer:
    agent: {system: "Hear {{ refs }}", temprature: 1, sampling: {temprature: 9, top_k: x}}
    inputs: [drafts, no, 3]
    models: a
    window: {size: 3, keep: 5}
    rounds: {replace: drafts}
overflow: eror
"""


def test_every_kind_of_mistake_at_once() -> None:
    assert problems(GRAPH, GraphSpec) == [
        'f.yaml:1:7: `on` without quotes is a boolean in YAML: write "on" for the word, or true',
        "f.yaml:2:1: unknown key `descripton`; did you mean `description`?",
        "f.yaml:4:29: unknown key `modle`; did you mean `model`?",
        'f.yaml:4:48: `yes` without quotes is a boolean in YAML: write "yes" for the word, or true',
        'f.yaml:5:3: the key `off` without quotes is a boolean in YAML: write "off"',
        "f.yaml:5:8: a selector needs `inputs`",
        "f.yaml:6:3: duplicate key `drafts`: it is already on line 4",
        "f.yaml:8:40: unknown key `temprature`; did you mean `temperature` under `sampling`?",
        "f.yaml:8:66: unknown key `temprature`; did you mean `temperature`?",
        "f.yaml:8:78: must be at most 5, not `9`",
        "f.yaml:8:88: expected a whole number, not `x`",
        'f.yaml:9:22: `no` without quotes is a boolean in YAML: write "no" for the word, or false',
        'f.yaml:9:26: expected text, not `3`: if it is text, write "3"',
        "f.yaml:10:13: expected a list, not `a`: write [a]",
        "f.yaml:11:13: `keep` (5) must be smaller than `size` (3)",
        "f.yaml:12:13: `times` is missing",
        "f.yaml:13:11: expected one of error, drop, truncate; not `eror`; did you mean `error`?",
    ]


def test_a_value_below_a_misspelt_key_is_checked_too() -> None:
    assert problems("smapling:\n  temperature: 9\n", AgentSpec) == [
        "f.yaml:1:1: unknown key `smapling`; did you mean `sampling`?",
        "f.yaml:2:16: must be at most 5, not `9`",
    ]


def test_templates_are_checked_although_other_keys_are_wrong() -> None:
    text = "reads: chioce\nsystem: |\n  {{ refs }}\n"
    assert [line.split(":")[1] for line in problems(text, AgentSpec)] == ["1", "3"]


@pytest.mark.parametrize(
    "text",
    [
        "inputs: {refs: many}\nsystem: '{{ refs }}'\n",
        "variables: {refs: 1}\nsystem: '{{ refs }}'\n",
        "vars: [refs]\nsystem: '{{ refs }}'\n",
    ],
)
def test_templates_are_not_blamed_for_declarations_that_could_not_be_read(text: str) -> None:
    assert [line.split(":")[1] for line in problems(text, AgentSpec)] == ["1"]


def test_a_node_is_not_blamed_for_an_agent_that_could_not_be_read() -> None:
    text = "nodes: {a: {agent: 3, samples: 0}}\n"
    assert [line.split(":")[2] for line in problems(text, GraphSpec)] == ["20", "32"]


def test_what_was_left_out_is_known() -> None:
    examined = examine("nodes: {a: {agent: p, modle: x, samples: 0}}\n", "f", GraphSpec)
    assert examined.spec is not None
    assert examined.spec.nodes["a"].model == "x"
    assert examined.lost == {("nodes", "a", "samples")}


def test_a_place_in_the_repaired_document_is_found_under_the_key_as_written() -> None:
    document = examine("nodes:\n  a: {agent: p, modle: x}\n", "f", GraphSpec).document
    assert document.problem(("nodes", "a", "model"), "wrong")[2:] == (2, 24)
