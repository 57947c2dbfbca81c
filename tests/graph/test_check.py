"""Mistakes in a graph: what is found, where, and what the message tells the user to do."""

from __future__ import annotations

import pytest

from moa.errors import Problem, SpecError, UsageError
from moa.graph.bind import Bindings
from moa.graph.check import mistakes
from moa.spec.agent import AgentSpec
from moa.spec.model import ModelSpec
from tests.graph.sketch import agents, complaints, graph

DRAFTS = "drafts: {agent: proposer, model: a, samples: 3}\n"
ANSWER = "answer: {agent: aggregator, model: a, inputs: drafts}\n"

CASES = {
    "unknown input": (
        DRAFTS + "answer: {agent: aggregator, model: a, inputs: [drafts, draft]}",
        ["nodes.answer.inputs.1: no node is called `draft`; did you mean `drafts`?"],
    ),
    "unknown input by name": (
        DRAFTS + "answer: {agent: critic, model: a, inputs: {draft: zebra}}",
        [
            "nodes.answer.inputs.draft: no node is called `zebra`; known: drafts",
        ],
    ),
    "unknown agent": (
        DRAFTS + "answer: {agent: agregator, model: a, inputs: drafts}",
        ["nodes.answer.agent: unknown agent 'agregator'"],
    ),
    "unknown selector": (
        DRAFTS + "answer: {select: majorty, inputs: drafts}",
        ["nodes.answer.select: unknown selector `majorty`; did you mean `majority`?"],
    ),
    "cycle": (
        "one: {agent: critic, model: a, inputs: two}\n"
        "two: {agent: critic, model: a, inputs: three}\n"
        "three: {agent: critic, model: a, inputs: one}\n"
        "answer: {agent: aggregator, model: a, inputs: one}",
        [
            "nodes.one.inputs: nodes hear each other in a circle: one -> three -> two -> one; "
            "use `rounds` to repeat a part of a graph"
        ],
    ),
    "node that hears itself": (
        "answer: {agent: critic, model: a, inputs: answer}",
        [
            "nodes.answer.inputs: nodes hear each other in a circle: answer -> answer; "
            "use `rounds` to repeat a part of a graph"
        ],
    ),
    "unreachable": (
        DRAFTS + "lost: {agent: proposer, model: a}\n" + ANSWER,
        ["nodes.lost: `lost` never reaches the answer `answer`: let a node hear it, or remove it"],
    ),
    "unknown answer": (
        "nodes:\n  one: {agent: proposer, model: a}\nanswer: onne",
        ["answer: no node is called `onne`; did you mean `one`?"],
    ),
    "ambiguous answer": (
        "one: {agent: proposer, model: a}\ntwo: {agent: proposer, model: a}",
        ["nodes: `one`, `two` are heard by nobody: name the one that answers with `answer: NODE`"],
    ),
    "answer of several nodes": (
        "answer: {agent: proposer, models: [a, b]}",
        [
            "nodes.answer: `answer` answers but is 2 nodes: end with one response, by an aggregator or a selector"
        ],
    ),
    "answer of several responses": (
        DRAFTS + "answer: {select: {first: {k: 2}}, inputs: drafts}",
        [
            "nodes.answer: `answer` answers but hands on up to 2 responses: "
            "end with one response, by an aggregator or a selector"
        ],
    ),
    "no model": (
        "answer: {agent: proposer}",
        [
            "nodes.answer: `answer` asks a model but names none: "
            "add `model: a` (a slot, bound when the graph runs) or `model: provider:id`"
        ],
    ),
    "slots that are not declared": (
        "slots: {writer: writes, critic: criticises}\n"
        "nodes:\n"
        "  drafts: {agent: proposer, models: [writer, wirter, 'x:y']}\n"
        "  answer: {agent: aggregator, model: b, inputs: drafts}",
        [
            "nodes.drafts.models.1: `slots` declares no `wirter`, and a model is written `provider:id`; "
            "did you mean `writer`?",
            "nodes.answer.model: `slots` declares no `b`, and a model is written `provider:id`; "
            "known: writer, critic",
        ],
    ),
    "model of a selector": (
        DRAFTS + "answer: {select: majority, model: a, inputs: drafts}",
        [
            "nodes.answer.model: the selector of `answer` asks no model: "
            "remove `model`, or add the `agent` that it asks"
        ],
    ),
    "samples of a selector": (
        DRAFTS + "answer: {select: majority, samples: 2, inputs: drafts}",
        [
            "nodes.answer.samples: `answer` asks no model, so its samples would be equal: remove `samples`",
            "nodes.answer: `answer` answers but is 2 nodes: end with one response, by an aggregator or a selector",
        ],
    ),
    "selector that needs an agent": (
        DRAFTS + "answer: {select: top-k, inputs: drafts}",
        ["nodes.answer.select: the selector `top-k` asks a model: add `agent` and `model`"],
    ),
    "agent that the selector does not ask": (
        DRAFTS + "answer: {select: majority, agent: aggregator, model: a, inputs: drafts}",
        ["nodes.answer.agent: the selector `majority` asks nobody: remove `agent`"],
    ),
    "agent of a selector without an input": (
        DRAFTS + "answer: {select: top-k, agent: proposer, model: a, inputs: drafts}",
        [
            "nodes.answer.agent: the agent `proposer` hears nothing, so the selector cannot ask it: give it an input"
        ],
    ),
    "agent whose replies the selector cannot use": (
        DRAFTS + "answer: {select: top-k, agent: critic, model: a, inputs: drafts}",
        [
            "nodes.answer.agent.reads: `top-k` needs an agent that reads a `ranking` or a `choice` "
            "(or `each: true` and one that reads a `score`), not `text`"
        ],
    ),
    "ranker that grades one by one": (
        DRAFTS + "answer: {select: {top-k: {each: true}}, agent: chooser, model: a, inputs: drafts}",
        [
            "nodes.answer.agent.reads: `top-k` with `each: true` needs an agent that reads a `score`, not `choice`"
        ],
    ),
    "choice of several": (
        DRAFTS + "best: {select: {top-k: {k: 2}}, agent: chooser, model: a, inputs: drafts}\n"
        "answer: {agent: aggregator, model: a, inputs: best}",
        [
            "nodes.best.agent.reads: an agent that reads a `choice` names one response, not 2: "
            "take one that reads a `ranking`"
        ],
    ),
    "named inputs of a selector": (
        DRAFTS + "answer: {select: majority, inputs: {votes: drafts}}",
        ["nodes.answer.inputs: a selector chooses from one list: write `inputs: [...]`"],
    ),
    "wrong options": (
        DRAFTS + "answer: {select: {first: {kk: 1}}, inputs: drafts}",
        ["nodes.answer.select.options.kk: unknown key `kk`; did you mean `k`?"],
    ),
    "wrong option value": (
        DRAFTS + "answer: {select: {first: {k: 0}}, inputs: drafts}",
        ["nodes.answer.select.options.k: must be at least 1, not `0`"],
    ),
    "proposer with inputs": (
        DRAFTS + "answer: {agent: proposer, model: a, inputs: drafts}",
        [
            "nodes.answer.inputs: the agent `proposer` hears nothing: "
            "remove `inputs`, or take an agent that hears (an aggregator)"
        ],
    ),
    "aggregator without inputs": (
        "answer: {agent: aggregator, model: a}",
        ["nodes.answer.inputs: the agent `aggregator` needs `references` (at least 1): add `inputs`"],
    ),
    "unknown role": (
        DRAFTS + "answer: {agent: aggregator, model: a, inputs: {references: drafts, reference: drafts}}",
        [
            "nodes.answer.inputs.reference: the agent `aggregator` has no input `reference`; "
            "did you mean `references`?"
        ],
    ),
    "missing role": (
        "one: {agent: proposer, model: a}\nanswer: {agent: refiner, model: a, inputs: {draft: one}}",
        ["nodes.answer.inputs: the agent `refiner` needs `critique` (exactly 1): add `critique` to `inputs`"],
    ),
    "too many responses": (
        DRAFTS + "answer: {agent: critic, model: a, inputs: drafts}",
        [
            "nodes.answer.inputs: the agent `critic` takes exactly 1 as `draft`, "
            "but 3 responses arrive at `answer`"
        ],
    ),
    "too few responses": (
        "one: {agent: proposer, model: a}\nanswer: {agent: pair, model: a, inputs: one}",
        [
            "nodes.answer.inputs: the agent `pair` takes exactly 2 as `references`, "
            "but 1 response arrives at `answer`"
        ],
    ),
    "too many from a selector": (
        DRAFTS
        + "kept: {select: {first: {k: 2}}, inputs: drafts}\nanswer: {agent: critic, model: a, inputs: kept}",
        [
            "nodes.answer.inputs: the agent `critic` takes exactly 1 as `draft`, "
            "but 2 responses arrive at `answer`"
        ],
    ),
    "wrong number in a later round": (
        "one: {agent: proposer, model: a}\n"
        "many: {agent: critic, models: [a, b], inputs: one, rounds: 2}\n"
        "answer: {agent: aggregator, model: a, inputs: many}",
        [
            "nodes.many.inputs: the agent `critic` takes exactly 1 as `draft`, "
            "but 2 responses arrive at `many[1][0]`",
            "nodes.many.inputs: the agent `critic` takes exactly 1 as `draft`, "
            "but 2 responses arrive at `many[1][1]`",
        ],
    ),
    "quorum too large": (
        DRAFTS + "answer: {agent: aggregator, model: a, inputs: drafts, quorum: 4}",
        ["nodes.answer.quorum: a quorum of 4 is more than the 3 nodes that `answer` hears"],
    ),
    "window over several responses": (
        DRAFTS
        + "kept: {select: {first: {k: 2}}, inputs: drafts}\n"
        + "answer: {agent: aggregator, model: a, inputs: kept, window: {size: 6}}",
        [
            "nodes.answer.window: `window` divides its references one by one, but `kept` hands on up to 2 as one: "
            "hear its inputs instead"
        ],
    ),
    "subsets of nothing": (
        "answer: {agent: proposer, model: a, subsets: all}",
        ["nodes.answer.subsets: `subsets` needs `inputs` to divide"],
    ),
    "window over nothing": (
        "answer: {agent: proposer, model: a, window: {size: 4}}",
        ["nodes.answer.window: `window` needs `inputs` to divide"],
    ),
    "absurdly many subsets": (
        "drafts: {agent: proposer, model: a, samples: 30}\n"
        "ballots: {agent: aggregator, model: a, inputs: drafts, subsets: all}\n"
        "answer: {select: majority, inputs: ballots}",
        [
            "nodes.ballots.subsets: makes 1,073,741,823 nodes; a graph has at most 10,000: set `size` or `count`"
        ],
    ),
    "absurdly many samples": (
        "drafts: {agent: proposer, models: [a, b], samples: 9000}\n" + ANSWER,
        ["nodes.drafts.samples: makes 18,000 nodes; a graph has at most 10,000: lower `samples`"],
    ),
    "subset larger than the references": (
        DRAFTS + "ballots: {agent: aggregator, model: a, inputs: drafts, subsets: {size: 4}}\n"
        "answer: {select: majority, inputs: ballots}",
        ["nodes.ballots.subsets: asks for subsets of 4, but there are 3 references"],
    ),
    "more subsets than there are": (
        DRAFTS + "ballots: {agent: aggregator, model: a, inputs: drafts, subsets: {size: 2, count: 5}}\n"
        "answer: {select: majority, inputs: ballots}",
        ["nodes.ballots.subsets: asks for 5 subsets of 2, but 3 references have 3"],
    ),
    "rounds of what": (
        "one: {agent: proposer, model: a}\ntwo: {agent: proposer, model: b}\n"
        "answer: {agent: aggregator, model: a, inputs: [one, two], rounds: 2}",
        ["nodes.answer.rounds: `answer` hears 2 nodes: say which one each round replaces, `replace: NODE`"],
    ),
    "rounds replace an unknown node": (
        DRAFTS + "answer: {agent: aggregator, model: a, inputs: drafts, rounds: {times: 2, replace: draft}}",
        ["nodes.answer.rounds.replace: no node is called `draft`; did you mean `drafts`?"],
    ),
    "rounds replace what is not heard": (
        "one: {agent: proposer, model: a}\ntwo: {agent: proposer, model: b}\n"
        "mid: {agent: aggregator, model: a, inputs: one, rounds: {times: 2, replace: two}}\n"
        "answer: {agent: aggregator, model: a, inputs: [mid, two]}",
        ["nodes.mid.rounds.replace: `mid` does not hear `two`, directly or through others"],
    ),
    "rounds inside rounds": (
        "one: {agent: proposer, model: a}\n"
        "inner: {agent: aggregator, model: a, inputs: one, rounds: 2}\n"
        "answer: {agent: aggregator, model: a, inputs: inner, rounds: {times: 2, replace: one}}",
        [
            "nodes.answer.rounds: the rounds of `answer` repeat `inner`, which other rounds repeat already: "
            "rounds inside rounds are not supported"
        ],
    ),
    "rounds that hear each other": (
        "p: {agent: proposer, model: a}\nq: {agent: proposer, model: b}\n"
        "a1: {agent: aggregator, model: a, inputs: p}\nb2: {agent: aggregator, model: a, inputs: q}\n"
        "b1: {agent: aggregator, model: a, inputs: [q, a1]}\na2: {agent: aggregator, model: a, inputs: [p, b2]}\n"
        "x: {agent: aggregator, model: a, inputs: [a1, a2], rounds: {times: 2, replace: p}}\n"
        "y: {agent: aggregator, model: a, inputs: [b1, b2], rounds: {times: 2, replace: q}}\n"
        "answer: {agent: aggregator, model: a, inputs: [x, y]}",
        [
            "nodes.y.rounds: the rounds of `x` and `y` hear each other's nodes: "
            "one must end before the next begins"
        ],
    ),
    "unknown variable": (
        "answer: {agent: speaker, model: a, vars: {tonne: loud, persona: x}}",
        ["nodes.answer.vars.tonne: the agent has no variable `tonne`; did you mean `tone`?"],
    ),
    "missing variable": (
        "answer: {agent: speaker, model: a}",
        ["nodes.answer.agent: the agent's template uses `persona`: add it to `vars`"],
    ),
    "variables of a selector": (
        DRAFTS + "answer: {select: majority, inputs: drafts, vars: {tone: loud}}",
        ["nodes.answer.vars: `answer` asks no model: remove `vars`"],
    ),
}


