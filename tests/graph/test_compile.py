"""How one line of a graph becomes many nodes: ids, order, repeats, samples, fingerprints."""

from __future__ import annotations

import pytest

from moa.errors import Problem, SpecError, UsageError
from moa.graph.bind import DEFAULT_MODEL, Bindings
from moa.graph.compile import compile_graph, slots_of
from moa.graph.mistake import Loc
from moa.spec.model import ModelSpec
from tests.graph.sketch import agents, compiled, complaints, graph, hears, ids

MOA = """
drafts:  {agent: proposer,   models: [a, b, c]}
refined: {agent: aggregator, models: [a, b, c], inputs: drafts}
answer:  {agent: aggregator, model: a, inputs: refined}
"""
SEQ = """
drafts: {agent: proposer,   model: a, samples: %d}
answer: {agent: aggregator, model: a, inputs: drafts, window: {size: 6, keep: 3}}
"""


def test_models_make_a_node_each_that_hears_all_of_the_layer_before() -> None:
    plan = compiled(MOA)
    drafts = ["drafts[0]", "drafts[1]", "drafts[2]"]
    refined = ["refined[0]", "refined[1]", "refined[2]"]
    assert ids(plan) == [*drafts, *refined, "answer"]
    assert all(hears(plan, id) == drafts for id in refined)
    assert hears(plan, "answer") == refined
    assert [node.model for node in plan.nodes] == ["a", "b", "c", "a", "b", "c", "a"]
    assert [node.distance for node in plan.nodes] == [2, 2, 2, 1, 1, 1, 0]
    assert {edge.role for edge in plan.by_id["answer"].inputs} == {"references"}


def test_samples_are_counted_model_by_model() -> None:
    plan = compiled("""
drafts: {agent: proposer, models: [a, b], samples: 2}
answer: {agent: aggregator, model: a, inputs: drafts}
""")
    assert [(node.id, node.model, node.sample) for node in plan.nodes[:4]] == [
        ("drafts[0]", "a", 0),
        ("drafts[1]", "a", 1),
        ("drafts[2]", "b", 0),
        ("drafts[3]", "b", 1),
    ]


def test_slots_bound_to_one_model_are_independent_samples_of_it() -> None:
    plan = compiled(MOA, "x:y")
    assert [node.sample for node in plan.nodes] == [0, 1, 2, 0, 1, 2, 0]
    assert {node.model for node in plan.nodes} == {"x:y"}


def test_equal_requests_of_different_lines_are_independent_samples() -> None:
    plan = compiled("""
one: {agent: proposer, model: a}
two: {agent: proposer, model: a}
warm: {agent: proposer, model: a, sampling: {temperature: 1.5}}
answer: {agent: aggregator, model: a, inputs: [one, two, warm]}
""")
    assert {node.id: node.sample for node in plan.nodes} == {"one": 0, "two": 1, "warm": 0, "answer": 0}


def test_a_repeated_model_is_sampled_again() -> None:
    plan = compiled("""
drafts: {agent: proposer, models: [a, a, b]}
answer: {agent: aggregator, model: a, inputs: drafts}
""")
    assert [node.sample for node in plan.nodes[:3]] == [0, 1, 0]


def test_several_inputs_are_heard_in_the_order_written() -> None:
    plan = compiled("""
drafts:  {agent: proposer,   models: [a, b]}
refined: {agent: aggregator, models: [a, b], inputs: drafts}
answer:  {agent: aggregator, model: a, inputs: [refined, drafts]}
""")
    assert hears(plan, "answer") == ["refined[0]", "refined[1]", "drafts[0]", "drafts[1]"]
    assert [plan.by_id[id].distance for id in ("drafts[0]", "refined[0]", "answer")] == [2, 1, 0]


def test_named_inputs_fill_the_roles_of_the_agent_in_its_order() -> None:
    plan = compiled("""
first:  {agent: proposer, model: a}
review: {agent: critic, model: a, inputs: first}
answer: {agent: refiner, model: a, inputs: {critique: review, draft: first}}
""")
    assert plan.by_id["answer"].inputs == (("draft", "first"), ("critique", "review"))


