"""The Python API: it makes the specification that the YAML makes, and says what is wrong as early."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import pytest
import yaml

import moa
from moa.errors import SpecError, UsageError
from moa.spec.catalogue import load_graph, names
from moa.spec.graph import GraphSpec, NodeSpec, Rounds
from tests.support.backends import Scripted

WIRING = {"agent", "select"}


def spec_of(text: str) -> GraphSpec:
    """The specification that a YAML file with this text holds."""
    return GraphSpec.model_validate(yaml.safe_load(text))


def aggregator(**fields: Any) -> moa.AgentSpec:
    shows = "{% for r in references %}{{ loop.index }}. {{ r.text }}\n{% endfor %}"
    return moa.AgentSpec.model_validate(
        {"name": "joiner", "inputs": {"references": "1+"}, "system": shows} | fields
    )


@pytest.mark.parametrize("name", names("graphs"))
def test_a_graph_of_the_catalogue_is_the_same_specification(name: str) -> None:
    located = load_graph(name)
    assert moa.Graph.from_spec(located.spec).spec == located.spec
    assert moa.load(name).spec == located.spec


def test_the_issue_s_example_is_its_yaml() -> None:
    g = moa.Graph("my-ensemble")
    drafts = g.agent("proposer", models=["openai:gpt-5-nano", "ollama:llama3.1"], samples=2)
    g.answer = g.agent("aggregator", model="openai:gpt-5-nano", inputs=drafts)
    assert g.spec == spec_of("""
name: my-ensemble
nodes:
  proposer: {agent: proposer, models: ["openai:gpt-5-nano", "ollama:llama3.1"], samples: 2}
  answer: {agent: aggregator, model: "openai:gpt-5-nano", inputs: proposer}
""")
    assert [node.id for node in g.plan().nodes] == [*(f"proposer[{n}]" for n in range(4)), "answer"]


def test_every_key_of_the_yaml_is_an_argument_and_no_other() -> None:
    def arguments(function: Any) -> set[str]:
        return {*inspect.signature(function).parameters} - {"self"}

    assert arguments(moa.Graph.agent) == NodeSpec.model_fields.keys() - {"select"} | {"name"}
    assert arguments(moa.Graph.__init__) == GraphSpec.model_fields.keys() - {"nodes"}
    several = {"models", "samples", "window", "subsets"}  # a selector is one node
    assert arguments(moa.Graph.select) == NodeSpec.model_fields.keys() - {"select"} - several | {
        "name",
        "selector",
    }


def test_every_setting_arrives_in_the_specification() -> None:
    g = moa.Graph(
        "whole",
        description="All of it.",
        source="A paper",
        slots={"a": "writes", "b": "ranks"},
        overflow="drop",
    )
    drafts = g.agent("proposer", models=["a", "b"], samples=3, name="drafts", sampling={"temperature": 1})
    best = g.select(
        {"top-k": {"k": 4}},
        agent="ranker",
        model="b",
        inputs=drafts,
        name="best",
        vars={"tone": [1, {"x": "y"}]},
    )
    g.joined = g.agent("aggregator", model="a", inputs=[drafts, best], window={"size": 4, "keep": 2})
    g.ballots = g.agent(
        "aggregator", model="a", inputs=best, subsets={"size": 2, "count": 3, "seed": 1}, quorum=2, deadline=5
    )
    last = g.agent(
        "aggregator", model="a", inputs=[g.joined, g.ballots], name="last", timeout=9, overflow="error"
    )
    g.critique = g.agent("critic", model="b", inputs=last)
    g.answer = g.agent(
        "refiner",
        model="a",
        inputs={"draft": last, "critique": g.critique},
        rounds={"times": 2, "replace": last},
    )
    assert g.spec == spec_of("""
