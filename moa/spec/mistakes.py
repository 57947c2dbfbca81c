"""What pydantic found wrong, in words that say what to write instead."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from moa.spec.document import Path
from moa.spec.fields import branches, models_at, place
from moa.spec.words import has_secret, is_secret_name, nearest, quote, redact

_EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping",
    "mapping_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}
_SHORT_FORMS = {
    "Arity": "a count such as `1` or `1+`",
    "Rounds": "a number of rounds",
    "Select": "the name of a selector",
    "Subsets": "`all`",
}
_BOUNDS = {
    "greater_than_equal": ("ge", "must be at least"),
    "greater_than": ("gt", "must be more than"),
    "less_than_equal": ("le", "must be at most"),
    "less_than": ("lt", "must be less than"),
}


class Mistake(NamedTuple):
    """One mistake in the data of a spec. `path` ends with the key itself where `key` is set.

    `instead` is the key that an unknown one probably means.
    """

    path: Path
    message: str
    key: bool = False
    instead: str | None = None


class _Flaw(NamedTuple):
    """A pydantic error at its place, the union members before it still to be judged."""

    path: Path
    forks: tuple[tuple[int, str], ...]
    at_key: bool
    details: ErrorDetails


class _Given(NamedTuple):
    """What the user wrote: its value, and its text where that differs, such as `0x1F` for 31."""

    value: Any
    path: Path
    text: str | None = None

    def __str__(self) -> str:
        """The value as it may appear in a message."""
        if isinstance(self.value, dict):
            return "a mapping"
        if isinstance(self.value, list | tuple):
            return "a list"
        if isinstance(self.value, str) and any(is_secret_name(str(part)) for part in self.path):
            return "this text"
        return quote(self.word)

    @property
    def word(self) -> str:
        """The value as it was written."""
        if isinstance(self.value, bool):
            return str(self.value).lower()
        return self.text if self.text is not None else str(self.value)


Written = Callable[[Path], str | None]
"""The text of the value at a path, before it became a number or a boolean."""


@dataclass(frozen=True, slots=True)
class _Reading:
    """The data that pydantic refused, and the kind of spec that it was meant to be."""

    kind: type[BaseModel]
    data: Any
    written: Written

    def given(self, flaw: _Flaw) -> _Given:
        """What stands at the flaw's place; for a short form, what pydantic made of it."""
        value = value_at(self.data, flaw.path, missing=flaw.details["input"])
        return _Given(value, flaw.path, self.written(flaw.path))

    def mistakes(self, flaws: Iterable[_Flaw]) -> Iterator[Mistake]:
        """One mistake for each place and kind of flaw; those that differ only in the expected type become one."""
        for path, group in groupby(flaws, key=lambda flaw: flaw.path):
            members = list(group)
            wrong_type = [flaw for flaw in members if _is_type_error(flaw)]
            if wrong_type:
                expected = dict.fromkeys(_expected(flaw.details) for flaw in wrong_type)
                yield Mistake(path, _wrong_type(list(expected), self.given(wrong_type[0])))
            yield from (self.mistake(flaw) for flaw in members if not _is_type_error(flaw))

    def mistake(self, flaw: _Flaw) -> Mistake:
        """A flaw in plain language."""
        path, details = flaw.path, flaw.details
        if details["type"] == "extra_forbidden":
            return _unknown_key(path, self.kind)
        if details["type"] == "missing":
            return Mistake(path[:-1], f"{quote(str(path[-1]))} is missing")
        given = _Given(path[-1], path) if flaw.at_key else self.given(flaw)
        return Mistake(path, _MESSAGES.get(details["type"], _as_pydantic_says)(details, given), flaw.at_key)


def find_mistakes(
    error: ValidationError, kind: type[BaseModel], data: Any, written: Written = lambda path: None
) -> list[Mistake]:
    """All mistakes that pydantic reports about `data` as a `kind`, each once, in plain language.

    `written` knows the text behind a value, where there is a file.
    """
    flaws = [_Flaw(*place(kind, details["loc"]), details) for details in error.errors(include_url=False)]
    return list(dict.fromkeys(_Reading(kind, data, written).mistakes(_settled(flaws))))


def value_at(data: Any, path: Path, missing: Any = None) -> Any:
    """The value at `path`, or `missing` where it leads nowhere."""
    for part in path:
        try:
            data = data[part]
        except (LookupError, TypeError):
            return missing
    return data


def _settled(flaws: list[_Flaw]) -> list[_Flaw]:
    """The flaws of the union members that the user most likely meant."""
    settled: list[_Flaw] = []
    for fork, group in groupby(flaws, key=lambda flaw: flaw.path[: flaw.forks[0][0]] if flaw.forks else None):
        members = list(group)
        settled += members if fork is None else _settled(_meant(fork, members))
    return settled


