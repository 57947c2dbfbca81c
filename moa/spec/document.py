"""A YAML text as plain Python whose every value knows its line and column."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, NamedTuple

import yaml

from moa.errors import Problem, SpecError
from moa.spec.words import quote, redact

Path = tuple[str | int, ...]
"""Keys and indices that lead to a value."""

_DEEPEST = 60
_MOST_VALUES = 100_000
_LARGEST = 2**63
_STANDARD = "tag:yaml.org,2002:"
_TEXT_TAGS = frozenset({"str", "value", "merge"})
_SYNTAX = (
    (
        "mapping values are not allowed",
        "a `:` that does not belong here: quote the text, or mend the indentation",
    ),
    ("cannot start any token", "a character that cannot start a value: quote the text"),
    ("could not find expected ':'", "expected `key: value`"),
    ("<block end>", "this line does not fit the ones above: mend the indentation"),
    ("undefined alias", "an alias `*name` without its anchor `&name`: quote the text if a star is meant"),
    ("<document start>", "a second document: one file holds one"),
    ("a single document", "a second document: one file holds one"),
    ("end of stream", "a quote, bracket or brace is never closed"),
    ("expected ',' or", "expected `,` or the closing bracket"),
)


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed YAML text. `source` names the file, `data` is plain Python (dict, list, str, numbers).

    `renamed` holds, for the path of each key that `data` spells otherwise, the key as the text has it.
    """

    source: str
    data: Any
    text: str = field(default="", repr=False)
    root: yaml.Node | None = field(default=None, repr=False, compare=False)
    renamed: Mapping[Path, str] = field(default_factory=dict, repr=False, compare=False)

    def problem(self, loc: Sequence[str | int], message: str, *, key: bool = False) -> Problem:
        """The mistake `message` about the value at `loc`, or about its key.

        A path that leads nowhere falls back to the nearest parent that exists. A block that starts on
        the line after its key is shown by its key.
        """
        mark = self._mark(loc, key)
        return Problem(message, self.source, mark.line + 1, mark.column + 1)

    def node(self, loc: Sequence[str | int]) -> yaml.Node | None:
        """The YAML node at exactly `loc`, or None."""
        steps = self._steps(loc)
        return steps[-1].value if len(steps) == len(loc) + 1 else None

    def written(self, loc: Sequence[str | int]) -> str | None:
        """The text of the scalar at `loc` as it stands in the file, or None."""
        node = self.node(loc)
        return str(node.value) if isinstance(node, yaml.ScalarNode) else None

    def _steps(self, loc: Sequence[str | int]) -> list[_Step]:
        written = [self.renamed.get((*loc[:index], part), part) for index, part in enumerate(loc)]
        return list(_walk(self.root, written)) if self.root is not None else []

    def _mark(self, loc: Sequence[str | int], key: bool) -> yaml.Mark:
        if self.root is None:
            return _START
        last = self._steps(loc)[-1]
        in_block = isinstance(last.value, yaml.CollectionNode) and not last.value.flow_style
        shown = last.key if last.key is not None and (key or in_block) else last.value
        return shown.start_mark or _START


_START = yaml.Mark("", 0, 0, 0, None, 0)


class _Step(NamedTuple):
    key: yaml.Node | None
    value: yaml.Node


def _walk(root: yaml.Node, loc: Sequence[str | int]) -> Iterator[_Step]:
    """The nodes on the way along `loc`, as far as it leads."""
    step = _Step(None, root)
    yield step
    for index, part in enumerate(loc):
        found = _child(step.value, part)
        if found is None and part == "options" and index and loc[index - 1] == "select":
            found = _only_child(step.value)
        if found is None:
            return
        step = found
        yield step


