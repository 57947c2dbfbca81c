"""How far a batch is: a bar at a terminal, a line now and then in a log."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from moa.cli.session import tell

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

    from moa.run.batch import Progress

EVERY = 10.0
"""Seconds between the lines of a log."""


class Meter:
    """Shows a batch's progress on standard error."""

    def __init__(self, total: int | None, *, live: bool) -> None:
        self._total = total
        self._live = live
        self._began = self._told = time.monotonic()
        self._bar: Bar | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        if self._live:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            self._bar = Progress(
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.description}"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task("", total=self._total)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, progress: Progress) -> None:
        """Show where the batch is."""
        if self._bar is not None and self._task is not None:
            done = progress.reused + progress.answered + progress.failed
            self._bar.update(self._task, completed=done, description=self._facts(progress))
        elif time.monotonic() - self._told >= EVERY:
            self._told = time.monotonic()
            tell(self._line(progress))

    def close(self, progress: Progress) -> None:
        """The last line, which stays."""
        if self._bar is not None:
            self._bar.stop()
        tell(self._line(progress))

    def _line(self, progress: Progress) -> str:
        done = progress.reused + progress.answered
        of = f" of {self._total}" if self._total is not None else ""
        return f"{done}{of} answered, {self._facts(progress)}"

    def _facts(self, progress: Progress) -> str:
        seconds = max(time.monotonic() - self._began, 1e-9)
        cost = "n/a" if progress.cost is None else f"${progress.cost:.4f}"
        facts = [
            f"{progress.reused} of them before" if progress.reused else "",
            f"{progress.failed} failed" if progress.failed else "",
            f"{progress.warned} with warnings" if progress.warned else "",
            f"{progress.answered / seconds:.1f}/s",
            f"{progress.tokens} tokens",
            f"cost {cost}",
        ]
        return ", ".join(fact for fact in facts if fact)
