"""The user's own files in place of those that an evaluation names."""

from __future__ import annotations

from pathlib import Path

from moa.errors import UsageError
from moa.spec.evaluation import EvalSpec, SourceSpec


def with_data(spec: EvalSpec, path: Path) -> EvalSpec:
    """The evaluation over a file of the user's, read as its own data would be.

    `path` is relative to here. Raises `UsageError` where there is no such file.
    """
    return spec.model_copy(update={"data": _at(spec.data, path)})


def with_baseline(spec: EvalSpec, path: Path) -> EvalSpec:
    """The evaluation with a file of the user's as the recorded outputs that entrants are compared with."""
    if spec.baseline is None:
        raise UsageError(
            f"{spec.name or 'the evaluation'} has no recorded baseline: an entrant is its baseline"
        )
    return spec.model_copy(update={"baseline": _at(spec.baseline, path)})


def without_baseline(spec: EvalSpec) -> EvalSpec:
    """The evaluation without recorded outputs to compare with: an entrant is the baseline."""
    return spec.model_copy(update={"baseline": None})


def _at(source: SourceSpec, path: Path) -> SourceSpec:
    """The source with a file's absolute path, so that no file beside the evaluation is taken for it."""
    if not path.is_file():
        raise UsageError(f"cannot read {path}: {'not a file' if path.exists() else 'no such file'}")
    here = {"path": str(path.absolute()), "hub": None, "file": None, "revision": "main", "sha256": None}
    return source.model_copy(update=here)
