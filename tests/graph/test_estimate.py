"""Estimates: calls, tokens, money and the critical path, before anything is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from moa.graph.estimate import Amount, CriticalPath, Estimate, estimate
from moa.graph.size import PER_MESSAGE
from moa.spec.model import ModelSpec
from tests.graph.sketch import compiled

SELF_MOA = """
drafts: {agent: proposer, model: a, samples: 6}
answer: {agent: aggregator, model: a, inputs: drafts}
"""
PRICED: dict[str, object] = {"provider": "openai", "model": "gpt", "price": {"input": 2, "output": 8}}


def lookup(**models: Mapping[str, object]) -> Callable[[str], ModelSpec]:
    specs = {name: ModelSpec.model_validate(fields) for name, fields in models.items()}
    return specs.__getitem__


def estimated(text: str, models: Callable[[str], ModelSpec], **options: int | str) -> Estimate:
    return estimate(compiled(text), models, **options)  # type: ignore[arg-type]


def test_tokens_follow_the_templates_and_the_replies_heard() -> None:
    found = estimated(SELF_MOA, lookup(a=PRICED), output_tokens=200, prompt_tokens=50)
    draft, answer = found.nodes[0], found.nodes[-1]
    assert (found.calls, draft.calls, answer.calls) == (7, 1, 1)
    assert draft.prompt_tokens.expected == 50 + PER_MESSAGE
    numbered = 6 * (200 + 1)
    assert answer.prompt_tokens.expected == pytest.approx(50 + 2 * PER_MESSAGE + numbered, abs=6)
    assert found.output_tokens.expected == 7 * 200


def test_the_question_itself_counts_where_it_is_given() -> None:
    found = estimated(SELF_MOA, lookup(a=PRICED), prompt="x" * 400)
    assert found.nodes[0].prompt_tokens.expected == 100 + PER_MESSAGE


def test_money_is_the_price_of_the_tokens() -> None:
    found = estimated(SELF_MOA, lookup(a=PRICED), output_tokens=100)
    prompt, output = found.prompt_tokens.expected, found.output_tokens.expected
    assert prompt is not None and output is not None
    assert found.usd.expected == pytest.approx((prompt * 2 + output * 8) / 1e6)


def test_an_unknown_price_is_never_nothing() -> None:
    two = SELF_MOA.replace("inputs: drafts", "inputs: [drafts, other]") + "other: {agent: proposer, model: b}"
    found = estimated(two, lookup(a=PRICED, b={"provider": "openai", "model": "gpt"}))
    by_id = {node.id: node for node in found.nodes}
    assert (by_id["drafts[0]"].usd.expected or 0) > 0
    assert found.unpriced == ("b",)
    assert by_id["other"].usd == found.usd == Amount(None, None)


@pytest.mark.parametrize("provider", ["local", "sim", "replay"])
def test_models_on_this_machine_cost_nothing_unless_priced(provider: str) -> None:
    assert estimated(SELF_MOA, lookup(a={"provider": provider, "model": "m"})).usd.expected == 0
    priced = {"provider": provider, "model": "m", "price": {"input": 1, "output": 1}}
    assert (estimated(SELF_MOA, lookup(a=priced)).usd.expected or 0) > 0


def test_at_most_follows_max_tokens_through_the_graph() -> None:
    limited = SELF_MOA.replace("samples: 6", "samples: 6, sampling: {max_tokens: 1000}")
    found = estimated(limited, lookup(a=PRICED | {"max_output": 500}), output_tokens=100)
    assert found.nodes[0].output_tokens == Amount(100, 500)
    answer = found.nodes[-1].prompt_tokens
    assert answer.most == pytest.approx(6 * 500, rel=0.1)
    assert answer.expected == pytest.approx(6 * 100, rel=0.3)


def test_what_nothing_limits_is_unknown_at_most() -> None:
    found = estimated(SELF_MOA, lookup(a=PRICED))
    assert found.output_tokens == Amount(7 * 400, None)
    assert (found.usd.expected or 0) > 0
    assert (found.nodes[0].output_tokens.most, found.usd.most) == (None, None)


def test_no_prompt_is_larger_than_the_window() -> None:
    found = estimated(SELF_MOA, lookup(a=PRICED | {"context": 1000, "max_output": 800}), output_tokens=100)
    assert found.nodes[-1].prompt_tokens.most == 1000


def test_replies_are_no_longer_than_they_may_be() -> None:
    found = estimated(SELF_MOA, lookup(a=PRICED | {"max_output": 30}), output_tokens=400)
    assert found.output_tokens.expected == 7 * 30


def test_equal_samples_share_a_request_and_save_its_prompts() -> None:
    found = estimated(SELF_MOA, lookup(a=PRICED), prompt_tokens=50)
    [shared] = found.shared
    assert shared.nodes == tuple(f"drafts[{index}]" for index in range(6))
    assert shared.saved_prompt_tokens == 5 * (50 + PER_MESSAGE)


def test_the_critical_path_is_the_longest_chain() -> None:
    found = estimated(
        """
drafts:  {agent: proposer, model: a, samples: 3}
middle:  {agent: aggregator, model: a, inputs: drafts}
quick:   {agent: proposer, model: a}
answer:  {agent: aggregator, model: a, inputs: [quick, middle]}
""",
        lookup(a=PRICED),
        output_tokens=100,
    )
    assert found.critical_path == CriticalPath(("drafts[0]", "middle", "answer"), 3, 300)


def test_a_selector_asks_as_often_as_it_says() -> None:
    text = """
drafts: {agent: proposer, model: a, samples: 5}
answer: {select: {top-k: {k: 1%s}}, agent: %s, model: a, inputs: drafts}
"""
    once = estimated(text % ("", "chooser"), lookup(a=PRICED), output_tokens=100)
    each = estimated(text % (", each: true", "grader"), lookup(a=PRICED), output_tokens=100)
    assert (once.nodes[-1].calls, each.nodes[-1].calls) == (1, 5)
    assert once.nodes[-1].asks == "top-k by chooser"
    assert once.critical_path.calls == each.critical_path.calls == 2
    seen_once, seen_each = once.nodes[-1].prompt_tokens.expected, each.nodes[-1].prompt_tokens.expected
    assert seen_once is not None and seen_each is not None
    assert 5 * 100 < seen_once < seen_each


def test_a_plain_selector_costs_nothing_and_hands_on_what_it_keeps() -> None:
    found = estimated(
        """
drafts: {agent: proposer, model: a, samples: 4}
kept:   {select: {first: {k: 2}}, inputs: drafts}
answer: {agent: aggregator, model: a, inputs: kept}
""",
        lookup(a=PRICED),
        output_tokens=100,
        prompt_tokens=10,
    )
    kept, answer = found.nodes[-2:]
    assert (kept.calls, kept.prompt_tokens.expected, kept.usd.expected) == (0, 0, 0)
    assert answer.prompt_tokens.expected == pytest.approx(2 * 100 + 10 + 2 * PER_MESSAGE, abs=4)


def test_a_template_that_refuses_placeholders_is_counted_as_it_stands() -> None:
    found = estimated(
        """
drafts: {agent: proposer, model: a, samples: 2}
answer:
  agent: {system: "{{ references[0].value.mark + 1 }}", inputs: {references: 1+}}
  model: a
  inputs: drafts
""",
        lookup(a=PRICED),
        output_tokens=100,
    )
    assert (found.nodes[-1].prompt_tokens.expected or 0) > 200
