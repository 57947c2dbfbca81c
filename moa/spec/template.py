"""Prompt templates: jinja2 in a sandbox, where an unknown name is an error and nothing is random."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError, meta, nodes
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from moa.errors import SpecError
from moa.spec.words import nearest, quote, redact

_LONGEST_PRODUCT = 1_000_000
_MOST_VERDICTS = 4096
_OTHER_FILES = (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)


class _Environment(ImmutableSandboxedEnvironment):
    """The sandbox, without powers and giant repetitions, which it would compute."""

    intercepted_binops = frozenset({"**", "*"})

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._verdicts: dict[tuple[type, str], bool] = {}

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """The sandbox's own verdict, which depends on the type alone and costs half of a prompt's time."""
        known = self._verdicts.get((type(obj), attr))
        if known is None:
            known = super().is_safe_attribute(obj, attr, value)
            if len(self._verdicts) < _MOST_VERDICTS:
                self._verdicts[type(obj), attr] = known
        return known

    def getattr(self, obj: Any, attribute: str) -> Any:
        """The sandbox's own, without its detours where the verdict is known."""
        if self._verdicts.get((type(obj), attribute)):
            try:
                return getattr(obj, attribute)
            except AttributeError:
                pass
        return super().getattr(obj, attribute)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "**":
            raise SecurityError("a template takes no powers")
        sizes = [len(side) if isinstance(side, str | list | tuple) else side for side in (left, right)]
        if sizes != [left, right] and prod(sizes) > _LONGEST_PRODUCT:
            raise SecurityError("a template repeats no text that often")
        return super().call_binop(context, operator, left, right)


def _json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _environment() -> _Environment:
    environment = _Environment(
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=False,
        autoescape=False,
    )
    environment.globals.pop("lipsum")
    environment.filters.pop("random")
    environment.filters["tojson"] = _json
    return environment


_JINJA = _environment()
_GLOBALS = dict(_JINJA.globals)


class TemplateMistake(NamedTuple):
    """A mistake in a template: its line there (from 1), and the word to look for on it."""

    line: int
    message: str
    word: str = ""


def render(template: str, variables: Mapping[str, Any], agent: str = "") -> str:
    """Fill in a template; raises `SpecError` that names `agent` for anything it cannot do."""
    try:
        filled = _compiled(template)
        context = filled.new_context({**_GLOBALS, **variables}, shared=True)
        return _JINJA.concat(filled.root_render_func(context))
    except (
        TemplateError,
        ArithmeticError,
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        RecursionError,
    ) as error:
        whose = f"agent `{agent}`: " if agent else ""
        raise SpecError(f"{whose}the template cannot be filled in: {redact(str(error))}") from error


def check(template: str, known: Iterable[str] | None) -> list[TemplateMistake]:
    """The mistakes that show without filling `template` in: its syntax, and names that nobody gives it.

    Where `known` is None, any name may turn out to be there.
    """
    try:
        tree = _JINJA.parse(template)
        _compiled(template)
    except TemplateSyntaxError as error:
        return [TemplateMistake(error.lineno, f"template: {_syntax(error)}")]
    asked = meta.find_undeclared_variables(tree)
    names = asked if known is None else {*known}
    unknown = asked - names - _JINJA.globals.keys()
    mistakes = [_unknown_name(tree, word, names) for word in unknown]
    mistakes += [
        TemplateMistake(node.lineno, "template: takes no other files") for node in tree.find_all(_OTHER_FILES)
    ]
    return sorted(mistakes)


def names_in(template: str) -> set[str]:
    """The names that a template, whose syntax is right, asks for."""
    return meta.find_undeclared_variables(_JINJA.parse(template))


def _syntax(error: TemplateSyntaxError) -> str:
    message = error.message or "broken syntax"
    block = re.search(r"innermost block that needs to be closed is '(\w+)'", message)
    if block and "end of template" in message:
        return f"`{{% {block[1]} %}}` is never closed: add `{{% end{block[1]} %}}`"
    return redact(message.rstrip("."))


@lru_cache(maxsize=1024)
def _compiled(template: str) -> Template:
    compiled = _JINJA.from_string(template)
    compiled.globals = {}  # `render` brings them along: jinja would merge them anew for each prompt
    return compiled


def _unknown_name(tree: nodes.Template, word: str, known: set[str]) -> TemplateMistake:
    line = next((name.lineno for name in tree.find_all(nodes.Name) if name.name == word), 1)
    meant = nearest(word, known)
    hint = f"did you mean `{meant}`?" if meant else f"known: {', '.join(sorted(known))}"
    return TemplateMistake(line, f"template: unknown name {quote(word)}; {hint}", word)