name: whole
description: All of it.
source: A paper
slots: {a: writes, b: ranks}
overflow: drop
nodes:
  drafts: {agent: proposer, models: [a, b], samples: 3, sampling: {temperature: 1}}
  best: {select: {top-k: {k: 4}}, agent: ranker, model: b, inputs: drafts, vars: {tone: [1, {x: y}]}}
  joined: {agent: aggregator, model: a, inputs: [drafts, best], window: {size: 4, keep: 2}}
  ballots: {agent: aggregator, model: a, inputs: best, subsets: {size: 2, count: 3, seed: 1}, quorum: 2, deadline: 5}
  last: {agent: aggregator, model: a, inputs: [joined, ballots], timeout: 9, overflow: error}
  critique: {agent: critic, model: b, inputs: last}
  answer: {agent: refiner, model: a, inputs: {draft: last, critique: critique}, rounds: {times: 2, replace: last}}
""")


def test_short_forms_are_those_of_the_yaml() -> None:
    g = moa.Graph("short", answer="vote")
    drafts = g.agent("solver", model="a", samples=3)
    ballots = g.agent("aggregator", model="a", inputs=drafts, subsets="all", name="ballots")
    g.vote = g.select("majority", inputs=(ballots,))
    assert g.spec == spec_of("""
name: short
nodes:
  solver: {agent: solver, model: a, samples: 3}
  ballots: {agent: aggregator, model: a, inputs: solver, subsets: all}
  vote: {select: majority, inputs: [ballots]}
