"""CPU per LLM call of a 3-3-1 Mixture-of-Agents, against a bare aiohttp loop that sends the same requests.

    python benchmarks/overhead.py [--items 1000] [--in-flight 64] [--rounds 3] [--peers]

Each way has a process of its own, against a static server in another one; the figure is the process's CPU
time (all threads, without start-up and imports) divided by the number of calls. A machine that others use is
fast in one second and slow in the next, so the ways take turns, a quarter of the items each, and what is
compared stands side by side. `moa` runs with the store, retries, limits, de-duplication and an event
listener on. `--peers` adds LangGraph with the openai SDK and mixture-llm where they are installed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import operator
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypedDict

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


Answer = Callable[[range, int], Awaitable[None]]
"""Answers the questions of these numbers, at most so many at once."""


async def in_flight(work: Callable[[int], Awaitable[None]], items: range, limit: int) -> None:
    """`work` for every item, at most `limit` of them at once."""
    left = iter(items)

    async def worker() -> None:
        for item in left:
            await work(item)

    async with asyncio.TaskGroup() as group:
        for _ in range(limit):
            group.create_task(worker())


@asynccontextmanager
async def bare(base_url: str) -> AsyncIterator[Answer]:
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

        yield partial(in_flight, one)


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


@asynccontextmanager
async def ours(base_url: str) -> AsyncIterator[Answer]:
    """`moa` with everything on."""
    import moa

    events = 0
    ensemble = graph(base_url)

    def listen(event: object) -> None:
        nonlocal events
        events += 1

    with tempfile.TemporaryDirectory() as folder:
        async with moa.Runner(store=Path(folder) / "store.sqlite", listeners=[listen]) as runner:

            async def answer(items: range, limit: int) -> None:
                async def questions() -> AsyncIterator[str]:
                    for item in items:
                        yield QUESTION.format(item)

                answered, before = 0, events
                async for _, reply in runner.map(ensemble, questions(), in_flight=limit):
                    assert reply.ok, reply.error
                    answered += 1
                assert answered == len(items) and events - before > len(items) * CALLS

            yield answer


class State(TypedDict):
    """What LangGraph's nodes share."""

    item: int
    drafts: Annotated[list[str], operator.add]
    refined: Annotated[list[str], operator.add]
    answer: str


@asynccontextmanager
async def langgraph(base_url: str) -> AsyncIterator[Answer]:
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

    yield partial(in_flight, one)
    await client.close()


@asynccontextmanager
async def mixture(base_url: str) -> AsyncIterator[Answer]:
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

    yield partial(in_flight, one)
    await client.close()


WAYS = {"bare": bare, "moa": ours, "langgraph": langgraph, "mixture-llm": mixture}
SLOW = ("langgraph", "mixture-llm")
"""Ways that are asked a tenth of the questions."""
TURNS = 4
"""A round has so many turns of each way."""


class Told(NamedTuple):
    """What one turn cost: CPU and wall time in seconds, for how many calls; and the process's peak memory in MB."""

    cpu: float
    wall: float
    calls: int
    peak_mb: float


class Way:
    """One way, in a process of its own that answers when it is its turn."""

    def __init__(self, name: str, url: str, items: int, limit: int) -> None:
        self.name = name
        self.turns: list[Told] = []
        self._items = max(10, items // 10) if name in SLOW else items
        command = [sys.executable, __file__, "--way", name, "--url", url, "--in-flight", str(limit)]
        self._process = subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def turn(self) -> None:
        """Have a turn's questions answered."""
        assert self._process.stdin is not None and self._process.stdout is not None
        print(self._items, file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} failed; see above")
        self.turns.append(Told(*json.loads(line)))

    def close(self) -> None:
        """Let the process end."""
        self._process.communicate()

    def us(self) -> float:
        """CPU microseconds per call."""
        return 1e6 * sum(turn.cpu for turn in self.turns) / sum(turn.calls for turn in self.turns)

    def over(self, other: Way) -> list[float]:
        """CPU time per call over that of `other`, turn by turn, smallest first."""
        pairs = zip(self.turns, other.turns, strict=True)
        return sorted((own.cpu / own.calls) / (their.cpu / their.calls) for own, their in pairs)


async def take_turns(way: str, url: str, limit: int) -> None:
    """Answer as many questions as each line of standard input says; the first few pay for imports and caches."""
    async with WAYS[way](url) as answer:
        await answer(range(40), 8)
        begin = 40
        while line := await asyncio.to_thread(sys.stdin.readline):
            items = range(begin, begin + int(line))
            cpu, wall = time.process_time(), time.perf_counter()
            await answer(items, limit)
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(json.dumps(Told(cpu, wall, len(items) * CALLS, peak)), flush=True)
            begin = items.stop


def main() -> None:
    """Measure, and print a table with the ratios to the bare loop."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=1000)
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        asyncio.run(take_turns(options.way, options.url, options.in_flight))
        return
    with static_server() as url:
        names = list(WAYS) if options.peers else ["bare", "moa"]
        ways = [Way(name, url, options.items // TURNS, options.in_flight) for name in names]
        for _ in range(options.rounds * TURNS):
            for way in ways:
                way.turn()
        for way in ways:
            way.close()
    print(
        f"{'':12} {'CPU us/call':>12} {'x bare':>8} {'half of the turns':>18} {'questions/s':>12} {'peak MB':>8}"
    )
    for way in ways:
        ratios = way.over(ways[0])
        quarter = len(ratios) // 4
        half = f"{ratios[quarter]:.2f} to {ratios[-1 - quarter]:.2f}"
        rate = sum(turn.calls for turn in way.turns) / CALLS / sum(turn.wall for turn in way.turns)
        ratio, peak = way.us() / ways[0].us(), way.turns[-1].peak_mb
        print(f"{way.name:12} {way.us():12.0f} {ratio:8.2f} {half:>18} {rate:12.1f} {peak:8.0f}")


if __name__ == "__main__":
    main()