def _meant(fork: Path, flaws: list[_Flaw]) -> list[_Flaw]:
    """Of the union at `fork`, the members that got further than "this is not even my type"."""
    by_member: dict[str, list[_Flaw]] = {}
    for flaw in flaws:
        by_member.setdefault(flaw.forks[0][1], []).append(flaw._replace(forks=flaw.forks[1:]))
    deep = [
        own
        for own in by_member.values()
        if not all(flaw.path == fork and _is_type_error(flaw) for flaw in own)
    ]
    return min(deep, key=len) if deep else [flaw for own in by_member.values() for flaw in own]


def _is_type_error(flaw: _Flaw) -> bool:
    return flaw.details["type"] in _EXPECTED


def _expected(details: ErrorDetails) -> str:
    """What would be right here; for a spec with a short form, that too."""
    short = _SHORT_FORMS.get(details.get("ctx", {}).get("class_name", ""))
    expected = _EXPECTED[details["type"]]
    return f"{short} or {expected}" if short else expected


def _wrong_type(expected: list[str], given: _Given) -> str:
    wanted = " or ".join([", ".join(expected[:-1]), expected[-1]]) if len(expected) > 1 else expected[0]
    if given.value is None:
        return f"expected {wanted}, but nothing is written here"
    return f"expected {wanted}, not {given}{_hint(expected, given)}"


def _hint(expected: list[str], given: _Given) -> str:
    if "text" in expected and isinstance(given.value, bool | int | float):
        return f': if it is text, write "{given.word}"'
    if not isinstance(given.value, str) or has_secret(given.value):
        return ""
    if "a list" in expected and re.fullmatch(r"[\w:./-]{1,40}", given.value):
        return f": write [{given.value}]"
    if "a whole number" in expected and re.fullmatch(r"\d+e\d{1,2}", given.value):
        return f": write {int(float(given.value))}"
    return ""


def _as_pydantic_says(details: ErrorDetails, given: _Given) -> str:
    return redact(details["msg"])


def _own_words(details: ErrorDetails, given: _Given) -> str:
    return redact(str(details["ctx"]["error"]))


def _out_of_bounds(details: ErrorDetails, given: _Given) -> str:
    bound, words = _BOUNDS[details["type"]]
    return f"{words} {details['ctx'][bound]:g}, not {given}"


def _bad_choice(details: ErrorDetails, given: _Given) -> str:
    choices = re.findall(r"'([^']*)'", details["ctx"]["expected"])
    meant = nearest(given.value, choices) if isinstance(given.value, str) else None
    hint = f"; did you mean `{meant}`?" if meant else ""
    return f"expected one of {', '.join(choices)}; not {given}{hint}"


def _too_short(details: ErrorDetails, given: _Given) -> str:
    least = details["ctx"]["min_length"]
    what = "characters" if details["type"] == "string_too_short" else "entries"
    return "must not be empty" if least == 1 else f"needs at least {least} {what}"


def _bad_name(details: ErrorDetails, given: _Given) -> str:
    allowed = "letters, digits, `-` or `_`" if "-]" in details["ctx"]["pattern"] else "letters, digits or `_`"
    return f"{given} is not a name: a letter, then {allowed}"


_MESSAGES: dict[str, Callable[[ErrorDetails, _Given], str]] = {
    "value_error": _own_words,
    "literal_error": _bad_choice,
    "too_short": _too_short,
    "string_too_short": _too_short,
    "string_pattern_mismatch": _bad_name,
    **dict.fromkeys(_BOUNDS, _out_of_bounds),
}


def _unknown_key(path: Path, kind: type[BaseModel]) -> Mistake:
    key, models = str(path[-1]), models_at(kind, path[:-1])
    known = [name for model in models for name in model.model_fields]
    if is_secret_name(key) or has_secret(key):
        return Mistake(path, _secret_remedy(key, known), key=True)
    inside = _inside(models)
    if key in inside:
        return Mistake(path, f"unknown key {quote(key)} here; it belongs under {inside[key]}", key=True)
    if meant := nearest(key, known):
        return Mistake(path, f"unknown key {quote(key)}; did you mean `{meant}`?", key=True, instead=meant)
    if meant := nearest(key, inside):
        message = f"unknown key {quote(key)}; did you mean `{meant}` under {inside[meant]}?"
        return Mistake(path, message, key=True)
    return Mistake(path, f"unknown key {quote(key)}; known here: {', '.join(known)}", key=True)


def _secret_remedy(key: str, known: list[str]) -> str:
    if "key_env" in known:
        return f"a key never goes into a file: instead of {quote(key)} write `key_env: NAME_OF_VARIABLE`"
    return (
        f"a key never goes into a file: drop {quote(key)}, and set `key_env: NAME_OF_VARIABLE` in models.yaml"
    )


def _inside(models: list[type[BaseModel]]) -> dict[str, str]:
    """The keys one level below, each with the key or keys that it belongs under."""
    homes: dict[str, set[str]] = {}
    for model in models:
        for name, field in model.model_fields.items():
            for below in (branch for branch in branches(field.annotation) if isinstance(branch, type)):
                for key in getattr(below, "model_fields", {}):
                    homes.setdefault(key, set()).add(f"`{name}`")
    return {key: " or ".join(sorted(names)) for key, names in homes.items()}
