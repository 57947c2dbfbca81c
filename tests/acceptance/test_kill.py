"""`kill -9` in the middle of a batch: nothing that was stored is sent again, and nothing is lost."""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
import sys
from collections import Counter
from pathlib import Path

import pytest

from moa.run.keys import base_key
from tests.support.faults import FaultServer, Seen, delay

QUESTIONS = 200
KILLS = 10


def write_inputs(folder: Path, url: str) -> tuple[Path, Path]:
    """A 3-1 graph over three models of the server, and the questions."""
    graph, questions = folder / "graph.yaml", folder / "questions.jsonl"
    models = ", ".join(f'"{url}#{name}"' for name in "abc")
    graph.write_text(
        "nodes:\n"
        f"  drafts: {{agent: proposer, models: [{models}]}}\n"
        f'  answer: {{agent: aggregator, model: "{url}#a", inputs: drafts}}\n'
    )
    lines = [json.dumps({"instruction": f"Question number {number}?"}) for number in range(QUESTIONS)]
    questions.write_text("\n".join(lines) + "\n")
    return graph, questions


async def start(graph: Path, questions: Path, out: Path, store: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "moa", "batch", str(graph), str(questions),
        "--out", str(out), "--store", str(store), "--in-flight", "16",
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip


def stored(store: Path) -> set[tuple[str, int]]:
    """Bases and numbers of the samples in a store that nobody writes any more; the file must be sound."""
    if not store.exists():
        return set()
    with sqlite3.connect(store) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'responses'").fetchone():
            return set()
        rows = db.execute(
            "SELECT q.base, r.sample FROM responses AS r JOIN requests AS q ON q.id = r.request"
        )
        found = set(rows.fetchall())
    db.close()
    return found


def sample_of(seen: Seen, url: str) -> tuple[str, int]:
    """What the store knows a request by."""
    body = dict(seen.body)
    model, messages, seed = body.pop("model"), body.pop("messages"), body.pop("seed")
    identity = json.dumps({"at": url, "model": model}, sort_keys=True, separators=(",", ":"))
    return base_key(identity, messages, body), seed


async def requests_seen(server: FaultServer, count: int, process: asyncio.subprocess.Process) -> None:
    while len(server.requests) < count and process.returncode is None:  # noqa: ASYNC110  two things to watch
        await asyncio.sleep(0.002)


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_a_batch_killed_ten_times_ends_as_if_it_had_never_been_killed(tmp_path: Path) -> None:
    moments = random.Random(20261121)
    async with FaultServer(always=delay(0.01)) as server:
        graph, questions = write_inputs(tmp_path, server.url)
        process = await start(graph, questions, tmp_path / "whole.jsonl", tmp_path / "whole.sqlite")
        assert await process.wait() == 0
        whole = Counter(sample_of(seen, server.url) for seen in server.requests)
        assert len(whole) == sum(whole.values()) == 4 * QUESTIONS
        server.requests.clear()
        out, store = tmp_path / "killed.jsonl", tmp_path / "killed.sqlite"
        killed = 0
        for _ in range(KILLS):
            known, sent = stored(store), len(server.requests)
            process = await start(graph, questions, out, store)
            await requests_seen(server, sent + moments.randrange(1, 110), process)
            if process.returncode is None:
                process.kill()
                killed += 1
            await process.wait()
            again = {sample_of(seen, server.url) for seen in server.requests[sent:]} & known
            assert not again
        known, sent = stored(store), len(server.requests)
        process = await start(graph, questions, out, store)
        assert await process.wait() == 0
        assert not {sample_of(seen, server.url) for seen in server.requests[sent:]} & known
        assert killed >= KILLS - 2
        assert out.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
        assert {sample_of(seen, server.url) for seen in server.requests} == set(whole)
        assert stored(store) == set(whole)


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_two_batches_on_one_store_at_once_agree_and_leave_no_duplicate(tmp_path: Path) -> None:
    async with FaultServer(always=delay(0.01)) as server:
        graph, questions = write_inputs(tmp_path, server.url)
        store = tmp_path / "shared.sqlite"
        outputs = [tmp_path / "one.jsonl", tmp_path / "two.jsonl"]
        processes = [await start(graph, questions, out, store) for out in outputs]
        assert [await process.wait() for process in processes] == [0, 0]
        assert outputs[0].read_bytes() == outputs[1].read_bytes()
        assert len(stored(store)) == 4 * QUESTIONS
        with sqlite3.connect(store) as db:
            assert db.execute("SELECT count(*) FROM responses").fetchone() == (4 * QUESTIONS,)
        db.close()
