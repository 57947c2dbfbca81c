"""How close the engine comes to what the servers allow.

    python benchmarks/makespan.py

One question: the wall time of a 3-3-1 graph whose models have scripted latencies, over its critical path.
Many questions: how busy 256 questions of that graph keep a server that works on 64 requests at a time.
"""

from __future__ import annotations

import asyncio
import statistics
import time

from overhead import QUESTION, graph
from static_server import static_server, stats

import moa

LATENCY = 0.1
SLOTS = 64


async def one_question(base_url: str, rounds: int) -> list[float]:
    """Seconds that each question took, connections warm."""
    async with moa.Runner() as runner:
        made = graph(base_url)
        await runner.run(made, "warm up")
        times = []
        for number in range(rounds):
            began = time.perf_counter()
            await runner.run(made, QUESTION.format(number))
            times.append(time.perf_counter() - began)
    return times


async def many_questions(base_url: str, count: int) -> None:
    """All questions at once."""
    async with moa.Runner() as runner:
        async for _, reply in runner.map(graph(base_url), [QUESTION.format(n) for n in range(count)]):
            assert reply.ok, reply.error


def main() -> None:
    """Measure and print both figures beside their targets."""
    with static_server(slots=SLOTS, latency=LATENCY) as url:
        times = asyncio.run(one_question(url, 20))
    path = 3 * LATENCY
    median, worst = statistics.median(times), max(times)
    print(
        f"one question    {median * 1e3:7.1f} ms median, {worst * 1e3:.1f} worst; critical path {path * 1e3:.0f} ms"
    )
    print(
        f"                {median / path:7.3f} x (target: 1.05 x + 10 ms = {(1.05 * path + 0.01) * 1e3:.0f} ms)"
    )
    with static_server(slots=SLOTS, latency=LATENCY) as url:
        asyncio.run(many_questions(url, 256))
        told = stats(url)
    busy = told["slot_seconds"] / (told["seconds"] * SLOTS)
    print(f"256 questions   {busy:7.1%} of {SLOTS} slots busy over {told['seconds']:.2f} s (target: 95%)")


if __name__ == "__main__":
    main()
