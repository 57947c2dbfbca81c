"""Backends of our own for tests of what stands round them; the HTTP client has a real server instead."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from moa.backends.base import Choice, Completion, Delta, Emit, Request, Usage

Script = Callable[[Request], str | BaseException | float]


class Scripted:
    """Answers from a function of the request: a text, an error to raise, or a delay before echoing.

    `requests` holds what arrived, `peak` the most that were under way at once, `cancelled` how many were
    stopped.
    """

    def __init__(self, script: Script | None = None, *, latency: float = 0.0) -> None:
        self.script = script or echo
        self.latency = latency
        self.requests: list[Request] = []
        self.in_flight = 0
        self.peak = 0
        self.cancelled = 0
        self.closed = False

    async def complete(self, request: Request, emit: Emit | None = None) -> Completion:
        self.requests.append(request)
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        try:
            return await self._answer(request, emit)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.in_flight -= 1

    async def aclose(self) -> None:
        self.closed = True

    async def _answer(self, request: Request, emit: Emit | None) -> Completion:
        said = self.script(request)
        await asyncio.sleep(said if isinstance(said, float) else self.latency)
        if isinstance(said, BaseException):
            raise said
        choices = []
        for index in range(request.n):
            text = said if isinstance(said, str) else echo(request)
            text = text.replace("{seed}", str((request.seed or 0) + index))
            choices.append(Choice(text, "stop", usage=Usage(10 if index == 0 else 0, 5)))
            for word in text.split(" ") if emit else ():
                assert emit is not None
                emit(Delta(index, word + " "))
        return Completion(tuple(choices), "scripted")


def echo(request: Request) -> str:
    """The latest turn and the sample's seed."""
    return f"{request.messages[-1]['content']} #{{seed}}"


def in_turn(script: Sequence[str | BaseException | float]) -> Script:
    """These one after the other; the last one for ever."""
    left = list(script)

    def next_of(request: Request) -> str | BaseException | float:
        return left.pop(0) if len(left) > 1 else left[0]

    return next_of
