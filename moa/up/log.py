"""What an engine's log says about its end."""

from __future__ import annotations

import re
from pathlib import Path

TAIL = 1 << 16
"""Bytes of a log that are looked at."""
LONGEST = 300
_PREFIX = re.compile(r"^(\([^)]*\)\s*)?((INFO|WARNING|ERROR|CRITICAL|DEBUG)\s+[\d-]+ [\d:.]+ \[[^\]]*\]\s*)?")
_ERROR = re.compile(r"^(?:[\w.]+\.)?\w*(?:Error|Exception|Interrupt|Exit)(?:: .*|$)")
_ARGPARSE = re.compile(r"\berror: ")
_VAGUE = re.compile(
    r"See root cause above|See stack trace for root cause|Engine core initialization failed|leaked \w+ objects"
)


def last_words(path: Path) -> str:
    """The line of a log that says why the engine ended; empty for a log that says nothing.

    That is the last exception, but one that only says that something else went wrong; else the last line.
    """
    lines = [_PREFIX.sub("", line).strip() for line in _tail(path)]
    lines = [line for line in lines if line and not _VAGUE.search(line)]
    errors = [line for line in lines if _ERROR.match(line) or _ARGPARSE.search(line)]
    said = (errors or lines or [""])[-1]
    return said if len(said) <= LONGEST else f"{said[: LONGEST - 1]}…"


def _tail(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL))
            return file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []
