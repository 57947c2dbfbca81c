"""How close the engine comes to what the servers allow.

    python benchmarks/makespan.py [--latency 0.1]

One question: the wall time of a 3-3-1 graph whose models have scripted latencies, over its critical path.
Many questions: how busy 256 questions of that graph keep a server that works on 64 requests at a time, and
lets the others queue or refuses them.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time

from overhead import QUESTION, graph
from static_server import static_server, stats

import moa

LATENCY = 0.1
SLOTS = 64
QUESTIONS = 256


def uneven(base_url: str) -> moa.Graph:
    """Two layers of three models whose latencies differ, and an aggregator: 0.2, 0.2 and 0.1 seconds at least."""
    aggregator = moa.AgentSpec.model_validate(
        {
            "name": "aggregator",
            "inputs": {"references": "1+"},
            "system": "{{ references | length }} responses",
        }
    )
    made = moa.Graph("uneven")
    models = [f"{base_url}#{seconds}" for seconds in ("0.05", "0.2", "0.1")]
    drafts = made.agent("proposer", models=models, name="drafts")
    refined = made.agent(aggregator, models=models, inputs=drafts, name="refined")
    made.answer = made.agent(aggregator, model=models[2], inputs=refined)
    return made


async def one_question(made: moa.Graph, rounds: int) -> list[float]:
    """Seconds that each question took, connections warm."""
    async with moa.Runner() as runner:
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


def show_one(name: str, path: float, made: moa.Graph) -> None:
    """Ask twenty questions one after the other and print how long they took."""
    times = asyncio.run(one_question(made, 20))
    median, worst = statistics.median(times), max(times)
    print(
        f"one question, {name:<16} {median * 1e3:6.1f} ms median, {worst * 1e3:.1f} worst; critical path "
        f"{path * 1e3:.0f} ms, so {median / path:.3f} x (target: {(1.05 * path + 0.01) * 1e3:.0f} ms)"
    )


def show_many(name: str, latency: float, *, refuse: bool) -> None:
    """Ask all questions at once and print how busy the slots were."""
    with static_server(slots=SLOTS, latency=latency, refuse=refuse) as url:
        asyncio.run(many_questions(url, QUESTIONS))
        told = stats(url)
    busy = told["slot_seconds"] / (told["seconds"] * SLOTS)
    print(
        f"{QUESTIONS} questions, {name:<15} {busy:6.1%} of {SLOTS} slots busy over {told['seconds']:.2f} s, "
        f"{told['refused']} requests refused (target: 95%)"
    )


def main() -> None:
    """Measure and print every figure beside its target."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--latency", type=float, default=LATENCY, help="seconds that a request takes")
    latency = parser.parse_args().latency
    with static_server(slots=SLOTS, latency=latency) as url:
        show_one("even latencies", 3 * latency, graph(url))
        show_one("uneven latencies", 0.2 + 0.2 + 0.1, uneven(url))
    show_many("a queue", latency, refuse=False)
    show_many("429 beyond it", latency, refuse=True)


if __name__ == "__main__":
    main()
