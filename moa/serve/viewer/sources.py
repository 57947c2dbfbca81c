"""Which kind of thing a path is, and how its runs are read."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from moa.errors import UsageError
from moa.serve.viewer.experiment import ExperimentSource
from moa.serve.viewer.source import Source
from moa.serve.viewer.stored import StoreSource

STORE = "store.sqlite"
"""A store in the folder of an experiment."""


def open_sources(paths: Iterable[Path]) -> list[Source]:
    """What is to be seen at each path; raises `UsageError` for one that is neither experiment nor store."""
    return [source for path in paths for source in _open(path.expanduser())]


def _open(path: Path) -> list[Source]:
    if not path.exists():
        raise UsageError(f"there is nothing at {path}; name the folder of an experiment, or a store")
    if path.is_dir():
        found: list[Source] = [ExperimentSource(path)]
        return [*found, StoreSource(path / STORE)] if (path / STORE).is_file() else found
    return [StoreSource(path)]
