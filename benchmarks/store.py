"""What the store costs a request: `python -m benchmarks.store [--records N] [--size CHARACTERS]`.

Prints CPU and wall time per record, in microseconds, for fresh prompts and answers of one size behind a
system prompt that all share. CPU is that of the whole process, the writer's thread included.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from moa.backends.base import Usage
from moa.run.keys import base_key, sample_key
from moa.run.store import Record, Store

PARAMS = {"temperature": 0.7, "top_p": 1.0, "max_tokens": 1024}
SYSTEM = "You are a careful assistant. " * 20
FILLER = 'The quick brown fox says "hello", and jumps over the lazy dog.\n' * 64
AT_ONCE = 64
"""Requests between two turns of the event loop."""


class Cost(NamedTuple):
    """Microseconds per record of one step."""

    step: str
    cpu: float
    wall: float


class Meter:
    """Sums up what steps cost that come again and again."""

    def __init__(self) -> None:
        self.cpu: dict[str, float] = defaultdict(float)
        self.wall: dict[str, float] = defaultdict(float)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Add the block's time to the step's."""
        cpu, wall = time.process_time(), time.perf_counter()
        yield
        self.cpu[name] += time.process_time() - cpu
        self.wall[name] += time.perf_counter() - wall

    def costs(self, records: int) -> list[Cost]:
        """The steps in the order in which they first came."""
        return [
            Cost(name, self.cpu[name] / records * 1e6, self.wall[name] / records * 1e6) for name in self.cpu
        ]


def conversation(number: int, size: int) -> list[dict[str, Any]]:
    """A fresh prompt behind the shared system prompt."""
    return [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": f"{number}: {FILLER}"[:size]},
    ]


def answer(number: int, size: int) -> Record:
    """A fresh answer."""
    return Record(
        f"answer {number}: {FILLER}"[:size], "stop", None, None, None, Usage(1000, 1000), "m", 1.0, 1.0
    )


async def measure(path: Path, records: int, size: int) -> list[Cost]:
    """Key, miss, put, flush and hit, in the order in which a run does them."""
    meter = Meter()
    store = Store.open(path)
    for start in range(0, records, AT_ONCE):
        numbers = range(start, min(start + AT_ONCE, records))
        prompts = [conversation(number, size) for number in numbers]
        answers = [answer(number, size) for number in numbers]
        with meter.step("key"):
            bases = [base_key("sim:a", messages, PARAMS) for messages in prompts]
            keys = [sample_key(base, 0) for base in bases]
        with meter.step("get, absent"):
            for key in keys:
                store.get([key])
        with meter.step("put"):
            for base, messages, record in zip(bases, prompts, answers, strict=True):
                store.put(base, "sim:a", messages, PARAMS, [(0, record)])
        with meter.step("flush"):
            await store.flush()
        with meter.step("get, stored"):
            for key in keys:
                store.get([key])
    await store.aclose()
    return meter.costs(records)


def show(costs: Sequence[Cost]) -> str:
    """The costs as a small table, with their sum."""
    total = Cost("sum", sum(cost.cpu for cost in costs), sum(cost.wall for cost in costs))
    lines = [f"{'step':<14} {'CPU us':>8} {'wall us':>8}"]
    lines += [f"{cost.step:<14} {cost.cpu:8.1f} {cost.wall:8.1f}" for cost in (*costs, total)]
    return "\n".join(lines)


def main() -> None:
    """Measure in a temporary folder and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=4096)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.sqlite"
        print(show(asyncio.run(measure(path, arguments.records, arguments.size))))


if __name__ == "__main__":
    main()