@pytest.mark.parametrize(
    ("count", "steps"), [(1, 1), (6, 1), (7, 2), (9, 2), (10, 3), (30, 9)], ids=lambda value: str(value)
)
def test_a_window_takes_one_and_the_rest_by_three(count: int, steps: int) -> None:
    plan = compiled(SEQ % count)
    assert len(plan.nodes) == count + steps
    assert plan.answer == ("answer" if steps == 1 else f"answer[{steps - 1}]")


def test_a_window_repeats_the_synthesis_first_and_then_hears_what_is_fresh() -> None:
    plan = compiled(SEQ % 11)
    assert hears(plan, "answer[0]") == [f"drafts[{index}]" for index in range(6)]
    assert hears(plan, "answer[1]") == ["answer[0]"] * 3 + ["drafts[6]", "drafts[7]", "drafts[8]"]
    assert hears(plan, "answer[2]") == ["answer[1]"] * 3 + ["drafts[9]", "drafts[10]"]
    assert plan.by_id["answer[2]"].sources == ("answer[1]", "drafts[9]", "drafts[10]")
    assert [plan.by_id[f"answer[{step}]"].distance for step in range(3)] == [2, 1, 0]


def test_only_the_last_step_of_a_window_is_handed_on() -> None:
    plan = compiled("""
drafts: {agent: proposer, model: a, samples: 4}
ways:   {agent: aggregator, models: [a, b], inputs: drafts, window: {size: 3, keep: 1}}
answer: {agent: aggregator, model: a, inputs: ways}
""")
    assert hears(plan, "answer") == ["ways[0][1]", "ways[1][1]"]
    assert hears(plan, "ways[1][1]") == ["ways[1][0]", "drafts[3]"]


def test_all_subsets_come_smallest_first() -> None:
    plan = compiled("""
drafts:  {agent: proposer,   models: [a, b, c]}
ballots: {agent: aggregator, model: a, inputs: drafts, subsets: all}
answer:  {select: majority,  inputs: ballots}
""")
    heard = [tuple(int(id[7]) for id in hears(plan, f"ballots[{index}]")) for index in range(7)]
    assert heard == [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)]
    assert hears(plan, "answer") == [f"ballots[{index}]" for index in range(7)]
    assert plan.by_id["answer"].model is None


def test_a_reference_that_no_drawn_subset_holds_is_not_asked_for() -> None:
    plan = compiled("""
drafts:  {agent: proposer,   model: a, samples: 40}
ballots: {agent: aggregator, model: a, inputs: drafts, subsets: {size: 2, count: 3, seed: 5}}
answer:  {agent: aggregator, model: a, inputs: ballots}
""")
    drawn = {id for index in range(3) for id in hears(plan, f"ballots[{index}]")}
    drafts = {node.id for node in plan.nodes if node.group == "drafts"}
    assert drafts == drawn
    assert len(drafts) <= 6
    assert sorted(node.sample for node in plan.nodes if node.group == "drafts") == list(range(len(drafts)))


def test_rounds_replace_the_input_by_the_round_before() -> None:
    plan = compiled("""
drafts:  {agent: proposer,   models: [a, b]}
refined: {agent: aggregator, models: [a, b], inputs: drafts, rounds: 3}
answer:  {agent: aggregator, model: a, inputs: [drafts, refined]}
""")
    drafts = ["drafts[0]", "drafts[1]"]
    rounds = [[f"refined[{number}][0]", f"refined[{number}][1]"] for number in range(3)]
    assert ids(plan) == [*drafts, *rounds[0], *rounds[1], *rounds[2], "answer"]
    assert hears(plan, "refined[0][1]") == drafts
    assert hears(plan, "refined[1][0]") == rounds[0]
    assert hears(plan, "refined[2][1]") == rounds[1]
    assert hears(plan, "answer") == [*drafts, *rounds[2]]


LOOP = """
draft:    {agent: proposer, model: a}
critique: {agent: critic, model: b, inputs: draft}
%s: {agent: refiner, model: a, inputs: {draft: draft, critique: critique}, rounds: {times: 2, replace: draft}}
"""


