"""`kill -9` of vLLM's engine in the middle of a batch: one restart, then a named end; nothing answered is lost."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support.vllm import ALONE, folder, needs_vllm

QUESTIONS = 12


def write_inputs(here: Path) -> None:
    (here / "models.yaml").write_text(
        json.dumps(
            {
                "models": {
                    "small": {
                        "provider": "vllm",
                        "model": folder(),
                        "sampling": {"body": {"ignore_eos": True}},
                        "max_output": 24,
                        "limits": {"concurrency": 2},
                        "options": {"dtype": "float32", "max_model_len": 256, "max_num_seqs": 8},
                    }
                }
            }
        )
    )
    lines = [json.dumps({"instruction": f"Question number {number}?"}) for number in range(QUESTIONS)]
    (here / "questions.jsonl").write_text("\n".join(lines) + "\n")


@asynccontextmanager
async def batch(here: Path, **environ: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """`moa batch` over the questions, which does not outlive the test."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "moa", "batch", "single", "questions.jsonl", "--out", "out.jsonl",
        "--models", "models.yaml", "-m", "small", "--store", "store.sqlite",
        cwd=here, stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(Path.cwd()), **environ},
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def stored(here: Path) -> int:
    path = here / "store.sqlite"
    if not path.exists():
        return 0
    with sqlite3.connect(path) as db:
        known = db.execute("SELECT 1 FROM sqlite_master WHERE name = 'responses'").fetchone()
        found = int(db.execute("SELECT COUNT(*) FROM responses").fetchone()[0]) if known else 0
    db.close()
    return found


def engines(process: asyncio.subprocess.Process) -> list[int]:
    """The processes of the engine that are alive below this one."""
    import psutil

    below = psutil.Process(process.pid).children(recursive=True)
    return [one.pid for one in below if "EngineCore" in one.name() or "EngineCore" in " ".join(one.cmdline())]


async def kill_after(here: Path, process: asyncio.subprocess.Process, answers: int) -> int:
    """Kill the engine once this many answers are stored; how many were."""
    async with asyncio.timeout(400):
        while (count := stored(here)) < answers or not engines(process):
            assert process.returncode is None, await ended(process)
            await asyncio.sleep(0.1)
    for pid in engines(process):
        os.kill(pid, signal.SIGKILL)
    return count


async def ended(process: asyncio.subprocess.Process) -> str:
    """What it said until its end."""
    assert process.stderr is not None
    said = (await process.stderr.read()).decode()
    await process.wait()
    return said


@needs_vllm
@pytest.mark.slow
@pytest.mark.timeout(1200)
async def test_an_engine_that_dies_twice_ends_the_run_and_loses_nothing(tmp_path: Path) -> None:
    write_inputs(tmp_path)
    async with batch(tmp_path) as process:
        first = await kill_after(tmp_path, process, 2)
        second = await kill_after(tmp_path, process, first + 2)
        said = await ended(process)
    assert process.returncode and "Traceback" not in said
    named = (tmp_path / "out.jsonl.errors.jsonl").read_text().splitlines()
    assert named and all("the engine died, and again after a restart" in line for line in named)
    assert second <= stored(tmp_path) < QUESTIONS

    async with batch(tmp_path, **ALONE) as again:
        said = await ended(again)
    assert again.returncode == 0, said
    assert stored(tmp_path) == QUESTIONS
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert len(rows) == QUESTIONS and all(row["output"] for row in rows)
