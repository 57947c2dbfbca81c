"""Models that take turns on one device: all questions ask one before any asks the next."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from moa.backends.base import Backend, Completion, Emit, Request, WrapperBackend

SETTLE = 0.05
"""Seconds without a request after which nobody is expected to ask the present model again for now."""

Swap = Callable[[str | None, str], Awaitable[None]]
"""Called with the model that leaves the device (None at first) and the one that comes."""


class _Waiter(NamedTuple):
    priority: int
    turn: asyncio.Future[None]


class Turns:
    """Gives the device to one model at a time, and takes it away only when all that can be asked of it is answered.

    Of those that wait, the model comes next whose requests are furthest from their answers: so all questions finish
    one (layer, model) before the next, and the models change places as often as the graph has layers and models, not
    once for every question. With more questions under way than there are in all, that is at most layers x models.
    """

    def __init__(self, swap: Swap | None = None, *, settle: float = SETTLE) -> None:
        self.present: str | None = None
        """The model on the device."""
        self.swaps = 0
        """How often another model has come."""
        self._swap = swap
        self._settle = settle
        self._inside = 0
        self._waiting: dict[str, list[_Waiter]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._moving: asyncio.Task[None] | None = None

    async def enter(self, model: str, priority: int = 0) -> None:
        """Wait until the model has the device; `leave` gives the place back."""
        if model == self.present and self._moving is None:
            self._inside += 1
            return
        waiter = _Waiter(priority, asyncio.get_running_loop().create_future())
        self._waiting.setdefault(model, []).append(waiter)
        self._look()
        try:
            await waiter.turn
        except asyncio.CancelledError:
            self._withdraw(model, waiter)
            raise

    def leave(self) -> None:
        """A request has ended."""
        self._inside -= 1
        self._look()

    async def aclose(self) -> None:
        """Stop moving models about."""
        if self._timer is not None:
            self._timer.cancel()
        if self._moving is not None:
            self._moving.cancel()

    def _withdraw(self, model: str, waiter: _Waiter) -> None:
        """Take back a request that was cancelled, whether it had its turn already or not."""
        if waiter.turn.done() and not waiter.turn.cancelled():
            if waiter.turn.exception() is None:
                self.leave()
            return
        waiters = self._waiting.get(model, [])
        if waiter in waiters:
            waiters.remove(waiter)
        if not waiters:
            self._waiting.pop(model, None)

    def _look(self) -> None:
        """Once nobody is inside, see in a moment who comes next: the last reply may lead to more for this model."""
        if self._inside or self._moving is not None or self._timer is not None or not self._waiting:
            return
        loop = asyncio.get_running_loop()
        delay = 0.0 if self.present is None else self._settle
        self._timer = loop.call_later(delay, self._change)

    def _change(self) -> None:
        self._timer = None
        if self._inside or not self._waiting:
            return
        coming = max(self._waiting, key=lambda model: max(waiter.priority for waiter in self._waiting[model]))
        self._moving = asyncio.get_running_loop().create_task(self._move(coming))

    async def _move(self, model: str) -> None:
        """Bring a model onto the device and let in who waits for it; an error on the way is theirs."""
        error: Exception | None = None
        try:
            if self._swap is not None:
                await self._swap(self.present, model)
            self.present, self.swaps = model, self.swaps + 1
        except Exception as failed:  # noqa: BLE001  handed to those who wait, whose border of failure it is
            self.present, error = None, failed
        finally:
            self._moving = None
        for waiter in self._waiting.pop(model, []):
            if waiter.turn.done():
                continue
            if error is not None:
                waiter.turn.set_exception(error)
            else:
                self._inside += 1
                waiter.turn.set_result(None)
        self._look()


class InTurn(WrapperBackend):
    """A model that is asked only while it has the device."""

    def __init__(self, inner: Backend, model: str, turns: Turns) -> None:
        super().__init__(inner)
        self.model = model
        self.turns = turns

    async def complete(self, request: Request, emit: Emit | None = None) -> Completion:
        """Wait for the model's turn, then ask; the wait counts as queueing."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        await self.turns.enter(self.model, request.priority)
        try:
            if request.trip is not None:
                request.trip.queued += loop.time() - began
            return await self.inner.complete(request, emit)
        finally:
            self.turns.leave()
