"""Requests that travel together: those of one turn of the event loop, as one request to a server."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from functools import partial
from typing import NamedTuple

from moa.backends.base import Choice, Completion, Emit, Request, Usage

MOST_CHARACTERS = 200_000
"""Of one batch; servers bound the tokens of a request."""


class Answers(NamedTuple):
    """A reply for each request of a batch, and the tokens that were read for all of them."""

    texts: Sequence[str]
    tokens: int


class Together(ABC):
    """A backend whose requests of one turn of the event loop are answered as batches.

    Args:
        most: Requests of one batch, of at most 200,000 characters together.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: list[_Asked] = []
        self._batches: set[asyncio.Task[None]] = set()

    @abstractmethod
    async def answer(self, requests: Sequence[Request]) -> Answers:
        """The replies to a batch; an error is everybody's."""

    def kind(self, request: Request) -> Hashable:
        """What requests must share to travel together."""
        return None

    async def complete(self, request: Request, emit: Emit | None = None) -> Completion:
        """The reply to one request, and its share of the batch's tokens."""
        loop = asyncio.get_running_loop()
        asked = _Asked(request, loop.create_future())
        if not self._waiting:
            loop.call_soon(self._send)
        self._waiting.append(asked)
        return await asked.reply

    def _send(self) -> None:
        waiting, self._waiting = self._waiting, []
        kinds: dict[Hashable, list[_Asked]] = {}
        for asked in waiting:
            if not asked.reply.done():
                kinds.setdefault(self.kind(asked.request), []).append(asked)
        for alike in kinds.values():
            for batch in _batches(alike, self._most):
                self._start(batch)

    def _start(self, batch: Sequence[_Asked]) -> None:
        task = asyncio.get_running_loop().create_task(self._answer(batch))
        self._batches.add(task)
        task.add_done_callback(partial(self._ended, batch))
        for asked in batch:
            asked.reply.add_done_callback(partial(_give_up, task, batch))

    async def _answer(self, batch: Sequence[_Asked]) -> None:
        answers = await self.answer([asked.request for asked in batch])
        share, rest = divmod(answers.tokens, len(batch))
        for number, (asked, text) in enumerate(zip(batch, answers.texts, strict=True)):
            usage = Usage(input_tokens=share + (number < rest))
            asked.land(Completion((Choice(text, "stop", usage=usage),)))

    def _ended(self, batch: Sequence[_Asked], task: asyncio.Task[None]) -> None:
        """Tell everybody who still waits what went wrong."""
        self._batches.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            for asked in batch:
                asked.fail(error)


class _Asked:
    """A request that waits for its reply."""

    __slots__ = ("reply", "request", "size")

    def __init__(self, request: Request, reply: asyncio.Future[Completion]) -> None:
        self.request = request
        self.reply = reply
        self.size = sum(len(str(message["content"])) for message in request.messages)

    def land(self, completion: Completion) -> None:
        if not self.reply.done():
            self.reply.set_result(completion)

    def fail(self, error: BaseException) -> None:
        if not self.reply.done():
            self.reply.set_exception(error)


def _batches(waiting: Sequence[_Asked], most: int) -> list[list[_Asked]]:
    batches: list[list[_Asked]] = []
    room = 0
    for asked in waiting:
        room -= asked.size
        if not batches or len(batches[-1]) == most or room < 0:
            batches.append([])
            room = MOST_CHARACTERS - asked.size
        batches[-1].append(asked)
    return batches


def _give_up(task: asyncio.Task[None], batch: Sequence[_Asked], _: object) -> None:
    """Stop a batch for which nobody waits any more."""
    if all(asked.reply.cancelled() for asked in batch):
        task.cancel()
