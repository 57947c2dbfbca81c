"""Every graph of the gallery against its paper: its wiring, its calls, its sampling, and a run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import moa
from moa.backends.base import Request
from moa.errors import SpecError
from moa.evaluate.oracle import informed
from moa.graph.bind import Bindings
from moa.graph.compile import compile_graph, slots_of
from moa.graph.plan import Plan, PlanNode
from moa.spec.catalogue import load_agent, load_graph, names
from moa.spec.registry import BACKENDS, SELECTORS
from tests.support.backends import Scripted

SIX = list("abcdef")
CALLS = {
    "best-of-n": 6 + 1,
    "cluster-filter": 3 + 3 + 1,
    "cluster-prompt": 3 + 3 + 1,
    "dropout-vote": 3 + 3 + 7,
    "majority-vote": 9,
    "moa": 6 * 2 + 1,
    "moa-3-3-1": 3 + 3 + 1,
    "moa-lite": 6 + 1,
    "propose-and-aggregate": 5 + 5 + 1,
    "residual-moa": 6 * 3 + 2 + 1,
    "review-loop": 1 + 2 * 2,
    "self-moa": 6 + 1,
    "self-moa-seq": 30 + 9,
    "single": 1,
    "universal-self-consistency": 8 + 1,
}
"""Calls for one question, as the papers count them (docs/graphs.md says where a number is ours)."""
SCORED = {"best-of-n-reward": 6, "density-ratio": 6, "perplexity-consistency": 9, "query-likelihood": 6}
"""Calls of the graphs that also need what only some servers tell; tests/run runs them over such a server."""
UNPUBLISHED = {"single"}


def plan_of(name: str) -> Plan:
    return compile_graph(load_graph(name).spec)


def members(name: str, count: int) -> list[str]:
    return [f"{name}[{index}]" for index in range(count)]


def heard(node: PlanNode, role: str | None = None) -> list[str]:
    return [edge.node for edge in node.inputs if role in (None, edge.role)]


def calls_of(node: PlanNode) -> int:
    if node.select is None:
        return 1
    return int(SELECTORS.get(node.select.name).model_validate(node.select.options).calls(len(node.inputs)))


def agent_of(node: PlanNode) -> str | None:
    return node.agent.name if node.agent else None


def test_the_gallery_is_what_the_tests_know() -> None:
    assert set(CALLS) <= set(names("graphs"))


@pytest.mark.parametrize("name", sorted(CALLS))
def test_each_graph_takes_the_calls_of_its_paper(name: str) -> None:
    assert sum(calls_of(node) for node in plan_of(name).nodes) == CALLS[name]


@pytest.mark.parametrize("name", sorted(CALLS))
def test_each_graph_says_what_it_is_and_whose(name: str) -> None:
    spec = load_graph(name).spec
    assert len(spec.description) > 20
    used = {model for node in spec.nodes.values() for model in (*(node.models or ()), node.model) if model}
    assert set(spec.slots) == used
    assert all(re.fullmatch("[a-z]", slot) for slot in used)
    if name not in UNPUBLISHED:
        assert re.search(r"^[A-Z]\S+ et al\. 20\d\d, .+, arXiv:\d{4}\.\d{5}", spec.source or "")
    counted = re.search(r"\((\d+) calls", spec.description)
    assert counted is None or int(counted[1]) == CALLS[name]


@pytest.mark.parametrize("name", names("agents"))
def test_each_agent_says_what_it_is_and_whose(name: str) -> None:
    agent = load_agent(name).spec
    assert agent.description.endswith(".")
    assert re.search(r"20\d\d, .+, arXiv:\d{4}\.\d{5}", agent.source or "")
    assert agent.given or agent.sampling.max_tokens == 2048


def test_moa_is_two_layers_of_six_and_an_aggregator() -> None:
    """Section 2: every agent hears all of the layer before, and only that; the last layer is one agent."""
    plan = plan_of("moa")
    drafts, refined, answer = plan.nodes[:6], plan.nodes[6:12], plan.nodes[12]
    assert [node.id for node in plan.nodes] == [*members("drafts", 6), *members("refined", 6), "answer"]
    assert [node.model for node in drafts] == [node.model for node in refined] == SIX
    assert all(heard(node) == [] and agent_of(node) == "proposer" for node in drafts)
    assert all(heard(node) == members("drafts", 6) and agent_of(node) == "aggregator" for node in refined)
    assert (heard(answer), answer.model, agent_of(answer)) == (members("refined", 6), "a", "aggregator")
    assert all((node.sampling.temperature, node.sampling.max_tokens) == (0.7, 2048) for node in plan.nodes)


def test_moa_lite_is_one_layer_less() -> None:
    plan = plan_of("moa-lite")
    assert [node.id for node in plan.nodes] == [*members("drafts", 6), "answer"]
    assert [node.model for node in plan.nodes] == [*SIX, "a"]
    assert heard(plan.nodes[-1]) == members("drafts", 6)


def test_self_moa_aggregates_six_samples_of_one_model() -> None:
    plan = plan_of("self-moa")
    assert [node.id for node in plan.nodes] == [*members("drafts", 6), "answer"]
    assert {node.model for node in plan.nodes} == {"a"}
    assert [node.sample for node in plan.nodes[:6]] == list(range(6))
    assert heard(plan.nodes[-1]) == members("drafts", 6)
    assert {node.sampling.temperature for node in plan.nodes} == {0.7}


def test_self_moa_seq_slides_a_window_of_six_that_repeats_the_synthesis_three_times() -> None:
    """1 + ceil((30 - 6) / 3) = 9 aggregations; the first window holds six drafts."""
    plan = plan_of("self-moa-seq")
    drafts, windows = members("drafts", 30), plan.nodes[30:]
    assert [node.id for node in plan.nodes] == [*drafts, *members("answer", 9)]
    assert heard(windows[0]) == drafts[:6]
    for step, window in enumerate(windows[1:], 1):
        fresh = drafts[6 + 3 * (step - 1) : 6 + 3 * step]
        assert heard(window) == [f"answer[{step - 1}]"] * 3 + fresh
    assert plan.answer == "answer[8]"


def test_dropout_vote_aggregates_every_subset_and_counts() -> None:
    """Section 4 of the paper, and the example of its code: 2^3 - 1 ballots over the second layer."""
    plan = plan_of("dropout-vote")
    refined, ballots, answer = plan.nodes[3:6], plan.nodes[6:13], plan.nodes[13]
    assert all(heard(node) == members("drafts", 3) for node in refined)
    subsets = [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)]
    assert [heard(node) for node in ballots] == [[f"refined[{index}]" for index in one] for one in subsets]
    assert {(node.model, agent_of(node)) for node in ballots} == {("a", "aggregator")}
    assert (answer.select and answer.select.name, heard(answer)) == ("majority", members("ballots", 7))


@pytest.mark.parametrize(
    ("name", "between", "selector"),
    [("cluster-filter", "kept", "largest-cluster"), ("cluster-prompt", "grouped", "label-by-cluster")],
)
def test_the_clusters_stand_between_the_last_layer_and_its_aggregator(
    name: str, between: str, selector: str
) -> None:
    plan = plan_of(name)
    node, answer = plan.by_id[between], plan.by_id["answer"]
    assert [node.model for node in plan.nodes[:6]] == [*"abc", *"abc"]
    assert (node.select and node.select.name, heard(node)) == (selector, members("refined", 3))
    assert (heard(answer), answer.model) == ([between], "a")


def test_best_of_n_ranks_six_samples() -> None:
    plan = plan_of("best-of-n")
    answer = plan.by_id[plan.answer]
    assert heard(answer) == members("drafts", 6)
    assert (answer.select and answer.select.name, agent_of(answer)) == ("top-k", "ranker")
    assert answer.sampling.temperature == 0


def test_best_of_n_by_a_reward_model_asks_it_and_no_agent() -> None:
    plan = plan_of("best-of-n-reward")
    answer = plan.by_id[plan.answer]
    assert heard(answer) == members("drafts", 6)
    assert answer.select and answer.select.options == {"scorer": "reward"}
    assert (answer.model, plan.by_id["drafts[0]"].sampling.temperature) == (None, 0.7)


def test_density_ratio_reads_with_two_models_of_their_own() -> None:
    """Equation 2: the reward is log p_strong(y|x) - log p_weak(y|x), of models beside the one that writes."""
    spec = load_graph("density-ratio").spec
    assert [*slots_of(spec)] == ["a", "strong", "weak"] == [*spec.slots]
    bound = compile_graph(spec, Bindings({"a": "t:w", "strong": "t:s", "weak": "t:b"}))
    answer = bound.by_id[bound.answer]
    assert heard(answer) == members("drafts", 6)
    assert answer.select and answer.select.name == "density-ratio"
    assert answer.select.options == {"strong": "t:s", "weak": "t:b"}
    assert (answer.model, {node.model for node in bound.nodes[:6]}) == (None, {"t:w"})


def test_universal_self_consistency_samples_warm_and_chooses_cold() -> None:
    """Section 4.1: eight samples at T = 0.6, the choice at T = 0."""
    plan = plan_of("universal-self-consistency")
    answer = plan.by_id[plan.answer]
    assert heard(answer) == members("drafts", 8)
    assert agent_of(answer) == "consistency-chooser"
    assert [node.sampling.temperature for node in plan.nodes] == [0.6] * 8 + [0]


def test_majority_vote_counts_nine_ballots() -> None:
    plan = plan_of("majority-vote")
    answer = plan.by_id[plan.answer]
    assert heard(answer) == members("ballots", 9)
    assert (answer.select and answer.select.name, answer.agent) == ("majority", None)


def test_review_loop_revises_what_it_reviewed() -> None:
    plan = plan_of("review-loop")
    assert {node.id: (node.model, heard(node)) for node in plan.nodes} == {
        "draft": ("a", []),
        "critique[0]": ("b", ["draft"]),
        "answer[0]": ("a", ["draft", "critique[0]"]),
        "critique[1]": ("b", ["answer[0]"]),
        "answer[1]": ("a", ["answer[0]", "critique[1]"]),
    }
    assert plan.answer == "answer[1]"
    assert heard(plan.by_id["answer[1]"], "draft") == ["answer[0]"]


def test_propose_and_aggregate_is_five_five_one() -> None:
    plan = plan_of("propose-and-aggregate")
    drafts, refined, answer = plan.nodes[:5], plan.nodes[5:10], plan.nodes[10]
    assert [node.id for node in plan.nodes] == [*members("drafts", 5), *members("refined", 5), "answer"]
    assert all(heard(node) == members("drafts", 5) for node in refined)
    assert [node.sample for node in refined] == list(range(5))
    assert heard(answer) == members("refined", 5)
    assert {node.model for node in plan.nodes} == {"a"}
    assert {(n.sampling.temperature, n.sampling.top_p) for n in (*drafts, *refined)} == {(0.7, 0.95)}
    assert (answer.sampling.temperature, answer.sampling.top_p) == (0.7, 1)
    assert {node.sampling.max_tokens for node in plan.nodes} == {4096}


def test_residual_moa_hands_on_the_most_diverse_three_and_what_was_lost() -> None:
    plan = plan_of("residual-moa")
    for before, kept, layer in (("drafts", "kept1", "second"), ("second", "kept2", "third")):
        assert heard(plan.by_id[kept]) == members(before, 6)
        assert all(heard(plan.by_id[node], "references") == [kept] for node in members(layer, 6))
    assert all(heard(plan.by_id[node], "residual") == [] for node in members("second", 6))
    assert all(heard(plan.by_id[node], "residual") == ["residual2"] for node in members("third", 6))
    assert (heard(plan.by_id["residual2"], "before"), heard(plan.by_id["residual2"], "after")) == (
        ["kept1"],
        ["kept2"],
    )
    assert (heard(plan.by_id["residual3"], "before"), heard(plan.by_id["residual3"], "after")) == (
        ["kept2"],
        ["kept3"],
    )
    assert heard(plan.by_id["answer"]) == ["kept3", "residual3"]
    selected = [node.select for node in plan.nodes if node.select]
    assert [(select.name, select.options) for select in selected] == [("diverse", {"k": 3})] * 3


class Said(NamedTuple):
    """What a scripted model is asked to say when a prompt holds certain words."""

    words: str
    reply: str


SCRIPT = (
    Said("Rank the 6 responses", "All fine.\n[3] > [1] > [2]"),
    Said("Compare what the responses conclude", "The most consistent response is Response 2"),
    Said("step by step", "Because.\nAnswer: {seed}"),
)


def reply_to(request: Request) -> str:
    prompt = "\n".join(str(message["content"]) for message in request.messages)
    scripted = [said.reply for said in SCRIPT if said.words in prompt]
    return scripted[0] if scripted else "reply {seed}"


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scripted]:
    scripted = Scripted(reply_to)
    monkeypatch.setitem(BACKENDS._registered, "gallery", lambda spec: scripted)
    yield scripted


@pytest.mark.parametrize("name", sorted(CALLS))
async def test_each_graph_answers_with_exactly_those_calls(name: str, backend: Scripted) -> None:
    reply = await moa.load(name, models="gallery:any").run("Why is the sky blue?")
    assert reply.text
    assert sum(request.n for request in backend.requests) == CALLS[name]
    assert all(node.state == "ok" for node in reply.nodes)
    split = "no two of 9 answers agree"
    assert [split in warning for warning in reply.warnings] == ([True] if name == "majority-vote" else [])


async def test_the_ranker_and_the_chooser_decide(backend: Scripted) -> None:
    best = await moa.load("best-of-n", models="gallery:any").run("Why?")
    chosen = await moa.load("universal-self-consistency", models="gallery:any").run("Why?")
    assert best.text == best.node("drafts[2]").text
    assert chosen.text == chosen.node("drafts[1]").text


async def test_the_aggregator_hears_the_layout_of_the_paper(backend: Scripted) -> None:
    reply = await moa.load("self-moa", models="gallery:any").run("Why is the sky blue?")
    system, user = backend.requests[-1].messages
    drafts = [reply.node(node).text for node in members("drafts", 6)]
    block = "\n".join(f"{number}. {text}" for number, text in enumerate(drafts, 1))
    assert system["role"] == "system"
    assert system["content"].endswith(f"\n\nResponses from models:\n{block}")
    assert user == {"role": "user", "content": "Why is the sky blue?"}


async def test_the_refiner_hears_the_draft_and_its_review(backend: Scripted) -> None:
    await moa.load("review-loop", models="gallery:any").run("Why is the sky blue?")
    prompts = [request.messages[-1]["content"] for request in backend.requests]
    assert prompts[0] == "Why is the sky blue?"
    assert all("Why is the sky blue?" in prompt and "draft of an answer" in prompt for prompt in prompts[1:])
    assert ["review of the draft" in prompt for prompt in prompts] == [False, False, True, False, True]


CHOOSING = {
    "cluster": ["largest-cluster", "medoid"],
    "doge-election": ["doge-election"],
    "longest": ["longest"],
    "medoid": ["medoid"],
    "oracle": ["oracle"],
    "random": ["random"],
    "shortest": ["shortest"],
}
"""Graphs over any number of members, and what chooses among their answers."""


@pytest.mark.parametrize("name", sorted(CHOOSING))
def test_a_selection_takes_any_number_of_members_and_calls_each_once(name: str) -> None:
    spec = load_graph(name).spec
    assert len(spec.description) > 20 and set(spec.slots) == {"members"}
    preferences = {"oracle": Path("recorded.jsonl")}.get(name)
    plan = compile_graph(informed(spec, preferences), Bindings({"members": ("x:1", "x:2", "x:3")}))
    chain = [node for node in plan.nodes if node.select]
    assert [(node.id, node.model) for node in plan.nodes[:3]] == [
        (f"drafts[{index}]", f"x:{index + 1}") for index in range(3)
    ]
    assert heard(chain[0]) == members("drafts", 3)
    assert [node.select.name for node in chain if node.select] == CHOOSING[name]
    assert sum(calls_of(node) for node in plan.nodes) == 3 and plan.answer == "answer"


@pytest.mark.parametrize("name", sorted({*CHOOSING} - {"oracle"}))
async def test_a_selection_answers_with_a_members_own_words(name: str, backend: Scripted) -> None:
    bound = {"members": [f"gallery:{letter}" for letter in "abcd"]}
    reply = await moa.load(name, models=bound).run("Why is the sky blue?")
    assert reply.text in {node.text for node in reply.nodes if node.model}
    assert reply.node("answer").references


def test_the_oracle_says_before_anything_is_asked_what_it_lacks() -> None:
    located = load_graph("oracle")
    with pytest.raises(SpecError, match=r"oracle\.yaml:5:\d+: the selector `oracle` chooses by recorded"):
        compile_graph(located.spec, Bindings(rest="x:y"), locate=located.document.problem)
