"""Peak memory of `moa batch` at 1,000 and at 50,000 questions: it streams in and out.

    python benchmarks/memory.py [--calls 1|7] [--sizes 1000 50000]

Each size runs in a process of its own against a static server; `--calls 7` asks a 3-3-1 graph, `--calls 1` a
single model (seven times as fast).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from static_server import static_server


class Figures(NamedTuple):
    """What one batch took."""

    peak_mb: float
    seconds: float
    lines: int


def graph(base_url: str, calls: int) -> str:
    """A graph file with so many calls a question."""
    models = ", ".join(f'"{base_url}#{name}"' for name in "abc")
    if calls == 1:
        return f'nodes:\n  answer: {{agent: proposer, model: "{base_url}#a"}}\n'
    return (
        f"nodes:\n  drafts: {{agent: proposer, models: [{models}]}}\n"
        f"  refined: {{agent: aggregator, models: [{models}], inputs: drafts}}\n"
        f'  answer: {{agent: aggregator, model: "{base_url}#a", inputs: refined}}\n'
    )


def measure(base_url: str, size: int, calls: int) -> Figures:
    """Run one batch in a process of its own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "graph.yaml").write_text(graph(base_url, calls), encoding="utf-8")
        with (folder / "questions.jsonl").open("w", encoding="utf-8") as file:
            file.writelines(json.dumps({"instruction": f"Question {n}: why?"}) + "\n" for n in range(size))
        command = [sys.executable, "-m", "moa", "batch", "graph.yaml", "questions.jsonl"]
        began = time.perf_counter()
        process = subprocess.Popen(
            [*command, "--out", "out.jsonl", "--store", "store.sqlite"], cwd=folder, stderr=subprocess.DEVNULL
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"the batch of {size} failed with exit code {process.returncode}")
        with (folder / "out.jsonl").open("rb") as file:
            lines = sum(1 for _ in file)
        return Figures(usage.ru_maxrss / 1024, time.perf_counter() - began, lines)


def main() -> None:
    """Measure each size and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, choices=[1, 7], default=1)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 50_000])
    options = parser.parse_args()
    print(f"{'questions':>10} {'peak MB':>8} {'seconds':>8} {'answers':>8}")
    with static_server() as url:
        for size in options.sizes:
            figures = measure(url, size, options.calls)
            print(f"{size:>10} {figures.peak_mb:8.0f} {figures.seconds:8.1f} {figures.lines:8}", flush=True)


if __name__ == "__main__":
    main()
