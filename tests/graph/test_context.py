"""Context windows: what can never fit, and what may not."""

from __future__ import annotations

from moa.graph.context import ContextReport, check_context
from moa.spec.model import ModelSpec
from tests.graph.sketch import compiled

TEXT = """
drafts: {agent: proposer, model: a, samples: 6, sampling: {max_tokens: 300}}
answer: {agent: aggregator, model: b, inputs: drafts, sampling: {max_tokens: 100}, overflow: drop}
"""


def report(context: int | None, prompt: str | None = None) -> ContextReport:
    models = {
        "a": ModelSpec(provider="openai"),
        "b": ModelSpec.model_validate({"provider": "openai", "context": context}),
    }
    return check_context(compiled(TEXT), models.__getitem__, prompt=prompt)


def test_an_unknown_window_is_no_reason_to_complain() -> None:
    assert report(None, "x" * 10**6) == ContextReport([], [])


def test_a_large_window_takes_the_longest_replies() -> None:
    assert report(4096) == ContextReport([], [])


def test_the_longest_replies_that_do_not_fit_are_a_warning_with_the_policy() -> None:
    found = report(1500)
    assert found.mistakes == []
    [warning] = found.warnings
    assert warning.loc == ("nodes", "answer")
    assert "room for 1,400 of 1,500" in warning.message
    assert "`overflow: drop` decides" in warning.message


def test_a_prompt_that_can_never_fit_is_a_mistake() -> None:
    found = report(1500, "x" * 8000)
    [mistake] = found.mistakes
    assert "`answer`: at least 2,0" in mistake.message
    assert "use a model with a larger window" in mistake.message
    assert found.warnings == []


def test_a_reply_longer_than_a_quarter_of_the_window_does_not_forbid_the_prompt() -> None:
    models = {"a": ModelSpec.model_validate({"provider": "local", "model": "m", "context": 1024})}
    plan = compiled("answer: {agent: proposer, model: a, sampling: {max_tokens: 4096}}")
    assert check_context(plan, models.__getitem__, prompt="x" * 2000) == ContextReport([], [])


def test_each_line_of_the_graph_is_told_once_for_each_model() -> None:
    models = {"a": ModelSpec.model_validate({"provider": "local", "model": "m", "context": 64})}
    plan = compiled(
        "drafts: {agent: proposer, model: a, samples: 9}\nanswer: {agent: aggregator, model: a, inputs: drafts}"
    )
    found = check_context(plan, models.__getitem__, prompt="x" * 400)
    assert [mistake.loc for mistake in found.mistakes] == [("nodes", "drafts"), ("nodes", "answer")]
