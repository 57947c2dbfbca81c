"""A finished question leaves nothing behind for the garbage collector to find."""

from __future__ import annotations

import gc

import moa
from moa.run.reply import NodeResult
from tests.support.backends import Scripted


async def test_what_a_run_made_goes_with_its_reply() -> None:
    graph, backend = moa.load("moa-lite", models="m"), Scripted()
    gc.collect()
    before = [found for found in gc.get_objects() if isinstance(found, NodeResult)]
    known = {id(found) for found in before}
    gc.disable()
    try:
        async with moa.Runner(backends={"m": backend}, listeners=[lambda event: None]) as runner:
            async for _, reply in runner.map(graph, [f"Question {number}?" for number in range(20)]):
                assert reply.ok
            del reply
            backend.requests.clear()  # each knows who wants to hear of its retries
            left = [
                found
                for found in gc.get_objects()
                if isinstance(found, NodeResult) and id(found) not in known
            ]
    finally:
        gc.enable()
    # The loop's variables still hold the last question's results.
    assert len(left) <= 2 * 7