@pytest.mark.parametrize("text, expected", CASES.values(), ids=CASES.keys())
def test_a_mistake_names_its_place_and_the_remedy(text: str, expected: list[str]) -> None:
    assert complaints(text) == expected


def test_a_right_graph_has_none() -> None:
    assert complaints(DRAFTS + ANSWER, "x:y") == []


def test_all_mistakes_are_found_at_once_in_the_order_of_the_nodes() -> None:
    found = complaints(
        "nodes:\n"
        "  drafts: {agent: proposre, model: a}\n"
        "  loop: {agent: critic, model: a, inputs: loop}\n"
        "  bad: {agent: proposer}\n"
        "  three: {agent: proposer, model: a, samples: 3}\n"
        "  check: {agent: critic, model: a, inputs: three, quorum: 9}\n"
        "  vote: {select: {first: {k: x}}, inputs: [three, nobody]}\n"
        "  answer: {agent: aggregator, model: a, inputs: [drafts, loop, bad, check, vote]}\n"
    )
    places = [complaint.split(":")[0] for complaint in found]
    assert places == [
        "nodes.drafts.agent",
        "nodes.loop.inputs",
        "nodes.bad",
        "nodes.check.inputs",
        "nodes.check.quorum",
        "nodes.vote.select.options.k",
        "nodes.vote.inputs.1",
    ]


