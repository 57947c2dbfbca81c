"""Simulated models in the place of those that a page names; `python -m tests.support.standins` is `moa` with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from moa.backends.base import Backend
from moa.backends.resolve import known_providers
from moa.backends.simulated import Simulated
from moa.spec.model import ModelSpec
from moa.spec.registry import BACKENDS

REAL = frozenset({"sim", "replay"})
"""Providers that need no stand-in."""


def stand_in(spec: ModelSpec) -> Backend:
    """A simulated model that answers for `spec`, with its window and its price."""
    return Simulated(spec.model_copy(update={"provider": "sim", "options": {}}))


def stand_ins() -> Mapping[str, Callable[[ModelSpec], Backend]]:
    """A backend for every provider that would need a key, a server or weights."""
    return dict.fromkeys(set(known_providers()) - REAL, stand_in)


if __name__ == "__main__":
    from moa.cli import main

    for name, backend in stand_ins().items():
        BACKENDS.register(name, backend)
    main()