answer: vote
""")


def test_a_node_is_named_after_its_agent_its_attribute_or_as_it_is_told() -> None:
    g = moa.Graph()
    first, second = g.agent("proposer", model="a"), g.agent("proposer", model="a")
    written = g.agent(aggregator(), model="a", inputs=[first, second])
    filed = g.agent("prompts/terse.yaml", model="a")
    told = g.agent("proposer", model="a", name="told")
    assert [node.name for node in (first, second, written, filed, told)] == [
        "proposer",
        "proposer-2",
        "joiner",
        "terse",
        "told",
    ]
    g.drafts = first
    assert (first.name, g.drafts) == ("drafts", first)
    assert [*g.spec.nodes] == ["drafts", "proposer-2", "joiner", "terse", "told"], "in the same place"
    assert g.spec.nodes["joiner"].inputs == ("drafts", "proposer-2")


def test_a_new_name_reaches_all_that_mention_the_old_one() -> None:
    g = moa.load("review-loop")
    before = g.plan()
    for number, name in enumerate(g.spec.nodes):
        if name != "answer":
            setattr(g, f"renamed-{number}", getattr(g, name))
    plan = g.plan()
    assert [len(node.inputs) for node in plan.nodes] == [len(node.inputs) for node in before.nodes]
    assert plan.nodes[0].group.startswith("renamed")
    assert any(
        node.rounds and str(node.rounds.replace).startswith("renamed") for node in g.spec.nodes.values()
    )


def test_names_and_rounds_given_as_text_are_renamed_too() -> None:
    g = moa.Graph()
    g.agent("proposer", model="a", name="draft")
    g.critique = g.agent("critic", model="a", inputs="draft")
    g.answer = g.agent(
        "refiner",
        model="a",
        inputs={"draft": "draft", "critique": "critique"},
        rounds=Rounds(times=2, replace="draft"),
    )
    g.first = g.draft
    answer = g.spec.nodes["answer"]
    assert answer.inputs == {"draft": "first", "critique": "critique"}
    assert answer.rounds == Rounds(times=2, replace="first")
    assert len(g.plan().nodes) == 5


def test_the_node_that_answers_keeps_answering_under_a_new_name() -> None:
    spec = spec_of("nodes: {one: {agent: proposer, model: a}}\nanswer: one")
    g = moa.Graph.from_spec(spec)
    assert g.spec == spec
    g.two = g.one
    assert g.spec.answer == "two"
    g.answer = g.agent("aggregator", model="a", inputs=g.two)
    assert g.plan().answer == "answer"


def test_a_graph_of_the_catalogue_can_be_extended() -> None:
    g = moa.load("self-moa")
    g.joined = g.answer
    g.answer = g.agent("critic", model="a", inputs=g.joined)
    assert [node.id for node in g.plan().nodes][-2:] == ["joined", "answer"]
    other = g.agent("proposer", model="extra")
    g.both = g.agent("aggregator", model="a", inputs=[other, g.joined])
    with pytest.raises(SpecError, match="`slots` declares no `extra`"):
        g.plan()


def test_nodes_of_another_graph_are_refused_wherever_they_stand() -> None:
    foreign = moa.Graph("other").agent("proposer", model="a")
    g = moa.Graph()
    for inputs in (foreign, [foreign], {"references": [foreign]}):
        with pytest.raises(UsageError, match=r"<Node 'proposer' of graph 'other'> belongs to another graph"):
            g.agent("aggregator", model="a", inputs=inputs)
    with pytest.raises(UsageError, match="belongs to another graph"):
        g.agent("aggregator", model="a", rounds={"times": 2, "replace": foreign})
    with pytest.raises(UsageError, match="belongs to another graph"):
        g.answer = foreign
    assert g._nodes == {}


def test_a_name_is_given_once() -> None:
    g = moa.Graph("mine")
    g.agent("proposer", model="a", name="draft")
    with pytest.raises(SpecError, match="the graph 'mine' has a node 'draft' already"):
        g.agent("proposer", model="a", name="draft")
    with pytest.raises(SpecError, match="the graph 'mine' has a node 'draft' already"):
        g.draft = g.agent("proposer", model="a")
    with pytest.raises(UsageError, match="every graph has an attribute `spec`"):
        g.spec = g.agent("proposer", model="a")  # type: ignore[assignment, misc]
    with pytest.raises(UsageError, match="every graph has an attribute `name`"):
        g.name = g.agent("proposer", model="a")  # type: ignore[assignment]
    with pytest.raises(AttributeError, match="no node and no attribute 'nobody'"):
        _ = g.nobody


def test_mistakes_are_all_told_with_the_path_of_their_keys() -> None:
    g = moa.Graph()
    g.agent("proposer", model="a", samples=0, name="drafts")
    g.agent("aggregator", model="a", inputs="drafts", sampling={"temprature": 1}, name="answer")
    with pytest.raises(SpecError) as refused:
        _ = g.spec
    assert [problem.message for problem in refused.value.problems] == [
        "nodes.drafts.samples: must be at least 1, not `0`",
        "nodes.answer.sampling.temprature: unknown key `temprature`; did you mean `temperature`?",
    ]


def test_mistakes_of_the_wiring_name_the_node() -> None:
    g = moa.Graph()
    g.agent("proposer", model="a", name="drafts")
    g.answer = g.agent("aggregater", model="a", inputs="draft")
    with pytest.raises(SpecError) as refused:
        g.plan()
    assert [problem.message for problem in refused.value.problems] == [
        "answer.agent: unknown agent 'aggregater'; did you mean `aggregator`? "
        f"(known: {', '.join(names('agents'))}; a path ends in .yaml)",
        "answer.inputs: no node is called `draft`; did you mean `drafts`?",
    ]


@pytest.mark.parametrize(
    "fields, message",
    [
        (
            {"system": "Join them."},
            "answer.agent.inputs: the agent hears `references`, but no template shows it to the model: "
            "use it, or remove the input",
        ),
        (
            {"system": "{% for r in refrences %}{{ r.text }}{% endfor %}"},
            "answer.agent.system: template: unknown name `refrences`; did you mean `references`?",
        ),
        (
            {"system": "{% for r in references %}{{ r.text }}"},
            "answer.agent.system: template: `{% for %}` is never closed: add `{% endfor %}`",
        ),
    ],
)
def test_an_agent_written_in_python_is_checked_like_one_in_a_file(
    fields: dict[str, Any], message: str
) -> None:
    g = moa.Graph()
    drafts = g.agent("proposer", model="a", samples=2)
    g.answer = g.agent(aggregator(**fields), model="a", inputs=drafts)
    for graph in (g, moa.Graph.from_spec(g.spec)):
        with pytest.raises(SpecError) as refused:
            graph.plan()
        assert [problem.message for problem in refused.value.problems] == [message]


async def test_nothing_is_asked_when_an_agent_does_not_show_what_it_hears() -> None:
    g = moa.Graph()
    drafts = g.agent("proposer", model="mine")
    g.answer = g.agent(aggregator(system="Join them."), model="mine", inputs=drafts)
    backend = Scripted()
    async with moa.Runner(backends={"mine": backend}) as runner:
        with pytest.raises(SpecError, match="no template shows it"):
            await runner.run(g, "Why?")
        with pytest.raises(SpecError, match="no template shows it"):
            await runner.run(g.spec, "Why?")
    assert backend.requests == []


async def test_inputs_by_role_reach_their_places_in_the_prompt() -> None:
    refiner = moa.AgentSpec.model_validate(
        {
            "name": "refiner",
            "inputs": {"draft": 1, "critique": 1},
            "user": "D={{ draft[0].text }} C={{ critique[0].text }}",
        }
    )
    g = moa.Graph()
    said = {"d": "the draft", "c": "the critique"}
    drafted = g.agent("proposer", model="d", name="drafted")
    checked = g.agent("proposer", model="c", name="checked")
    g.answer = g.agent(refiner, model="last", inputs={"critique": checked, "draft": [drafted]})
    backends = {name: Scripted(lambda request, text=text: text) for name, text in said.items()}  # type: ignore[misc]
    last = Scripted()
    async with moa.Runner(backends={**backends, "last": last}) as runner:
        await runner.run(g, "Why?")
    assert last.requests[0].messages[-1]["content"] == "D=the draft C=the critique"


async def test_a_graph_that_changes_is_compiled_anew() -> None:
    backend = Scripted()
    g = moa.Graph()
    g.answer = g.agent("proposer", model="a")
    async with moa.Runner(backends={"one": backend, "two": (other := Scripted())}) as runner:
        await runner.run(g.bind("one"), "Why?")
        await runner.run(g.bind("two"), "Why?")
        g.draft = g.answer
        g.answer = g.agent(aggregator(), model="one", inputs=g.draft)
        reply = await runner.run(g.bind({"one": "two"}), "Why?")
    assert [node.id for node in reply.nodes] == ["draft", "answer"]
    assert (len(backend.requests), len(other.requests)) == (1, 3)


def test_bindings_add_up() -> None:
    g = moa.load("moa-lite", models={"a": "sim:"}).bind({"b": "sim:skill=1"}).bind("sim:skill=0")
    models = [node.model for node in g.plan().nodes]
    assert models == ["sim:", "sim:skill=1", *["sim:skill=0"] * 4, "sim:"]
    with pytest.raises(UsageError, match="the graph has no slot `z`"):
        g.bind({"z": "sim:"}).plan()


def test_nothing_is_a_graph_with_its_mistake() -> None:
    with pytest.raises(SpecError, match="nodes"):
        _ = moa.Graph().spec


def test_a_question_is_answered_without_asyncio() -> None:
    g = moa.load("single", models="sim:skill=1")
    assert g.run_sync("What is 2 + 2?").ok


async def test_run_sync_says_what_to_write_inside_a_running_loop() -> None:
    g = moa.load("single", models="sim:")
    with pytest.raises(UsageError, match=r"`await graph.run\(\.\.\.\)`"):
        g.run_sync("Why?")


async def test_a_stream_is_the_answer_in_pieces() -> None:
    g = moa.load("single", models="sim:skill=1")
    pieces = [piece async for piece in g.stream("Why?", seed=3)]
    assert "".join(pieces) == (await g.run("Why?", seed=3)).text
    assert asyncio.all_tasks() == {asyncio.current_task()}
