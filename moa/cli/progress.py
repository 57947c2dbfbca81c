"""A run as it happens, on standard error: a live line at a terminal, only what takes patience in a pipe."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Self

from moa.cli.session import tell
from moa.run.events import CallRetried, Event, NodeFinished, NodeStarted, RunStarted

if TYPE_CHECKING:
    from rich.status import Status


class Display:
    """Listens to one run and keeps a line of text up to date."""

    def __init__(self, *, live: bool) -> None:
        self._live = live
        self._status: Status | None = None
        self._nodes = 0
        self._finished = 0
        self._running: dict[str, str | None] = {}
        self._note = ""

    def __enter__(self) -> Self:
        if self._live:
            from rich.console import Console
            from rich.status import Status

            self._status = Status("starting", console=Console(stderr=True))
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._status is not None:
            self._status.stop()

    def __call__(self, event: Event) -> None:
        """Take in one event."""
        if self._status is None:
            if isinstance(event, CallRetried):
                tell(f"{event.error}; again in {event.delay:.1f} s")
            return
        if isinstance(event, RunStarted):
            self._nodes = len(event.nodes)
        elif isinstance(event, NodeStarted):
            self._running[event.node] = event.model
        elif isinstance(event, NodeFinished):
            self._running.pop(event.node, None)
            self._finished += 1
            self._note = ""
        elif isinstance(event, CallRetried):
            self._note = f"  {event.model}: {event.error}; again in {event.delay:.1f} s"
        else:
            return
        self._status.update(self._line())

    def _line(self) -> str:
        from rich.markup import escape

        names = list(self._running)
        shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
        return escape(f"{self._finished} of {self._nodes} nodes  {shown}{self._note}")
