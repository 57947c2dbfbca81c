"""CPU per LLM call of a 3-3-1 Mixture-of-Agents, against a bare aiohttp loop that sends the same requests.

    python benchmarks/overhead.py [--items 1000] [--in-flight 64] [--rounds 3] [--peers]

Each way runs in a process of its own, in turn, against a static server in another process; the figure is
the process's CPU time (all threads, without start-up and imports) divided by the number of calls. `moa` runs
with the store, retries, limits, de-duplication and an event listener on. `--peers` adds LangGraph with the
openai SDK and mixture-llm where they are installed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import operator
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, TypedDict

from static_server import TEXT, static_server

CALLS = 7
QUESTION = "Question {}: why is the sky blue, and why are sunsets red? Explain it to a child of eight."
INSTRUCTION = "Several models have answered. Write the best single answer.\n\nResponses from models:"


def messages(item: int, references: int) -> list[dict[str, str]]:
    """What an agent of the 3-3-1 graph sends."""
    user = {"role": "user", "content": QUESTION.format(item)}
    if not references:
        return [user]
    system = INSTRUCTION + "".join(f"\n{number}. {TEXT}" for number in range(1, references + 1))
    return [{"role": "system", "content": system}, user]


async def in_flight(limit: int, items: int, work: Callable[[int], Awaitable[None]]) -> None:
    """`work` for every item, at most `limit` of them at once."""
    left = iter(range(items))

    async def worker() -> None:
        for item in left:
            await work(item)

    async with asyncio.TaskGroup() as group:
        for _ in range(limit):
            group.create_task(worker())


async def bare(base_url: str, items: int, limit: int) -> None:
    """The same requests with aiohttp and nothing else."""
    import aiohttp

    url = f"{base_url}/chat/completions"
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def call(model: str, item: int, references: int) -> str:
            payload = {
                "model": model,
                "messages": messages(item, references),
                "temperature": 0.7,
                "max_tokens": 512,
                "seed": 0,
            }
            async with session.post(url, json=payload) as response:
                answer = await response.json()
                return str(answer["choices"][0]["message"]["content"])

        async def one(item: int) -> None:
            for references in (0, 3):
                async with asyncio.TaskGroup() as group:
                    for model in "abc":
                        group.create_task(call(model, item, references))
            await call("a", item, 3)

        await in_flight(limit, items, one)


def graph(base_url: str) -> Any:
    """The 3-3-1 graph over three models."""
    import moa

    sampling = {"temperature": 0.7, "max_tokens": 512}
    system = INSTRUCTION + "\n{% for r in references %}\n{{ loop.index }}. {{ r.text }}\n{% endfor %}"
    proposer = moa.AgentSpec.model_validate({"name": "proposer", "sampling": sampling})
    aggregator = moa.AgentSpec.model_validate(
        {"name": "aggregator", "inputs": {"references": "1+"}, "system": system, "sampling": sampling}
    )
    made = moa.Graph("moa-3-3-1")
    models = [f"{base_url}#{name}" for name in "abc"]
    drafts = made.agent(proposer, models=models, name="drafts")
    refined = made.agent(aggregator, models=models, inputs=drafts, name="refined")
    final = aggregator.model_copy(update={"name": "final", "system": f"The last word. {system}"})
    made.answer = made.agent(final, model=models[0], inputs=refined)
    return made


async def ours(base_url: str, items: int, limit: int) -> None:
    """`moa` with everything on."""
    import moa

    events = 0

    def listen(event: object) -> None:
        nonlocal events
        events += 1

    with tempfile.TemporaryDirectory() as folder:
        async with moa.Runner(store=Path(folder) / "store.sqlite", listeners=[listen]) as runner:

            async def questions() -> AsyncIterator[str]:
                for item in range(items):
                    yield QUESTION.format(item)

            answered = 0
            async for _, reply in runner.map(graph(base_url), questions(), in_flight=limit):
                assert reply.ok, reply.error
                answered += 1
        assert answered == items and events > items * CALLS


class State(TypedDict):
    """What LangGraph's nodes share."""

    item: int
    drafts: Annotated[list[str], operator.add]
    refined: Annotated[list[str], operator.add]
    answer: str


