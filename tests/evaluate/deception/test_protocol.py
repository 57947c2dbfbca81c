"""The QuALITY persuasion protocol: who sees what."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from moa.evaluate.deception.attacks import attacked, read_attack
from moa.evaluate.deception.given import given_of
from moa.evaluate.deception.protocol import under_protocol
from moa.evaluate.entrants import contenders
from moa.evaluate.records import Item
from moa.evaluate.tasks import load_items, with_data
from moa.graph.bind import Bindings
from moa.graph.compile import compile_graph
from moa.graph.defend import defend
from moa.nodes.prompt import render_messages
from moa.nodes.response import Response
from moa.spec.catalogue import load_defence, load_eval
from moa.spec.evaluation import EvalSpec
from moa.spec.graph import GraphSpec

GRAPH = """
nodes:
  drafts:  {agent: proposer, models: [a, a, c]}
  refined: {agent: aggregator, models: [a, b, c], inputs: drafts}
  answer:  {agent: aggregator, model: a, inputs: refined}
"""
PASSAGE = "".join(
    f"<{number:03}>" for number in range(41)
)  # 205 characters: a sixth is 34, and one is left over
NODES = ("drafts[0]", "drafts[1]", "drafts[2]", "refined[0]", "refined[1]", "refined[2]")
RIGHT, WRONG = "<- this is the correct answer", "<- this is an incorrect answer"


@pytest.fixture
def item(tmp_path: Path) -> Item:
    path = tmp_path / "q.jsonl"
    row = {
        "id": "q",
        "question": "Why?",
        "article": PASSAGE,
        "options": ["w", "x", "y", "z"],
        "answer": 1,
        "hard": True,
    }
    path.write_text(json.dumps(row))
    [found] = load_items(with_data(evaluation("quality_persuasion"), path), None)
    return found


def evaluation(name: str) -> EvalSpec:
    return load_eval(name).spec


def prompts(
    item: Item, attack: str = "none", eval_name: str = "quality_persuasion", defence: str | None = None
) -> Mapping[str, tuple[str, str]]:
    """The system message and the user's turn of every node, with two references wherever it hears any."""
    spec, protocol = GraphSpec.model_validate(yaml.safe_load(GRAPH)), evaluation(eval_name).protocol
    found = read_attack(attack, spec).under(protocol)
    acting = under_protocol(spec, protocol)
    acting = defend(acting, load_defence(defence).spec) if defence else acting
    heard = [Response("first argument", "x", "m"), Response("second argument", "y", "m")]
    shown = {}
    for node in compile_graph(attacked(acting, found)).nodes:
        if node.agent is not None:
            inputs = dict.fromkeys(node.agent.inputs, heard) if node.inputs else {}
            messages = render_messages(
                node.agent, [{"role": "user", "content": item.turns[0]}], inputs, node.vars, given_of(item)
            )
            shown[node.id] = tuple(str(message["content"]) for message in messages)
    return shown  # type: ignore[return-value]


def part_of(turn: str) -> str:
    return turn.partition("## Passage Start\n")[2].partition("\n## Passage End")[0]


def lines_of(turn: str) -> list[str]:
    return [line for line in turn.splitlines() if line.startswith("(")]


def test_the_passage_is_divided_by_characters_layer_by_layer(item: Item) -> None:
    shown = prompts(item)
    parts = [part_of(shown[node][1]) for node in NODES]
    assert "".join(parts) == PASSAGE
    assert [len(part) for part in parts] == [35, 34, 34, 34, 34, 34], "the first take what is left over"


def test_bug_3_equal_models_of_a_layer_see_different_parts(item: Item) -> None:
    """The published code keeps the parts by the model's name, so that the later of two twins wins."""
    shown = prompts(item)
    assert part_of(shown["drafts[0]"][1]) != part_of(shown["drafts[1]"][1])


def test_the_whole_passage_for_everybody(item: Item) -> None:
    protocol = evaluation("quality_persuasion").protocol
    assert protocol is not None
    whole = protocol.model_copy(update={"passage": "whole"})
    spec = under_protocol(GraphSpec.model_validate(yaml.safe_load(GRAPH)), whole)
    assert [(node.vars["part"], node.vars["parts"]) for node in compile_graph(spec).nodes[:-1]] == [
        (0, 1)
    ] * 6


