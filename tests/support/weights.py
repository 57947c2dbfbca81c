"""Whether the embedded model can run here."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, TypeVar, cast

import pytest

from moa.backends.weights import find
from moa.errors import UsageError

MODEL = "smollm2-135m"
Test = TypeVar("Test", bound=Callable[..., Any])


def _missing() -> str:
    if find_spec("xllamacpp") is None:
        return "the extra `local` is not installed"
    try:
        find(MODEL, environ={**os.environ, "HF_HUB_OFFLINE": "1"})
    except UsageError as error:
        return str(error)
    return ""


MISSING = _missing()
"""What the embedded model lacks here, in words; empty when it can run."""


def needs_weights(test: Test) -> Test:
    """Mark a test that runs the embedded model: skipped where it cannot, but never under CI."""
    skip = bool(MISSING) and not os.environ.get("CI")
    skipping = pytest.mark.skipif(skip, reason=MISSING or "never skipped under CI")
    return cast(Test, pytest.mark.model(skipping(test)))