def _child(node: yaml.Node, part: str | int) -> _Step | None:
    if isinstance(node, yaml.MappingNode):
        own = (_Step(key, value) for key, value in node.value if key.value == part)
        return next(own, None) or next(filter(None, (_child(base, part) for base in _bases(node))), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return _Step(None, node.value[part])
    return None


def _only_child(node: yaml.Node) -> _Step | None:
    """The options in the short form `select: {top-k: {k: 3}}`."""
    if isinstance(node, yaml.MappingNode) and len(node.value) == 1:
        return _Step(*node.value[0])
    return None


def _bases(node: yaml.MappingNode) -> list[yaml.MappingNode]:
    """The mappings that `<<` merges into this one, the strongest first."""
    values = [value for key, value in node.value if key.tag == f"{_STANDARD}merge" and key.style is None]
    flat = [
        item
        for value in values
        for item in (value.value if isinstance(value, yaml.SequenceNode) else [value])
    ]
    return [item for item in flat if isinstance(item, yaml.MappingNode) and item is not node]


class Parsed(NamedTuple):
    """A document as far as it could be read, and the mistakes on the way."""

    document: Document
    problems: list[Problem]


def parse(text: str, source: str) -> Document:
    """Read one YAML mapping; raises `SpecError` with every mistake that YAML itself shows."""
    document, problems = parse_leniently(text, source)
    if problems:
        raise SpecError(problems)
    return document


def parse_leniently(text: str, source: str) -> Parsed:
    """Read one YAML mapping past its mistakes: a word that YAML takes for something else stays a word.

    Raises `SpecError` where nothing can be read: broken syntax, no mapping, or an alias bomb.
    """
    root = _compose(text, source)
    if not isinstance(root, yaml.MappingNode):
        what = "is empty" if root is None else "is not a mapping"
        raise SpecError([Problem(f"the file {what}: expected `key: value` lines", source, 1, 1)])
    builder = _Builder(source)
    data = builder.value(root)
    return Parsed(Document(source, data, text, root), list(dict.fromkeys(builder.problems)))


class _Composer(yaml.SafeLoader):
    """PyYAML's composer with a bound on nesting, which it would otherwise meet as a `RecursionError`."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise yaml.MarkedYAMLError(
                problem="nested too deeply", problem_mark=getattr(parent, "start_mark", None)
            )
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def _compose(text: str, source: str) -> yaml.Node | None:
    try:
        return _Composer(text).get_single_node()
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        raise SpecError([Problem("a character that YAML does not allow", source, line, column)]) from None
    except yaml.MarkedYAMLError as error:
        raise SpecError([_syntax_problem(error, source)]) from None


def _syntax_problem(error: yaml.MarkedYAMLError, source: str) -> Problem:
    jargon = f"{error.context or ''} {error.problem or ''}"
    message = next((plain for part, plain in _SYNTAX if part in jargon), redact(f"not YAML: {error.problem}"))
    if "'\\t'" in jargon:
        message = "a tab: indent with spaces"
    mark = error.problem_mark or error.context_mark or _START
    return Problem(message, source, mark.line + 1, mark.column + 1)


class _Builder:
    """Turns YAML nodes into plain Python and collects what is wrong with them."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.problems: list[Problem] = []
        self._built = 0
        self._open: set[int] = set()

    def value(self, node: yaml.Node) -> Any:
        self._built += 1
        if self._built > _MOST_VALUES:
            raise SpecError(
                [self._problem(node, f"more than {_MOST_VALUES:,} values: too many aliases `*name`")]
            )
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        return self._collection(node)

    def _collection(self, node: yaml.Node) -> Any:
        expected = "map" if isinstance(node, yaml.MappingNode) else "seq"
        if node.tag != _STANDARD + expected:
            self._refuse_tag(node)
        if id(node) in self._open:
            raise SpecError([self._problem(node, "an alias `*name` inside its own anchor `&name`")])
        self._open.add(id(node))
        built = (
            self._mapping(node)
            if isinstance(node, yaml.MappingNode)
            else [self.value(item) for item in node.value]
        )
        self._open.discard(id(node))
        return built

    def _mapping(self, node: yaml.MappingNode) -> dict[str, Any]:
        lines: dict[str, int] = {}
        built: dict[str, Any] = {}
        bases = _bases(node)
        for key_node, value_node in node.value:
            if bases and key_node.value == "<<" and key_node.style is None:
                continue
            key = self._key(key_node)
            value = self.value(value_node)
            if key in lines:
                message = f"duplicate key {quote(key)}: it is already on line {lines[key]}"
                self.problems.append(self._problem(key_node, message))
                continue
            lines[key] = key_node.start_mark.line + 1
            built[key] = value
        for base in bases:
            built = self.value(base) | built
        return built

    def _key(self, node: yaml.Node) -> str:
        if not isinstance(node, yaml.ScalarNode):
            raise SpecError([self._problem(node, "a key must be text, not a list or a mapping")])
        kind = node.tag.removeprefix(_STANDARD)
        if kind not in _TEXT_TAGS:
            written = quote(node.value) if node.value else "nothing"
            what = {"bool": "a boolean", "null": "no value", "timestamp": "a date"}.get(kind, "a number")
            hint = f': write "{node.value}"' if node.value and kind in _KINDS else ""
            message = f"the key {written} without quotes is {what} in YAML{hint}"
            self.problems.append(self._problem(node, message))
        return str(node.value)

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        kind, text = node.tag.removeprefix(_STANDARD), str(node.value)
        if kind in _TEXT_TAGS:
            return text
        if kind not in _KINDS:
            self._refuse_tag(node)
            return text
        try:
            return _plain(kind, text)
        except _TrapError as trap:
            self.problems.append(self._problem(node, str(trap)))
            return text

    def _refuse_tag(self, node: yaml.Node) -> None:
        self.problems.append(
            self._problem(node, f"the tag {quote(_shown_tag(node.tag))} is not allowed: remove it")
        )

    def _problem(self, node: yaml.Node, message: str) -> Problem:
        mark = node.start_mark or _START
        return Problem(message, self.source, mark.line + 1, mark.column + 1)


_KINDS = frozenset({"null", "bool", "int", "float", "timestamp"})


def _shown_tag(tag: str) -> str:
    return "!!" + tag.removeprefix(_STANDARD) if tag.startswith(_STANDARD) else tag


class _TrapError(ValueError):
    """A word that YAML 1.1 reads as something other than what it looks like."""


def _plain(kind: str, text: str) -> Any:
    """The value of a scalar that YAML takes for something else than text."""
    if kind == "null":
        return None
    if kind == "bool":
        return _boolean(text)
    if kind == "timestamp":
        raise _TrapError(f'{quote(text)} without quotes is a date in YAML: write "{redact(text)}"')
    if ":" in text:
        number = _sexagesimal(text)
        raise _TrapError(
            f'{quote(text)} without quotes is the number {number} in YAML: write "{text}" or {number}'
        )
    return _integer(text) if kind == "int" else _float(text)


def _boolean(text: str) -> bool:
    if text.lower() in {"true", "false"}:
        return text.lower() == "true"
    if text.lower() not in {"yes", "no", "on", "off"}:
        raise _TrapError(f"{quote(text)} is not a boolean: write true or false")
    meant = "true" if text.lower() in {"yes", "on"} else "false"
    raise _TrapError(
        f'{quote(text)} without quotes is a boolean in YAML: write "{text}" for the word, or {meant}'
    )


def _sexagesimal(text: str) -> str:
    """The number that YAML 1.1 reads in `1:30`."""
    total = 0.0
    try:
        for part in text.lstrip("+-").replace("_", "").split(":"):
            total = total * 60 + float(part)
    except ValueError:
        raise _TrapError(f"{quote(text)} is not a number") from None
    return f"{'-' if text.startswith('-') else ''}{total:g}"


def _integer(text: str) -> int:
    digits = text.replace("_", "")
    octal = re.fullmatch(r"[-+]?0\d+", digits) is not None
    try:
        number = int(digits, 8 if octal else 0)
    except ValueError:
        raise _TrapError(f"{quote(text)} is not a whole number") from None
    if octal:
        raise _TrapError(
            f'{quote(text)} without quotes is the octal number {number} in YAML: write "{text}" or {number}'
        )
    if abs(number) >= _LARGEST:
        raise _TrapError("a number with more than 63 bits: quote it if it is text")
    return number


def _float(text: str) -> float:
    try:
        number = float(text.replace("_", "").replace(".inf", "inf").replace(".nan", "nan"))
    except ValueError:
        number = float("nan")
    if not isfinite(number):
        raise _TrapError(f"{quote(text)} is not a finite number: quote it if it is text")
    return number