async def langgraph(base_url: str, items: int, limit: int) -> None:
    """LangGraph with the openai SDK: three nodes a layer, joined by reducers."""
    from langgraph.graph import END, START, StateGraph
    from openai import AsyncOpenAI

    client = AsyncOpenAI(base_url=base_url, api_key="none")

    async def call(model: str, item: int, references: int) -> str:
        answer = await client.chat.completions.create(
            model=model,
            messages=messages(item, references),  # type: ignore[arg-type]
            temperature=0.7,
            max_tokens=512,
            seed=0,
        )
        return answer.choices[0].message.content or ""

    def node(model: str, field: str, references: int) -> Any:
        async def ask(state: State) -> dict[str, Any]:
            text = await call(model, state["item"], references)
            return {field: text if field == "answer" else [text]}

        return ask

    builder = StateGraph(State)
    for model in "abc":
        builder.add_node(f"draft-{model}", node(model, "drafts", 0))
        builder.add_node(f"refine-{model}", node(model, "refined", 3))
        builder.add_edge(START, f"draft-{model}")
    builder.add_node("aggregate", node("a", "answer", 3))
    for model in "abc":
        builder.add_edge([f"draft-{other}" for other in "abc"], f"refine-{model}")
    builder.add_edge([f"refine-{model}" for model in "abc"], "aggregate")
    builder.add_edge("aggregate", END)
    compiled = builder.compile()

    async def one(item: int) -> None:
        await compiled.ainvoke({"item": item, "drafts": [], "refined": [], "answer": ""})

    await in_flight(limit, items, one)
    await client.close()


async def mixture(base_url: str, items: int, limit: int) -> None:
    """mixture-llm with an openai SDK client."""
    from mixture_llm import Aggregate, Propose, run
    from openai import AsyncOpenAI

    client = AsyncOpenAI(base_url=base_url, api_key="none")

    async def ask(model: str, messages: Any, temp: float, max_tokens: int) -> tuple[str, int, int]:
        answer = await client.chat.completions.create(
            model=model, messages=messages, temperature=temp, max_tokens=max_tokens
        )
        usage = answer.usage
        return answer.choices[0].message.content or "", usage.prompt_tokens, usage.completion_tokens  # type: ignore[union-attr]

    from mixture_llm import Synthesize

    pipeline = [Propose(["a", "b", "c"]), Synthesize(["a", "b", "c"]), Aggregate("a")]

    async def one(item: int) -> None:
        await run(pipeline, QUESTION.format(item), ask)

    await in_flight(limit, items, one)
    await client.close()


WAYS = {"bare": bare, "moa": ours, "langgraph": langgraph, "mixture-llm": mixture}


def measure(way: str, base_url: str, items: int, limit: int) -> dict[str, float]:
    """CPU microseconds per call, questions per second and peak memory of one way, in its own process."""
    command = [sys.executable, __file__, "--way", way, "--url", base_url]
    done = subprocess.run(
        [*command, "--items", str(items), "--in-flight", str(limit)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{way} failed:\n{done.stderr[-2000:]}")
    told: dict[str, float] = json.loads(done.stdout)
    return told


def measured_here(way: str, base_url: str, items: int, limit: int) -> dict[str, float]:
    """Run one way in this process, after a small warm-up that pays for imports and caches."""
    asyncio.run(WAYS[way](base_url, 20, 8))
    cpu, wall = time.process_time(), time.perf_counter()
    asyncio.run(WAYS[way](base_url, items, limit))
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"us": cpu / (items * CALLS) * 1e6, "per_second": items / wall, "peak_mb": peak}


def main() -> None:
    """Measure, and print a table with the ratios to the bare loop."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=1000)
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--way", choices=WAYS)
    parser.add_argument("--url")
    options = parser.parse_args()
    if options.way:
        print(json.dumps(measured_here(options.way, options.url, options.items, options.in_flight)))
        return
    ways = list(WAYS) if options.peers else ["bare", "moa"]
    figures: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    with static_server() as url:
        for _ in range(options.rounds):
            for way in ways:
                items = options.items if way in ("bare", "moa") else max(50, options.items // 10)
                figures[way].append(measure(way, url, items, options.in_flight))
    print(f"{'':12} {'CPU us/call':>12} {'x bare':>8} {'questions/s':>12} {'peak MB':>8}")
    for way in ways:
        us = statistics.median(figure["us"] for figure in figures[way])
        ratio = statistics.median(
            f["us"] / b["us"] for f, b in zip(figures[way], figures["bare"], strict=True)
        )
        rate = statistics.median(figure["per_second"] for figure in figures[way])
        peak = statistics.median(figure["peak_mb"] for figure in figures[way])
        print(f"{way:12} {us:12.0f} {ratio:8.2f} {rate:12.1f} {peak:8.0f}")


if __name__ == "__main__":
    main()
