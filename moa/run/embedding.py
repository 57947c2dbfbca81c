"""Embedding texts as everything else is asked: stored, limited, retried, paid for."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from moa.errors import BackendError
from moa.run.endpoint import Endpoint
from moa.run.keys import Written
from moa.run.sampler import Draw, Drawn, Sampler


class Embedded(NamedTuple):
    """A text's vector, and the reply that holds it."""

    vector: Sequence[float]
    drawn: Drawn


async def embed(
    sampler: Sampler, endpoint: Endpoint, texts: Sequence[str], priority: int = 0
) -> dict[str, Embedded]:
    """The vector of each different text; a stored one is not asked for again, whatever `reuse` says.

    Texts that are asked for together travel together. Raises the first `BackendError`.
    """
    if not endpoint.ready:
        await endpoint.prepare()
    different = list(dict.fromkeys(texts))
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_embed(sampler, endpoint, text, priority)) for text in different]
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return {text: task.result() for text, task in zip(different, tasks, strict=True)}


async def _embed(sampler: Sampler, endpoint: Endpoint, text: str, priority: int) -> Embedded:
    from moa.backends.embeddings import PARAMS, read_vector

    message = {"role": "user", "content": text}
    draw = Draw(endpoint, Written((message,)), Written(PARAMS), (0,), priority)
    [drawn] = await sampler.draw(draw, reuse=True)
    if isinstance(drawn, BackendError):
        raise drawn
    return Embedded(read_vector(drawn.record.text), drawn)