def test_rounds_repeat_everything_between_what_they_replace_and_their_end() -> None:
    plan = compiled(LOOP % "answer")
    assert ids(plan) == ["draft", "critique[0]", "answer[0]", "critique[1]", "answer[1]"]
    assert plan.by_id["critique[1]"].inputs == (("draft", "answer[0]"),)
    assert plan.by_id["answer[1]"].inputs == (("draft", "answer[0]"), ("critique", "critique[1]"))
    assert plan.answer == "answer[1]"


def test_nodes_outside_the_rounds_hear_the_last_one() -> None:
    text = LOOP % "better" + "answer: {agent: aggregator, model: a, inputs: [critique, better, draft]}"
    assert hears(compiled(text), "answer") == ["critique[1]", "better[1]", "draft"]


def test_one_round_has_no_bracket() -> None:
    plan = compiled(
        "drafts: {agent: proposer, model: a}\nanswer: {agent: critic, model: a, inputs: drafts, rounds: 1}"
    )
    assert ids(plan) == ["drafts", "answer"]


def test_a_round_hears_other_nodes_again() -> None:
    plan = compiled("""
drafts:  {agent: proposer,   model: a}
facts:   {agent: proposer,   model: b}
answer:  {agent: aggregator, model: a, inputs: [drafts, facts], rounds: {times: 2, replace: drafts}}
""")
    assert hears(plan, "answer[1]") == ["answer[0]", "facts"]


def test_a_selector_with_an_agent_is_one_node_that_asks() -> None:
    plan = compiled("""
drafts: {agent: proposer, model: a, samples: 4}
answer: {select: {top-k: {k: 1}}, agent: chooser, model: judge, inputs: drafts}
""")
    answer = plan.by_id["answer"]
    assert answer.select is not None and answer.select.options == {"k": 1}
    assert answer.agent is not None and answer.agent.name == "chooser"
    assert answer.model == "judge"


def test_the_settings_of_a_node_win_over_those_of_its_agent_and_graph() -> None:
    plan = compiled("""
overflow: drop
nodes:
  drafts: {agent: speaker, model: a, samples: 3, vars: {tone: loudly, persona: a pilot}}
  middle: {agent: aggregator, model: a, inputs: drafts, overflow: error, quorum: 2, deadline: 5, timeout: 9}
  answer: {agent: aggregator, model: a, inputs: middle, sampling: {temperature: 0.1}}
""")
    assert plan.by_id["drafts[0]"].vars == {"tone": "loudly", "persona": "a pilot"}
    middle, answer = plan.by_id["middle"], plan.by_id["answer"]
    assert (middle.overflow, middle.quorum, middle.deadline, middle.timeout) == ("error", 2, 5, 9)
    assert (answer.overflow, answer.quorum, answer.sampling.temperature) == ("drop", None, 0.1)


def test_a_quorum_is_no_more_than_a_step_of_a_window_can_hear() -> None:
    plan = compiled("""
drafts: {agent: proposer, model: a, samples: 7}
answer: {agent: aggregator, model: a, inputs: drafts, window: {size: 6, keep: 3}, quorum: 5}
""")
    assert [plan.by_id[f"answer[{step}]"].quorum for step in range(2)] == [5, 2]


def test_the_only_node_that_nobody_hears_answers() -> None:
    plan = compiled("drafts: {agent: proposer, model: a}\nlast: {agent: critic, model: a, inputs: drafts}")
    assert plan.answer == "last"


def test_bindings_are_applied_and_nothing_bound_is_the_embedded_model() -> None:
    spec = graph(MOA)
    assert compile_graph(spec, Bindings(), agents=agents).models == (DEFAULT_MODEL,)
    assert compile_graph(spec, agents=agents).models == ("a", "b", "c")
    bound = compile_graph(spec, Bindings.parse(["a=x:1", "z:9"]), agents=agents)
    assert bound.models == ("x:1", "z:9")


def test_a_slot_that_the_graph_does_not_have_is_refused_with_those_it_has() -> None:
    with pytest.raises(UsageError, match=r"no slot `judge`; its slots: a, b, c"):
        compiled(MOA, "judge=x:y", "x:z")
    with pytest.raises(UsageError, match="names its models itself"):
        compiled("answer: {agent: proposer, model: 'x:y'}", "a=x:z")


