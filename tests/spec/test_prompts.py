"""Mistakes in templates are shown on the line of the file where they stand."""

from __future__ import annotations

import pytest

from moa.errors import SpecError
from moa.spec.agent import AgentSpec, Spec
from moa.spec.graph import GraphSpec
from moa.spec.loader import read_spec

BLOCK = """\
inputs: {references: 1+}
system: |
  Read these.

  {% for r in refrences %}{{ r.text }}{% endfor %}
  {{ tone }}
"""


def problems(text: str, kind: type[Spec]) -> list[str]:
    with pytest.raises(SpecError) as caught:
        read_spec(text, "f", kind)
    return [str(problem) for problem in caught.value.problems]


def test_literal_block() -> None:
    assert problems(BLOCK, AgentSpec) == [
        "f:5:15: template: unknown name `refrences`; did you mean `references`?",
        "f:6:6: template: unknown name `tone`; known: question, references",
    ]


def test_names_are_what_the_agent_declares() -> None:
    text = BLOCK.replace("refrences", "references") + "vars: {tone: kind}\n"
    assert read_spec(text, "f", AgentSpec).spec.vars == {"tone": "kind"}


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("user: 'Say {{ x }}'\n", "1:15"),
        ("user: Say {{ x }}\n", "1:14"),
        ("user: |-\n\n\n  {{ x }}\n", "4:6"),
        ("user: >\n  folded\n  {{ x }}\n", "1:7"),
        ('user: "a\\n{{ x }}"\n', "1:7"),
        ("user: |\n  {% if question %}\n  a\n", "3:3"),
    ],
)
def test_position(text: str, place: str) -> None:
    (problem,) = problems(text, AgentSpec)
    assert problem.startswith(f"f:{place}: template: ")


def test_agents_written_in_a_graph() -> None:
    text = "nodes:\n  a:\n    vars: {known: 1}\n    agent:\n      user: |\n        {{ known }}\n        {{ x }}\n"
    assert problems(text, GraphSpec) == ["f:7:12: template: unknown name `x`; known: known, question"]


def test_an_input_that_no_template_shows() -> None:
    text = "inputs: {references: 1+, notes: 0+}\nuser: '{{ references[0].text }}'\n"
    assert problems(text, AgentSpec) == [
        "f:1:9: the agent hears `notes`, but no template shows it to the model: use it, or remove the input"
    ]


def test_an_agent_that_hears_and_says_nothing() -> None:
    (problem,) = problems("inputs: {references: 1+}\n", AgentSpec)
    assert "no template shows it" in problem
