"""Who may ask: keys from a file, kept as digests, each with a ledger of its own."""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path

from moa.errors import UsageError
from moa.run.budget import Budget, Ledger

SHORTEST = 16
"""Characters of a key, at least: a shorter one can be guessed."""
_NAME = re.compile(r"[\w.@-]{1,64}")


class Tenant:
    """Whoever asks with one key: its name, what it has spent, and how many of its requests are under way."""

    def __init__(self, name: str, budget: Budget | None = None) -> None:
        self.name = name
        self.ledger = Ledger(budget)
        self.running = 0


class Keys:
    """The keys that open the door; without any, everybody is one nameless tenant.

    Only digests are kept, and a presented key is compared with all of them in constant time.
    """

    def __init__(self, secrets: Iterable[tuple[str, str]] = (), *, budget: Budget | None = None) -> None:
        self._known = [(_digest(secret), Tenant(name, budget)) for name, secret in secrets]
        self.anyone = Tenant("", budget)

    @classmethod
    def read(cls, path: Path, *, budget: Budget | None = None) -> Keys:
        """Read a file with one `NAME KEY` (or `KEY`) a line; raises `UsageError` that never shows a key."""
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"--api-key-file {path}: cannot be read ({type(error).__name__})") from None
        found = [
            _read_line(path, number, line.split())
            for number, line in enumerate(lines, 1)
            if line.strip() and not line.lstrip().startswith("#")
        ]
        if not found:
            raise UsageError(f"--api-key-file {path}: holds no key; write one `NAME KEY` a line")
        _refuse_twins(path, found)
        return cls(found, budget=budget)

    @property
    def needed(self) -> bool:
        """Whether a key must be shown."""
        return bool(self._known)

    @property
    def tenants(self) -> Sequence[Tenant]:
        """All who may ask."""
        return [tenant for _, tenant in self._known] or [self.anyone]

    def tenant(self, presented: str) -> Tenant | None:
        """Whose key this is; None for nobody's."""
        digest, found = _digest(presented), None
        for known, tenant in self._known:
            if hmac.compare_digest(known, digest):
                found = tenant
        return found


def _digest(secret: str) -> bytes:
    return sha256(secret.encode("utf-8", "surrogatepass")).digest()


def _read_line(path: Path, number: int, words: list[str]) -> tuple[str, str]:
    name, secret = (f"key-{number}", words[0]) if len(words) == 1 else (words[0], words[-1])
    if len(words) > 2 or not _NAME.fullmatch(name):
        raise UsageError(f"--api-key-file {path}:{number}: write `NAME KEY`, a name of letters and digits")
    if len(secret) < SHORTEST or not secret.isascii() or not secret.isprintable():
        raise UsageError(f"--api-key-file {path}:{number}: a key has at least {SHORTEST} plain characters")
    return name, secret


def _refuse_twins(path: Path, found: Sequence[tuple[str, str]]) -> None:
    for place, what in ((0, "name"), (1, "key")):
        values = [entry[place] for entry in found]
        if len(set(values)) < len(values):
            raise UsageError(f"--api-key-file {path}: the same {what} stands there twice")