def test_slots_of_a_models_file_serve_many_graphs() -> None:
    bindings = Bindings({"a": "x:y", "judge": "x:z"}, None, {}, frozenset({"judge"}))
    plan = compile_graph(graph("answer: {agent: proposer, model: a}"), bindings, agents=agents)
    assert plan.models == ("x:y",)


def test_slots_are_the_names_that_are_no_models() -> None:
    spec = graph("""
drafts: {agent: proposer, models: [b, "x:y", big, b]}
answer: {agent: aggregator, model: a, inputs: drafts}
""")
    assert slots_of(spec, Bindings(models={"big": ModelSpec(provider="openai")})) == ("b", "a")


def test_mistakes_get_their_positions_from_the_document() -> None:
    def locate(loc: Loc, message: str) -> Problem:
        return Problem(message, "g.yaml", len(loc), 1)

    with pytest.raises(SpecError) as raised:
        compile_graph(graph("answer: {agent: proposre, model: a}"), agents=agents, locate=locate)
    assert str(raised.value) == "g.yaml:3:1: unknown agent 'proposre'"


def test_without_a_document_the_path_of_keys_is_the_position() -> None:
    with pytest.raises(SpecError, match=r"^answer\.agent: unknown agent"):
        compiled("answer: {agent: proposre, model: a}")


def test_agents_come_from_the_catalogue_by_default() -> None:
    plan = compile_graph(graph(MOA))
    assert [node.agent.name for node in plan.nodes if node.agent][-1] == "aggregator"


class TestFingerprint:
    def test_the_order_of_the_file_does_not_matter(self) -> None:
        lines = MOA.strip().splitlines()
        turned = compiled("\n".join(reversed(lines)), "x:y")
        assert turned.fingerprint == compiled(MOA, "x:y").fingerprint
        assert turned.nodes == compiled(MOA, "x:y").nodes

    def test_samples_do_not_depend_on_the_order_of_the_file(self) -> None:
        one, two = "one: {agent: proposer, model: a}\n", "two: {agent: proposer, model: a}\n"
        answer = "answer: {agent: aggregator, model: a, inputs: [two, one]}\n"
        assert compiled(one + two + answer).nodes == compiled(two + answer + one).nodes

    def test_names_of_slots_do_not_matter(self) -> None:
        renamed = MOA.replace("[a, b, c]", "[x, y, z]").replace("model: a", "model: x")
        assert compiled(renamed, "x:y").fingerprint == compiled(MOA, "x:y").fingerprint

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("model: a", "model: b"),
            ("inputs: refined", "inputs: [refined, drafts]"),
            ("inputs: refined", "inputs: refined, sampling: {temperature: 0}"),
            ("inputs: refined", "inputs: refined, quorum: 2"),
            ("inputs: drafts}", "inputs: drafts, rounds: 2}"),
            ("models: [a, b, c]}", "models: [a, c, b]}"),
        ],
    )
    def test_what_decides_the_answer_matters(self, old: str, new: str) -> None:
        changed = MOA.replace(old, new)
        assert changed != MOA
        options = ["a=x:1", "b=x:2", "c=x:3"]
        assert compiled(changed, *options).fingerprint != compiled(MOA, *options).fingerprint

    def test_a_model_of_models_yaml_counts_by_what_it_is(self) -> None:
        spec = graph("answer: {agent: proposer, model: a}")

        def fingerprint(model: ModelSpec) -> str:
            return compile_graph(spec, Bindings({"a": "m"}, None, {"m": model}), agents=agents).fingerprint

        base = ModelSpec.model_validate({"provider": "openai", "model": "gpt"})
        priced = ModelSpec.model_validate(
            {"provider": "openai", "model": "gpt", "price": {"input": 1, "output": 2}, "limits": {"rpm": 9}}
        )
        other = ModelSpec.model_validate({"provider": "openai", "model": "gpt-large"})
        assert fingerprint(base) == fingerprint(priced) != fingerprint(other)


MEMBERS = """
drafts: {agent: proposer, models: [members], samples: 2}
answer: {agent: aggregator, model: a, inputs: drafts}
"""


def test_a_slot_of_several_models_makes_a_node_for_each() -> None:
    bindings = Bindings.parse(["members=x:1,x:2,x:1", "a=x:3"])
    plan = compile_graph(graph(MEMBERS), bindings, agents=agents)
    drafts = [f"drafts[{number}]" for number in range(6)]
    assert ids(plan) == [*drafts, "answer"]
    assert [(node.model, node.sample) for node in plan.nodes[:6]] == [
        ("x:1", 0),
        ("x:1", 1),
        ("x:2", 0),
        ("x:2", 1),
        ("x:1", 2),
        ("x:1", 3),
    ]
    assert hears(plan, "answer") == drafts


def test_several_models_stand_where_their_slot_stood() -> None:
    spec = graph("""
drafts: {agent: proposer, models: [a, members, b]}
answer: {agent: aggregator, model: a, inputs: drafts}
""")
    bindings = Bindings.parse(["a=x:a", "members=x:1,x:2", "b=x:b"])
    plan = compile_graph(spec, bindings, agents=agents)
    assert [node.model for node in plan.nodes] == ["x:a", "x:1", "x:2", "x:b", "x:a"]


def test_a_slot_of_one_model_makes_the_same_plan_as_that_model_itself() -> None:
    one = compile_graph(graph(MEMBERS), Bindings.parse(["members=x:1", "a=x:3"]), agents=agents)
    listed = compile_graph(graph(MEMBERS), Bindings({"members": ("x:1",), "a": "x:3"}), agents=agents)
    assert one.fingerprint == listed.fingerprint


def test_an_unbound_slot_of_members_is_one_node_to_look_at() -> None:
    plan = compile_graph(graph(MEMBERS), agents=agents)
    assert [node.model for node in plan.nodes] == ["members", "members", "a"]


def test_several_models_where_a_node_takes_one_are_refused_at_their_place() -> None:
    def place(loc: Loc, message: str) -> Problem:
        return Problem(f"{'.'.join(map(str, loc))}: {message}")

    with pytest.raises(SpecError, match=r"nodes\.answer\.model: slot `a` is bound to 2 models"):
        compile_graph(
            graph(MEMBERS), Bindings.parse(["members=x:1", "a=x:1,x:2"]), agents=agents, locate=place
        )


RATIO = """
slots: {a: writes, better: after tuning, worse: before it}
nodes:
  drafts: {agent: proposer, model: a, samples: 3}
  answer: {select: {density-ratio: {strong: better, weak: %s}}, inputs: drafts}
"""


def test_the_models_in_a_selectors_options_are_slots_that_are_bound() -> None:
    assert slots_of(graph(RATIO % "worse")) == ("a", "better", "worse")
    options = ("x:rest", "better=x:tuned", "worse=x:base")
    select = compiled(RATIO % "worse", *options).by_id["answer"].select
    assert select is not None and select.options == {"strong": "x:tuned", "weak": "x:base"}
    unbound = compiled(RATIO % "worse").by_id["answer"].select
    assert unbound is not None and unbound.options == {"strong": "better", "weak": "worse"}


def test_a_misspelt_or_unbound_slot_in_a_selectors_options_is_named_with_its_place() -> None:
    place = "nodes.answer.select.options.weak"
    assert complaints(RATIO % "wurse") == [
        f"{place}: `slots` declares no `wurse`, and a model is written `provider:id`; did you mean `worse`?"
    ]
    assert complaints(RATIO % "worse", "a=x:y", "better=x:z") == [
        f"{place}: slot `worse` is not bound: add -m worse=MODEL (or -m MODEL for every slot)"
    ]
    assert complaints(RATIO % "'x:base'", "a=x:y", "better=x:z") == []


def test_an_entry_of_models_yaml_in_a_selectors_options_decides_the_fingerprint() -> None:
    spec = graph(
        "drafts: {agent: proposer, model: 'x:y', samples: 3}\nanswer: {select: {top-k: {scorer: rm}}, inputs: drafts}"
    )

    def fingerprint(model: str) -> str:
        models = {"rm": ModelSpec(base_url="http://localhost:8000/v1", model=model)}
        return compile_graph(spec, Bindings(models=models), agents=agents).fingerprint

    assert fingerprint("one") == fingerprint("one") != fingerprint("another")
