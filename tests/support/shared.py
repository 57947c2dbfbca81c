"""The shared data beside the repository, which its licence keeps out of it; tests that need it skip without it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from moa.evaluate.annotations import Annotations, read_annotations

SHARED = Path(__file__).parents[3] / "shared" / "data"
ALPACA_EVAL = SHARED / "alpaca_eval2"
TASKS = SHARED / "tasks"


def shared_data(*parts: str) -> Path:
    """A path below the shared data; skips the test, saying why, where it is absent."""
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"the shared data is not here: {path}")
    return path


needs_alpaca_eval = pytest.mark.skipif(
    not ALPACA_EVAL.is_dir(), reason=f"AlpacaEval's annotations are not here: {ALPACA_EVAL}"
)


@cache
def alpaca_eval_annotations() -> tuple[Annotations, ...]:
    """The published judgments of 29 models, read once."""
    return tuple(read_annotations([ALPACA_EVAL / "annotations.parquet"]))
