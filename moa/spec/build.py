"""Specs made from plain data, with the same words for mistakes as those read from files, and written as files."""

from __future__ import annotations

import json
from typing import Any, TypeVar, cast

import yaml
from pydantic import JsonValue, ValidationError

from moa.errors import Problem, SpecError
from moa.spec.agent import Spec
from moa.spec.mistakes import find_mistakes

T = TypeVar("T", bound=Spec)


def spec_from(kind: type[T], data: Any) -> T:
    """A spec of `kind`; raises `SpecError` with every mistake, each with the path of its keys."""
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        mistakes = find_mistakes(error, kind, data)
        raise SpecError(
            [Problem(f"{'.'.join(map(str, mistake.path))}: {mistake.message}") for mistake in mistakes]
        ) from None


def read_value(text: str) -> JsonValue:
    """What an option on the command line means: JSON where it reads as JSON, else the text itself."""
    try:
        return cast(JsonValue, json.loads(text))
    except ValueError:
        return text


def yaml_of(spec: Spec) -> str:
    """A spec as the file that says the same, with no more in it than was said."""
    return str(
        yaml.dump(
            spec.model_dump(mode="json", exclude_unset=True),
            Dumper=_Dumper,
            sort_keys=False,
            allow_unicode=True,
            width=_WIDTH,
        )
    )


class _Dumper(yaml.SafeDumper):
    """Short mappings and lists on one line, texts of several lines as blocks."""


def _write_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


def _write_mapping(dumper: yaml.SafeDumper, mapping: dict[str, Any]) -> yaml.Node:
    return dumper.represent_mapping("tag:yaml.org,2002:map", mapping.items(), flow_style=_is_short(mapping))


def _write_list(dumper: yaml.SafeDumper, items: list[Any]) -> yaml.Node:
    return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=_is_short(items))


def _is_short(value: object) -> bool:
    shown = json.dumps(value)
    return len(shown) < _WIDTH and "\\n" not in shown


_WIDTH = 120
_Dumper.add_representer(str, _write_text)
_Dumper.add_representer(dict, _write_mapping)
_Dumper.add_representer(list, _write_list)
