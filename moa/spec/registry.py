"""Names that stand for classes: built-in ones, installed plugins, and ones registered at run time.

Built-in selectors and backends are entry points of `moa` itself, so a plugin in another package is
found in exactly the way ours are, and nothing is imported before it is asked for.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any

from moa.errors import UsageError


class Registry:
    """The classes of one kind, by name.

    `group` is the entry-point group that installed packages use to add to it.
    """

    def __init__(self, kind: str, group: str) -> None:
        self.kind = kind
        self.group = group
        self._registered: dict[str, Any] = {}
        self._entries: dict[str, EntryPoint] | None = None

    def register(self, name: str, value: Any) -> None:
        """Add `value` under `name` for this process; it wins over an installed one."""
        self._registered[name] = value

    def names(self) -> list[str]:
        """All known names, sorted."""
        return sorted({*self._registered, *self._installed()})

    def __contains__(self, name: str) -> bool:
        return name in self._registered or name in self._installed()

    def get(self, name: str) -> Any:
        """The class called `name`; raises `UsageError` for an unknown one."""
        if name in self._registered:
            return self._registered[name]
        entry = self._installed().get(name)
        if entry is None:
            raise UsageError(f"unknown {self.kind} {name!r}; known: {', '.join(self.names())}")
        value = self._registered[name] = entry.load()
        return value

    def _installed(self) -> dict[str, EntryPoint]:
        if self._entries is None:
            self._entries = {entry.name: entry for entry in entry_points(group=self.group)}
        return self._entries


SELECTORS = Registry("selector", "moa.selectors")
BACKENDS = Registry("backend", "moa.backends")
