"""What pydantic found wrong, in words that say what to write instead."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
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


def find_mistakes(error: ValidationError, kind: type[BaseModel], data: Any) -> list[Mistake]:
    """All mistakes that pydantic reports about `data` as a `kind`, each once, in plain language."""
    flaws = [_Flaw(*place(kind, details["loc"]), details) for details in error.errors(include_url=False)]
    return list(dict.fromkeys(_read(_settled(flaws), kind, data)))


def value_at(data: Any, path: Path) -> Any:
    """The value at `path`, or None where it leads nowhere."""
    for part in path:
        try:
            data = data[part]
        except (LookupError, TypeError):
            return None
    return data


def _read(flaws: Iterable[_Flaw], kind: type[BaseModel], data: Any) -> list[Mistake]:
    """One mistake for each place; those that differ only in the expected type become one."""
    mistakes: list[Mistake] = []
    for path, group in groupby(flaws, key=lambda flaw: flaw.path):
        members = list(group)
        types = [flaw for flaw in members if flaw.details["type"] in _EXPECTED]
        if types:
            expected = dict.fromkeys(_EXPECTED[flaw.details["type"]] for flaw in types)
            mistakes.append(Mistake(path, _wrong_type(list(expected), value_at(data, path), path)))
        mistakes += [_mistake(flaw, kind, data) for flaw in members if flaw not in types]
    return mistakes


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
    deep = [own for own in by_member.values() if not all(_is_type_error_at(fork, flaw) for flaw in own)]
    return min(deep, key=len) if deep else [flaw for own in by_member.values() for flaw in own]


def _is_type_error_at(fork: Path, flaw: _Flaw) -> bool:
    return flaw.path == fork and flaw.details["type"] in _EXPECTED


def _mistake(flaw: _Flaw, kind: type[BaseModel], data: Any) -> Mistake:
    path, details = flaw.path, flaw.details
    context: dict[str, Any] = details.get("ctx", {})
    error_type = details["type"]
    if error_type == "extra_forbidden":
        return _unknown_key(path, kind)
    if error_type == "missing":
        return Mistake(path[:-1], f"{quote(str(path[-1]))} is missing")
    if flaw.at_key:
        return Mistake(path, f"{quote(str(path[-1]))} is not a name: {_NAME_RULE}", key=True)
    if error_type in _BOUNDS:
        bound, words = _BOUNDS[error_type]
        return Mistake(path, f"{words} {context[bound]:g}, not {_shown(value_at(data, path), path)}")
    return Mistake(path, _MESSAGES.get(error_type, _as_pydantic_says)(details, value_at(data, path)))


_NAME_RULE = "a letter, then letters, digits, `-` or `_`"


def _as_pydantic_says(details: ErrorDetails, value: Any) -> str:
    return redact(details["msg"])


def _own_words(details: ErrorDetails, value: Any) -> str:
    return redact(str(details["ctx"]["error"]))


def _bad_choice(details: ErrorDetails, value: Any) -> str:
    choices = re.findall(r"'([^']*)'", details["ctx"]["expected"])
    meant = nearest(value, choices) if isinstance(value, str) else None
    hint = f"; did you mean `{meant}`?" if meant else ""
    return f"expected one of {', '.join(choices)}; not {_shown(value, ())}{hint}"


def _too_short(details: ErrorDetails, value: Any) -> str:
    least = details["ctx"]["min_length"]
    return "must not be empty" if least == 1 else f"needs at least {least} entries"


def _bad_name(details: ErrorDetails, value: Any) -> str:
    return f"{_shown(value, ())} is not a name: {_NAME_RULE}"


_MESSAGES: dict[str, Callable[[ErrorDetails, Any], str]] = {
    "value_error": _own_words,
    "literal_error": _bad_choice,
    "too_short": _too_short,
    "string_pattern_mismatch": _bad_name,
}


def _wrong_type(expected: list[str], value: Any, path: Path) -> str:
    wanted = " or ".join([", ".join(expected[:-1]), expected[-1]]) if len(expected) > 1 else expected[0]
    return f"expected {wanted}, not {_shown(value, path)}{_hint(expected, value)}"


def _hint(expected: list[str], value: Any) -> str:
    if "text" in expected and isinstance(value, bool | int | float):
        return f': if it is text, write "{str(value).lower()}"'
    if "a list" in expected and isinstance(value, str) and not has_secret(value):
        return f": write [{value}]" if re.fullmatch(r"[\w:./-]{1,40}", value) else ""
    if "a whole number" in expected and isinstance(value, str) and re.fullmatch(r"\d+e\d{1,2}", value):
        return f": write {int(float(value))}"
    return ""


def _shown(value: Any, path: Path) -> str:
    """`value` as it may appear in a message."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, str):
        return "this text" if any(is_secret_name(str(part)) for part in path) else quote(value)
    if isinstance(value, int | float):
        return f"{value}"
    return "a mapping" if isinstance(value, dict) else "a list"


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
