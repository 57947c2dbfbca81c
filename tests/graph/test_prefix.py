"""What a prefix cache can save, by hand-counted prompts."""

from __future__ import annotations

import json

from typer.testing import CliRunner

from moa.backends.resolve import model_spec
from moa.cli import app
from moa.graph.bind import Bindings
from moa.graph.estimate import estimate
from moa.graph.prefix import BLOCK, Prefixes
from moa.spec.catalogue import load_graph
from tests.graph.sketch import compiled

REPLY = 400
REFERENCES = "{% for r in references %}{{ r.text }} {% endfor %}"


def prefixes(text: str) -> Prefixes:
    return estimate(compiled(text), lambda name: model_spec(name, {}), output_tokens=REPLY).prefixes


def two_aggregators(first: str, second: str, model: str = "sim:") -> str:
    """Two agents that hear the same two drafts, and a vote on what they say."""
    agents = [
        f"{{name: {name}, inputs: {{references: 1+}}, system: '{words}'}}"
        for name, words in (("x", first), ("y", second))
    ]
    return f"""
drafts: {{agent: proposer, models: ["sim:member=a", "sim:member=b"]}}
left:   {{agent: {agents[0]}, model: "sim:", inputs: drafts}}
right:  {{agent: {agents[1]}, model: "{model}", inputs: drafts}}
answer: {{select: majority, inputs: [left, right]}}
"""


def test_what_is_shared_is_cached_when_it_comes_first() -> None:
    good = prefixes(
        two_aggregators(f"Weigh this: {REFERENCES} Be brief.", f"Weigh this: {REFERENCES} Be kind.")
    )
    assert 2 * REPLY <= good.cached_tokens < 2 * REPLY + 60
    assert good.cached_tokens % BLOCK == 0


def test_words_of_its_own_in_front_cost_an_agent_the_cache() -> None:
    bad = prefixes(two_aggregators(f"Be brief. {REFERENCES}", f"Kindly weigh this: {REFERENCES}"))
    assert bad.cached_tokens == 0
    assert bad.share == 0.0


def test_another_model_has_another_cache() -> None:
    words = f"Weigh this: {REFERENCES}"
    assert prefixes(two_aggregators(words, words, model="sim:member=c")).cached_tokens == 0


def test_equal_samples_are_one_request() -> None:
    six = prefixes(
        "drafts: {agent: proposer, model: 'sim:', samples: 6}\nanswer: {select: majority, inputs: drafts}"
    )
    one = prefixes("answer: {agent: proposer, model: 'sim:'}")
    assert six == one


def test_fixed_words_are_shared_with_the_question_before() -> None:
    fixed = "Mind these rules. " * 40
    agent = f"{{name: x, system: '{fixed}'}}"
    found = prefixes(f"answer: {{agent: {agent}, model: 'sim:'}}")
    assert len(fixed) // 4 - BLOCK <= found.cached_tokens <= len(fixed) // 4 + BLOCK


def test_the_plan_tells_it() -> None:
    told = CliRunner().invoke(app, ["plan", "moa-3-3-1", "-m", "sim:"])
    assert "begin like an earlier prompt" in " ".join(told.output.split())
    data = json.loads(CliRunner().invoke(app, ["plan", "moa-3-3-1", "-m", "sim:", "--json"]).stdout)
    assert 0 < data["prefixes"]["cached_tokens"] < data["prefixes"]["prompt_tokens"]


def test_every_graph_of_the_gallery_has_an_estimate() -> None:
    from moa.graph.compile import compile_graph
    from moa.spec.catalogue import names

    for name in names("graphs"):
        spec = load_graph(name).spec
        if name == "oracle":
            continue
        plan = compile_graph(spec, Bindings({}, "sim:"))
        found = estimate(plan, lambda model: model_spec(model, {})).prefixes
        assert 0 <= found.cached_tokens <= found.prompt_tokens, name
