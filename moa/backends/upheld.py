"""What `moa up` keeps running on this machine: each supervisor's folder says which engines it has."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

from moa.errors import UsageError
from moa.values import value

RECORD = "engines.json"
LOCK = "lock"
KEPT = 20
"""Folders of supervisors that are gone, kept for their logs."""


@value(frozen=True, slots=True)
class Upheld:
    """One engine of a supervisor that lives."""

    name: str
    base_url: str
    state: str
    models: tuple[str, ...]
    """Ids that it answers to."""
    models_file: str
    """The models.yaml that names them."""


def state_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where this system keeps an application's state, for `moa`."""
    if chosen := environ.get("XDG_STATE_HOME"):
        return Path(chosen) / "moa"
    if sys.platform == "win32":
        return Path(environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "moa"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "moa"
    return Path.home() / ".local" / "state" / "moa"


def open_folder(environ: Mapping[str, str] = os.environ) -> tuple[Path, IO[bytes]]:
    """A new folder for a supervisor, and the file whose lock says that it lives; keep that open.

    Folders of supervisors that are gone stay for their logs, but only the newest of them.
    """
    up = state_folder(environ) / "up"
    try:
        up.mkdir(parents=True, exist_ok=True)
        for old in sorted(filter(_is_over, up.iterdir()))[:-KEPT]:
            shutil.rmtree(old, ignore_errors=True)
        begun = f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}-"
        folder = Path(tempfile.mkdtemp(prefix=begun, dir=up))
        file = (folder / LOCK).open("wb")
    except OSError as error:
        raise UsageError(f"cannot write {up}: {error.strerror}; set XDG_STATE_HOME to a folder") from None
    _lock(file)
    return folder, file


def write_record(folder: Path, engines: list[Upheld]) -> None:
    """Tell what runs; readers see the old record or the new one."""
    draft = folder / f"{RECORD}.new"
    fields = ("name", "base_url", "state", "models", "models_file")
    listed = [{field: getattr(engine, field) for field in fields} for engine in engines]
    draft.write_text(json.dumps({"engines": listed}, indent=2), encoding="utf-8")
    draft.replace(folder / RECORD)


def upheld(environ: Mapping[str, str] = os.environ) -> Iterator[Upheld]:
    """The engines of every supervisor that lives; those of one that was killed are left out."""
    for record in sorted((state_folder(environ) / "up").glob(f"*/{RECORD}")):
        if not _lives(record.parent / LOCK):
            continue
        try:
            engines = json.loads(record.read_text(encoding="utf-8"))["engines"]
            yield from [Upheld(**{**engine, "models": tuple(engine["models"])}) for engine in engines]
        except (OSError, ValueError, KeyError, TypeError):
            # It ends just now, or another version of moa wrote it.
            continue


def _lock(file: IO[bytes]) -> None:
    import fcntl

    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _is_over(folder: Path) -> bool:
    return (folder / LOCK).is_file() and not _lives(folder / LOCK)


def _lives(path: Path) -> bool:
    """Whether a supervisor holds the lock, which the system drops even when it is killed."""
    try:
        import fcntl

        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except ImportError:
        return False
    except OSError:
        return path.exists()
    return False
