"""Scoring answers as everything else is asked: stored, limited, retried, paid for."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from moa.backends.base import ScoredBy
from moa.errors import BackendError
from moa.run.endpoint import Endpoint
from moa.run.keys import Written
from moa.run.sampler import Draw, Drawn, Sampler


class Scored(NamedTuple):
    """An answer's score, and the reply that holds it."""

    score: float
    drawn: Drawn


async def score(
    sampler: Sampler,
    endpoint: Endpoint,
    how: ScoredBy,
    question: str,
    answers: Sequence[str],
    priority: int = 0,
) -> dict[str, Scored]:
    """The score of each different answer; a stored one is not asked for again, whatever `reuse` says.

    Raises the first `BackendError`.
    """
    if not endpoint.ready:
        await endpoint.prepare()
    different = list(dict.fromkeys(answers))
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(_score(sampler, endpoint, how, question, answer, priority))
                for answer in different
            ]
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return {answer: task.result() for answer, task in zip(different, tasks, strict=True)}


async def _score(
    sampler: Sampler, endpoint: Endpoint, how: ScoredBy, question: str, answer: str, priority: int
) -> Scored:
    from moa.backends.scoring import read_score

    messages = ({"role": "user", "content": question}, {"role": "assistant", "content": answer})
    draw = Draw(endpoint, Written(messages), Written({"scoring": how}), (0,), priority)
    [drawn] = await sampler.draw(draw, reuse=True)
    if isinstance(drawn, BackendError):
        raise drawn
    return Scored(read_score(drawn.record.text), drawn)
