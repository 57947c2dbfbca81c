"""Templates fill in, and refuse what they do not know or must not do."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from moa.errors import SpecError
from moa.spec.template import TemplateMistake, check, render


@dataclass(frozen=True)
class Reference:
    text: str


def test_blocks_leave_no_empty_lines() -> None:
    template = "Responses:\n{% for r in refs %}\n  {{ loop.index }}. {{ r.text }}\n{% endfor %}\nDone.\n"
    assert (
        render(template, {"refs": [Reference("one"), Reference("two")]})
        == "Responses:\n  1. one\n  2. two\nDone."
    )


def test_text_of_a_model_is_never_run_or_escaped() -> None:
    assert render("{{ x }}", {"x": "<b> & {{ 7 * 7 }} {% raw %}"}) == "<b> & {{ 7 * 7 }} {% raw %}"


def test_tojson_keeps_text_readable() -> None:
    assert render("{{ x | tojson }}", {"x": {"é": "<a>"}}) == '{"é": "<a>"}'


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ refs }}", "'refs' is undefined"),
        ("{{ x.nothing }}", "has no attribute 'nothing'"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("{{ x + 1 }}", "can only concatenate str"),
        ("{{ x.__class__ }}", "access to attribute '__class__' of 'str' object is unsafe"),
        ("{% for i in range(10**9) %}{% endfor %}", "a template takes no powers"),
        ("{% for i in range(1000000000) %}{% endfor %}", "Range too big"),
        ("{{ 'ab' * 1000000000 }}", "a template repeats no text that often"),
        ("{{ 1000000000 * [x] }}", "a template repeats no text that often"),
        ("{% include 'x' %}", "no loader for this environment"),
        ("{{ y.append(1) }}", "access to attribute 'append' of 'list' object is unsafe"),
        ("{% if %}", "Expected an expression"),
    ],
)
def test_what_cannot_be_filled_in_names_the_agent(template: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        render(template, {"x": "text", "y": []}, "critic")
    assert str(caught.value).startswith("agent `critic`: the template cannot be filled in: ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("template", "mistakes"),
    [
        ("{{ question }} {% for r in refs %}{{ r.text }}{{ loop.index }}{% endfor %}", []),
        ("{% set n = 3 %}{{ n }} {{ range(3) | list }} {{ namespace(a=1).a }}", []),
        (
            "a\n{{ queston }}",
            [TemplateMistake(2, "template: unknown name `queston`; did you mean `question`?", "queston")],
        ),
        (
            "{{ lipsum() }}",
            [TemplateMistake(1, "template: unknown name `lipsum`; known: question, refs", "lipsum")],
        ),
        ("\n{% include 'x' %}", [TemplateMistake(2, "template: takes no other files")]),
        (
            "a\n{% for r in refs %}",
            [TemplateMistake(2, "template: `{% for %}` is never closed: add `{% endfor %}`")],
        ),
        ("{{ refs | random }}", [TemplateMistake(1, "template: No filter named 'random'")]),
        (
            "{{ refs",
            [TemplateMistake(1, "template: unexpected end of template, expected 'end of print statement'")],
        ),
    ],
)
def test_check(template: str, mistakes: list[TemplateMistake]) -> None:
    assert check(template, {"question", "refs"}) == mistakes
