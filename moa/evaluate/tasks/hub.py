"""The files of an evaluation: beside it, here, in a cache, or on the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path

from moa.errors import UsageError
from moa.spec.evaluation import SourceSpec


def locate(source: SourceSpec, near: Path | None) -> tuple[Path, ...]:
    """The files on this machine that hold the rows, fetched from the hub where they are not here yet."""
    if source.path is None:
        raise UsageError("the hub is not read yet: give --data FILE")
    return (_local(source.path, near),)


def _local(name: str, near: Path | None) -> Path:
    path = Path(name).expanduser()
    folder = near if near is None or near.is_dir() else near.parent
    for place in (folder, Path()):
        if place is not None and (place / path).is_file():
            return place / path
    raise UsageError(f"no file {name}: give --data FILE, or mend `path`")
