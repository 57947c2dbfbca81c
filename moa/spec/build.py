"""Specs made from plain data, with the same words for mistakes as those read from files."""

from __future__ import annotations

import json
from typing import Any, TypeVar, cast

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
