"""An attack changes the nodes that it names, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from moa.errors import SpecError, UsageError
from moa.graph.bind import Bindings
from moa.graph.compile import compile_graph, slots_of
from moa.graph.draw import mermaid
from moa.graph.plan import Edge, Plan
from moa.graph.svg import svg
from moa.spec.agent import AgentSpec
from moa.spec.graph import GraphSpec
from tests.graph.sketch import NUMBERED, graph
from tests.graph.sketch import agents as sketched

THREE_TWICE = """
nodes:
  drafts:  {agent: proposer, models: [a, b, a], sampling: {temperature: 0.5}}
  refined: {agent: aggregator, models: [a, a, b], inputs: drafts}
  answer:  {agent: aggregator, model: a, inputs: refined}
"""
LIARS = {
    "liar": AgentSpec.model_validate(
        {
            "name": "liar",
            "system": "Say {{ target }} {{ tone }}. " + NUMBERED,
            "inputs": {"references": "0+"},
            "given": ["target"],
            "vars": {"tone": "firmly"},
            "sampling": {"temperature": 1, "max_tokens": 9},
        }
    ),
    "deaf": AgentSpec.model_validate({"name": "deaf", "system": "Say no."}),
}


def agents(name: str) -> AgentSpec:
    return LIARS[name] if name in LIARS else sketched(name)


def under(attack: dict[str, Any], text: str = THREE_TWICE, *options: str) -> Plan:
    spec = GraphSpec.model_validate(graph(text).model_dump(exclude_unset=True) | {"attack": attack})
    return compile_graph(spec, Bindings.parse(options) if options else None, agents=agents)


def wrong(attack: dict[str, Any], text: str = THREE_TWICE, *options: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        under(attack, text, *options)
    return [problem.message for problem in caught.value.problems]


def test_truthful_nodes_stay_exactly_as_they_were() -> None:
    clean, attacked = under({}), under({"refined[0]": "liar", "drafts[0]": "liar"})
    liars = {"refined[0]", "drafts[0]"}
    assert {node.id for node in attacked.nodes if node.deceives} == liars
    assert [node for node in attacked.nodes if node.id not in liars] == [
        node for node in clean.nodes if node.id not in liars
    ]
    assert attacked.by_id["refined[1]"].sample == 1, "the second sample, though nobody asks for the first"
    assert attacked.fingerprint != clean.fingerprint


def test_bug_3_equal_models_of_a_layer_play_different_roles() -> None:
    """The published code keys roles by the model's name, so that both of a layer's twins would deceive."""
    plan = under({"refined[1]": "liar"})
    twins = [plan.by_id["refined[0]"], plan.by_id["refined[1]"]]
    assert [node.model for node in twins] == ["a", "a"]
    assert [node.does for node in twins] == ["aggregator", "liar"]


def test_a_deceiver_hears_what_the_node_hears_with_its_model_and_its_sampling() -> None:
    node = under({"drafts[1]": "liar"}).by_id["drafts[1]"]
    assert (node.model, node.inputs, node.vars) == ("b", (), {"tone": "firmly"})
    assert (node.sampling.temperature, node.sampling.max_tokens) == (0.5, 9)
    hearing = under({"refined[2]": {"agent": "liar", "vars": {"tone": "softly"}}}).by_id["refined[2]"]
    assert hearing.inputs == tuple(Edge("references", f"drafts[{number}]") for number in range(3))
    assert hearing.vars == {"tone": "softly"}


def test_inputs_that_a_deceiver_does_not_know_fill_its_first() -> None:
    text = """
    drafts: {agent: proposer, model: a}
    notes: {agent: critic, model: a, inputs: drafts}
    better: {agent: refiner, model: a, inputs: {draft: drafts, critique: notes}}
    answer: {agent: aggregator, model: a, inputs: better}
    """
    inputs = under({"better": "liar"}, text).by_id["better"].inputs
    assert inputs == (Edge("references", "drafts"), Edge("references", "notes"))


@pytest.mark.parametrize("deception", ["liar:deaf", "deaf", {"agent": "liar", "hears": False}])
def test_a_deceiver_may_ignore_its_references(deception: Any) -> None:
    assert under({"refined[2]": deception}).by_id["refined[2]"].inputs == ()


def test_nodes_that_nobody_hears_any_more_are_not_asked() -> None:
    plan = under({f"refined[{number}]": "deaf" for number in range(3)})
    assert [node.id for node in plan.nodes] == ["refined[0]", "refined[1]", "refined[2]", "answer"]


def test_a_reply_is_read_as_that_of_the_agent_whose_place_it_is() -> None:
    text = """
    drafts: {agent: grader, model: a, inputs: first}
    first: {agent: proposer, model: a}
    answer: {agent: aggregator, model: a, inputs: drafts}
    """
    agent = under({"drafts": "liar"}, text).by_id["drafts"].agent
    assert agent is not None and agent.reads == "score"


def test_values_for_the_deceiver_stand_in_for_what_is_given() -> None:
    node = under({"drafts[0]": {"agent": "liar", "vars": {"target": "B"}}}).by_id["drafts[0]"]
    assert node.agent is not None and node.agent.given == ()
    assert node.vars == {"target": "B", "tone": "firmly"}


def test_two_deceivers_never_share_a_sample_and_take_none_of_the_truthful() -> None:
    one_model = {f"drafts[{number}]": "deaf@c" for number in range(3)}
    samples = [under(one_model).by_id[id].sample for id in one_model]
    assert sorted(samples) == [0, 1, 2]
    honest = under({"refined[2]": {"agent": "proposer", "sampling": {"temperature": 0.5}}})
    asked = [(n.model, n.sample) for n in honest.nodes if n.does == "proposer" and n.model == "b"]
    assert asked == [("b", 0), ("b", 1)]


def test_a_deceivers_model_may_be_a_slot_or_a_model() -> None:
    assert under({"drafts[0]": "liar@z"}, THREE_TWICE, "z=sim:x", "sim:y").by_id["drafts[0]"].model == "sim:x"
    assert under({"drafts[0]": "liar@sim:w"}, THREE_TWICE, "sim:y").by_id["drafts[0]"].model == "sim:w"
    spec = GraphSpec.model_validate(graph(THREE_TWICE).model_dump() | {"attack": {"drafts[0]": "liar@z"}})
    assert slots_of(spec) == ("a", "b", "z")
    with pytest.raises(UsageError, match="no slot `q`"):
        compile_graph(spec, Bindings.parse(["q=sim:"]), agents=agents)


@pytest.mark.parametrize(
    ("attack", "message"),
    [
        ({"refined[3]": "liar"}, "attack.refined[3]: the graph has no node `refined[3]`; did you mean `refined["),
        ({"refined": "liar"}, "`refined` is 3 nodes: name one of them, such as `refined[2]`"),
        ({"answer": "liar"}, "`answer` gives the answer: nobody can deceive there"),
        ({"drafts[0]": "lair"}, "attack.drafts[0].agent: unknown agent 'lair'"),
        ({"drafts[0]": {"agent": "liar", "vars": {"tune": 1}}}, "has no variable `tune`; did you mean `tone`?"),
        ({"drafts[0]": "aggregator"}, "the agent `aggregator` takes at least 1 as `references`, but hears 0"),
        (
            {"drafts[0]": {"agent": {"name": "x", "system": "{{ missing }}"}}},
            "attack.drafts[0].agent.system: template: unknown name `missing`",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_with_its_place(attack: dict[str, Any], message: str) -> None:
    [found] = wrong(attack)
    assert message in found


def test_a_selector_is_refused() -> None:
    text = "drafts: {agent: proposer, models: [a, b]}\nkept: {select: {top-k: {k: 1}}, inputs: drafts, agent: chooser, model: a}\nanswer: {agent: aggregator, model: a, inputs: kept}"
    assert wrong({"kept": "liar"}, text) == [
        "attack.kept: `kept` is a selector: attack a node that asks a model"
    ]


def test_a_slot_that_the_graph_does_not_declare_is_refused() -> None:
    text = "slots: {a: one}\nnodes: {drafts: {agent: proposer, model: a}, answer: {agent: aggregator, model: a, inputs: drafts}}"
    [message] = wrong({"drafts": "liar@z"}, text, "sim:")
    assert "attack.drafts.model: `slots` declares no `z`" in message


def test_values_for_single_nodes_win_over_those_of_their_line() -> None:
    text = """
    nodes:
      drafts: {agent: speaker, models: [a, b], vars: {persona: a judge}}
      answer: {agent: aggregator, model: a, inputs: drafts}
    vars: {"drafts[1]": {tone: loudly}}
    """
    plan = under({}, text)
    assert plan.by_id["drafts[0]"].vars == {"tone": "plainly", "persona": "a judge"}
    assert plan.by_id["drafts[1]"].vars == {"tone": "loudly", "persona": "a judge"}
    assert "no node called `drafts[2]` asks a model" in wrong({}, text.replace("drafts[1]", "drafts[2]"))[0]
    assert "has no variable `tune`; did you mean `tone`?" in wrong({}, text.replace("tone:", "tune:"))[0]


def test_drawings_mark_deceivers() -> None:
    plan = under({"refined[2]": "liar"})
    assert "class refined_2 deceiver" in mermaid(plan) and "classDef deceiver" in mermaid(plan)
    assert "deceiver" in svg(plan)
    assert "deceiver" not in mermaid(under({}))
