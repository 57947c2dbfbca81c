"""One question at a runner's table: a seed, a ledger and listeners of its own over shared connections."""

from __future__ import annotations

from collections.abc import Iterable

from moa.run.budget import Ledger
from moa.run.conversation import Question
from moa.run.events import Listener
from moa.run.recent import Recent
from moa.run.reply import Reply
from moa.run.runner import Given, Runnable, Runner
from moa.run.sampler import Sampler

WIRINGS = 256
"""Graphs of guests that a host remembers in the form in which it runs them."""


class Guest(Runner):
    """A runner for one question, which shares the connections, limits, models and store of its `host`.

    What it spends is booked in its `ledger` alone. Questions with the same seed and ledger as the host's own
    share equal requests in flight with it; others see nothing of each other. Closing it closes nothing.

    Args:
        host: the runner whose connections are used; it must stay open.
        seed: which samples are drawn; the host's by default.
        ledger: what it spends is booked here, and kept to its budget; the host's by default.
        listeners: functions that receive this question's events, besides the host's own.
    """

    def __init__(
        self,
        host: Runner,
        *,
        seed: int | None = None,
        ledger: Ledger | None = None,
        listeners: Iterable[Listener] = (),
    ) -> None:
        vars(self).update(vars(host))
        self.seed = host.seed if seed is None else seed
        self.ledger = ledger or host.ledger
        self.listeners = [*host.listeners, *listeners]
        if self.seed != host.seed or self.ledger is not host.ledger:
            self._sampler = Sampler(self.store, self.ledger, seed=self.seed)
        # What guests bring, with sampling of their own, must not pile up at the host.
        self._wirings = vars(host).setdefault("_guests_wirings", Recent(WIRINGS))
        self._runs = host._runs
        host._runs += 1

    async def answer(
        self,
        graph: Runnable,
        question: Question,
        *,
        watch: Listener | None = None,
        given: Given = None,
        once: bool = False,
    ) -> Reply:
        """Answer the question; with `watch`, which receives every event, the answer's text streams.

        A failed run is a `Reply` with its `error`; `given` is what `Runner.run` takes. A graph that comes `once` is
        not remembered.
        """
        if once:
            self._wirings = {}
        return await self._run(graph, question, bool(self.reuse), watch, given)

    async def aclose(self) -> None:
        """Nothing: what is used here belongs to the host."""