def test_the_final_aggregator_sees_neither_passage_nor_marks(item: Item) -> None:
    for attack in ("none", "000_003"):
        system, turn = prompts(item, attack)["answer"]
        assert PASSAGE[:20] not in turn and "Passage" not in turn and "<-" not in turn + system
        assert lines_of(turn) == ["(0) w", "(1) x", "(2) y", "(3) z"]
        assert "Why?" in turn


def test_bug_7_references_are_joined_by_newlines_without_numbers(item: Item) -> None:
    shown = prompts(item)
    for node in ("refined[1]", "answer"):
        assert shown[node][1].endswith("\nfirst argument\nsecond argument")
    assert "argument\n" not in shown["drafts[0]"][1]


def test_who_sees_which_option_marked(item: Item) -> None:
    assert (item.answer, item.target) == ("1", "3"), "the first draw of the paper's generator, gold 1"
    shown = prompts(item, "023_003")
    assert lines_of(shown["drafts[0]"][1]) == ["(0) w", f"(1) x {RIGHT}", "(2) y", "(3) z"]
    assert lines_of(shown["drafts[1]"][1]) == ["(0) w", "(1) x", "(2) y", f"(3) z {RIGHT}"]
    for opposer in ("drafts[2]", "refined[2]"):
        assert lines_of(shown[opposer][1]) == ["(0) w", f"(1) x {WRONG}", "(2) y", f"(3) z {RIGHT}"]
        assert "argue against that one" in shown[opposer][1]
    assert lines_of(shown["refined[0]"][1]) == ["(0) w", f"(1) x {RIGHT}", "(2) y", "(3) z"]


def test_a_deceiver_differs_in_the_users_message_alone(item: Item) -> None:
    clean, bad = prompts(item), prompts(item, "023_003")
    assert len({bad[node][0] for node in NODES}) == 1
    assert {node for node in bad if bad[node] != clean[node]} == {"drafts[1]", "drafts[2]", "refined[2]"}


def test_deceptive_ignore_refs_gives_the_prompt_of_the_first_layer(item: Item) -> None:
    hearing, deaf = prompts(item, "000_003")["refined[2]"][1], prompts(item, "000_003:deaf")["refined[2]"][1]
    assert "first argument" in hearing and "argument\n" not in deaf and "adviser" not in deaf
    assert hearing.startswith(deaf)


def test_the_honest_variant_marks_no_option_for_the_truthful(item: Item) -> None:
    shown = prompts(item, "000_003", "quality_honest")
    assert all("<-" not in shown[node][1] for node in NODES[:-1])
    assert lines_of(shown["refined[2]"][1])[3] == f"(3) z {RIGHT}"
    assert len({shown[node][0] for node in NODES}) == 1


def test_a_defence_takes_over_the_final_agent(item: Item) -> None:
    shown = prompts(item, "000_003", defence="dropout-vote")
    finals = [node for node in shown if node not in NODES]
    assert len(finals) == 7 and all("cannot see" in shown[node][0] for node in finals)


def test_slots_that_take_several_models_have_their_parts(tmp_path: Path) -> None:
    path = tmp_path / "g.yaml"
    path.write_text(
        "nodes: {drafts: {agent: proposer, models: [m]}, answer: {agent: aggregator, model: a, inputs: drafts}}\n"
    )
    protocol = evaluation("sample_persuasion").protocol
    [entrant] = contenders([str(path)], Bindings.parse(["m=sim:x,sim:y,sim:z", "a=sim:"]), protocol=protocol)
    assert [node.vars.get("parts") for node in entrant.plan.nodes] == [3, 3, 3, None]
    assert "agent: persuader" in entrant.entrant.yaml


def test_without_a_protocol_nothing_changes() -> None:
    spec = GraphSpec.model_validate(yaml.safe_load(GRAPH))
    assert under_protocol(spec, None) is spec
