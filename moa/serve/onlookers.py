"""Those who only look on (metrics, traces, the page, the log): what goes wrong with one of them is not the client's affair."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeVar

from moa.run.events import Event, Listener

T = TypeVar("T")
_log = logging.getLogger("moa.serve")
"""Without a handler of the program's own, warnings go to standard error."""


class Onlookers:
    """Calls functions whose errors stop nothing; of each, the first error is reported, by the function's name."""

    def __init__(self) -> None:
        self._reported: set[str] = set()

    def tell(self, onlooker: Callable[..., T], *said: Any) -> T | None:
        """What `onlooker` makes of it; None where it raises."""
        try:
            return onlooker(*said)
        except Exception as error:  # noqa: BLE001  another's code: it must not cost anybody an answer
            self._report(onlooker, error)
            return None

    def listener(self, listeners: Iterable[Listener]) -> Listener:
        """All of them as one listener that never raises."""
        several = tuple(listeners)

        def hear(event: Event) -> None:
            for listener in several:
                try:
                    listener(event)
                except Exception as error:  # noqa: BLE001  another's code: it must not cost anybody an answer
                    self._report(listener, error)

        return hear

    def _report(self, onlooker: Callable[..., Any], error: Exception) -> None:
        name = name_of(onlooker)
        if name not in self._reported:
            self._reported.add(name)
            told = f"{type(error).__name__}: {error}"
            _log.warning("%s fails, and answers go on without it: %s", name, told, exc_info=error)


def name_of(onlooker: Callable[..., Any]) -> str:
    """What a function, a method or an object that is called is named in its program."""
    while isinstance(onlooker, partial):
        onlooker = onlooker.func
    named: Any = onlooker if hasattr(onlooker, "__qualname__") else type(onlooker)
    return f"{named.__module__}.{named.__qualname__}"