def test_slots_left_unbound_are_mistakes_where_bindings_are_given() -> None:
    text = "drafts: {agent: proposer, models: [a, b, 'x:z']}\nanswer: {agent: aggregator, model: c, inputs: drafts}"
    assert complaints(text, "a=x:y") == [
        "nodes.drafts.models.1: slot `b` is not bound: add -m b=MODEL (or -m MODEL for every slot)",
        "nodes.answer.model: slot `c` is not bound: add -m c=MODEL (or -m MODEL for every slot)",
    ]


def test_a_graph_that_declares_slots_takes_models_by_name_and_slots_that_are_bound_by_name() -> None:
    spec = graph(
        "slots: {a: writes}\nnodes:\n  drafts: {agent: proposer, models: [a, big, extra]}\n"
        "  answer: {agent: aggregator, model: a, inputs: drafts}"
    )
    big = {"big": ModelSpec(provider="openai")}
    assert mistakes(spec, agents, Bindings({"a": "x:y", "extra": "x:y"}, None, big)) == []
    (wrong,) = mistakes(spec, agents, Bindings({"a": "x:y"}, None, big))
    assert wrong.loc == ("nodes", "drafts", "models", 2)
    assert "declares no `extra`" in wrong.message, "and not that it is unbound besides"
    assert mistakes(spec, agents, Bindings({}, "x:y", big)) == [wrong], (
        "one model for all hides no misspelling"
    )


def test_the_mistakes_of_an_agent_file_are_told_at_the_node_that_names_it() -> None:
    def broken(name: str) -> AgentSpec:
        raise SpecError([Problem("one", "agents/x.yaml", 1, 2), Problem("two", "agents/x.yaml", 3, 4)])

    found = mistakes(graph("answer: {agent: x, model: a}"), broken)
    assert [mistake.message for mistake in found] == ["agents/x.yaml:1:2: one", "agents/x.yaml:3:4: two"]
    assert {mistake.loc for mistake in found} == {("nodes", "answer", "agent")}


def test_an_agent_is_looked_up_even_when_it_is_used_twice_wrongly() -> None:
    def unknown(name: str) -> AgentSpec:
        raise UsageError(f"unknown agent {name!r}")

    found = mistakes(graph("one: {agent: x, model: a}\nanswer: {agent: y, model: a, inputs: one}"), unknown)
    assert [mistake.loc[1] for mistake in found] == ["one", "answer"]
