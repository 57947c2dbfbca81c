"""`kill -9` in the middle of an evaluation: the same line again ends in the same folder and sends nothing twice."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from moa.run.keys import base_key
from tests.support.faults import Exchange, FaultServer, Seen, delay, ok
from tests.support.judging import judge_server, labels_in

ITEMS = 40
KILLS = 6
Sample = tuple[str, int]

EVAL = """
data: {{path: items.jsonl}}
judge: {{kind: pairwise, model: "{url}#judge"}}
numbers: [win-rate]
"""
GRAPH = """
nodes:
  drafts: {{agent: proposer, models: ["{url}#a", "{url}#b"], samples: 2}}
  answer: {{agent: aggregator, model: "{url}#a", inputs: drafts}}
"""
SINGLE = """
nodes:
  answer: {{agent: proposer, model: "{url}#a"}}
"""


def write_inputs(folder: Path, url: str) -> None:
    for name, text in (("trial.yaml", EVAL), ("mixed.yaml", GRAPH), ("single.yaml", SINGLE)):
        (folder / name).write_text(text.format(url=url))
    lines = [json.dumps({"prompt": f"Question number {number}?"}) for number in range(ITEMS)]
    (folder / "items.jsonl").write_text("\n".join(lines) + "\n")


async def start(folder: Path, out: str, *options: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "moa", "eval", "./trial.yaml", "./mixed.yaml", "./single.yaml",
        "--out", out, "--in-flight", "6", "--no-report", *options,
        cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def finished(process: asyncio.subprocess.Process) -> str:
    """What it wrote to standard output."""
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode()


def samples_of(seen: Seen, url: str) -> list[Sample]:
    """What the store knows a request's samples by."""
    body = dict(seen.body)
    model, messages, seed, n = body.pop("model"), body.pop("messages"), body.pop("seed"), body.pop("n", 1)
    identity = json.dumps({"at": url, "model": model}, sort_keys=True, separators=(",", ":"))
    if labels := labels_in(messages):
        body["label_tokens"] = (
            labels  # what the request means, though this server's protocol has no word for it
        )
    base = base_key(identity, messages, body)
    return [(base, seed + number) for number in range(n)]


def sent(server: FaultServer, since: int = 0) -> Counter[Sample]:
    return Counter(sample for seen in server.requests[since:] for sample in samples_of(seen, server.url))


def stored(store: Path) -> set[Sample]:
    if not store.exists():
        return set()
    with closing(sqlite3.connect(store)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'responses'").fetchone():
            return set()
        query = "SELECT q.base, r.sample FROM responses AS r JOIN requests AS q ON q.id = r.request"
        return set(db.execute(query).fetchall())


def written(folder: Path) -> dict[str, bytes]:
    """The files that hold results."""
    files = (path for part in ("answers", "verdicts", "outputs") for path in (folder / part).glob("*.json*"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def without_measurements(lines: bytes) -> Iterator[dict[str, Any]]:
    """Records without what two runs of one server measure differently: time, and who paid for a shared prompt."""
    for line in lines.splitlines():
        record = json.loads(line)
        for each in (record, *record.get("nodes", ())):
            for name in ("latency", "spent", "usage", "cost"):
                each.pop(name, None)
        yield record


async def seen_or_done(server: FaultServer, count: int, process: asyncio.subprocess.Process) -> None:
    while len(server.requests) < count and process.returncode is None:  # noqa: ASYNC110  two things to watch
        await asyncio.sleep(0.002)


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_an_evaluation_killed_again_and_again_ends_as_if_it_had_never_been_killed(
    tmp_path: Path,
) -> None:
    moments = random.Random(20261121)
    async with judge_server(delay(0.01)) as server:
        write_inputs(tmp_path, server.url)
        await finished(await start(tmp_path, "whole"))
        whole = sent(server)
        # Two drafts of each of two models, an answer, and both orders of the judge; `single` is a draft again.
        assert len(whole) == sum(whole.values()) == ITEMS * (4 + 1 + 2)
        server.requests.clear()
        out, killed = tmp_path / "killed", 0
        for _ in range(KILLS):
            known, since, before = stored(out / "store.sqlite"), len(server.requests), written(out)
            process = await start(tmp_path, "killed")
            await seen_or_done(server, since + moments.randrange(1, 60), process)
            if process.returncode is None:
                process.kill()
                killed += 1
            await process.communicate()
            assert not sent(server, since).keys() & known
            after = written(out)
            assert all(after[name].startswith(whole_lines(text)) for name, text in before.items())
        known, since = stored(out / "store.sqlite"), len(server.requests)
        board = await finished(await start(tmp_path, "killed"))
        assert killed >= KILLS - 1
        assert not sent(server, since).keys() & known
        assert stored(out / "store.sqlite") == set(whole)
        check_same(written(out), written(tmp_path / "whole"))
        await check_put_together_again(tmp_path, server, board)


def whole_lines(text: bytes) -> bytes:
    """A file up to the last line that was written whole."""
    return text[: text.rfind(b"\n") + 1]


def check_same(found: dict[str, bytes], expected: dict[str, bytes]) -> None:
    assert found.keys() == expected.keys()
    for name, text in expected.items():
        if name.endswith(".jsonl"):
            assert list(without_measurements(found[name])) == list(without_measurements(text)), name
        else:
            assert found[name] == text, name
    answers = expected["answers/mixed.jsonl"].splitlines()
    assert [json.loads(line)["item"] for line in answers] == [str(number) for number in range(ITEMS)]


async def check_put_together_again(folder: Path, server: FaultServer, board: str) -> None:
    """From the store alone come the same bytes, and the same leaderboard; nobody is asked."""
    before, since = written(folder / "killed"), len(server.requests)
    for part in ("answers", "verdicts", "outputs"):
        shutil.rmtree(folder / "killed" / part)
    again = await finished(await start(folder, "killed"))
    assert written(folder / "killed") == before
    assert again == board
    assert len(server.requests) == since


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_a_second_run_into_the_same_folder_at_once_is_refused(tmp_path: Path) -> None:
    go_on = asyncio.Event()

    async def waiting(exchange: Exchange) -> None:
        await go_on.wait()
        await ok()(exchange)

    async with judge_server(waiting) as server:
        write_inputs(tmp_path, server.url)
        first = await start(tmp_path, "out")
        await seen_or_done(server, 1, first)
        second = await start(tmp_path, "out")
        _, err = await second.communicate()
        assert second.returncode == 2
        assert err.decode().count("\n") == 1 and "another process" in err.decode()
        go_on.set()
        await finished(first)
