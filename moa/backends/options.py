"""A model's `options`, read with the words for mistakes that files have."""

from __future__ import annotations

from typing import TypeVar

from moa.errors import SpecError, UsageError
from moa.spec.agent import Spec
from moa.spec.build import spec_from
from moa.spec.model import ModelSpec

T = TypeVar("T", bound=Spec)


def read_options(kind: type[T], spec: ModelSpec) -> T:
    """The options of a model; raises `UsageError`, one line with every mistake and the known names."""
    try:
        return spec_from(kind, dict(spec.options))
    except SpecError as error:
        mistakes = "; ".join(map(str, error.problems))
    known = ", ".join(kind.model_fields)
    raise UsageError(f"{spec.name or spec.provider}: options: {mistakes} (known: {known})")
