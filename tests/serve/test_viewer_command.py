"""`moa view` and the page of `moa serve` as a shell starts them."""

from __future__ import annotations

import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, create_subprocess_exec
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import ClientSession

import moa
from tests.evaluate.report.sample import write_sample
from tests.serve.serving import duo
from tests.support.backends import Scripted


@asynccontextmanager
async def started(*arguments: str, **environment: str) -> AsyncIterator[str]:
    """The address that a command prints; it ends in order when it is told to."""
    command = [sys.executable, "-m", "moa", *arguments, "--port", "0"]
    process = await create_subprocess_exec(
        *command, stdout=DEVNULL, stderr=PIPE, env={**os.environ, **environment}
    )
    assert process.stderr is not None
    try:
        said = b""
        while b"http://" not in said:
            line = await process.stderr.readline()
            assert line, said
            said += line
        yield said.decode().split()[-1]
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def got(url: str, path: str) -> Any:
    async with ClientSession() as session, session.get(url.rstrip("/") + path) as reply:
        assert reply.status == 200
        return json.loads(await reply.text()) if "/api/" in path else await reply.text()


async def test_the_usual_store_and_folders_are_viewed(tmp_path: Path) -> None:
    store = tmp_path / "s.sqlite"
    async with moa.Runner(store=store, backends={"panel": Scripted(), "sink": Scripted()}) as runner:
        await runner.run(duo(), "Why is the sky blue?")
    async with started("view", MOA_STORE=str(store)) as url:
        assert "<title>moa</title>" in await got(url, "/")
        assert (await got(url, "/viewer/api/about"))["sources"] == [{"kind": "store", "name": str(store)}]
        assert (await got(url, "/viewer/api/sources/0/runs"))["total"] == 1
    folder = write_sample(tmp_path / "x", items=3)
    async with started("view", str(folder.path), str(store)) as url:
        assert [one["kind"] for one in (await got(url, "/viewer/api/about"))["sources"]] == [
            "experiment",
            "store",
        ]


async def test_the_page_of_a_server_shows_its_store_unless_it_has_keys(tmp_path: Path) -> None:
    keys = tmp_path / "keys.txt"
    keys.write_text("ann sk-moa-0123456789abcdef\n", encoding="utf-8")
    serve = ("serve", "single", "-m", "sim:skill=0.7", "--store", str(tmp_path / "s.sqlite"))
    async with started(*serve) as url:
        assert [one["kind"] for one in (await got(url, "/viewer/api/about"))["sources"]] == ["store"]
    async with started(*serve, "--api-key-file", str(keys)) as url, ClientSession() as session:
        headers = {"authorization": "Bearer sk-moa-0123456789abcdef"}
        async with session.get(f"{url}viewer/api/about", headers=headers) as reply:
            assert (await reply.json())["sources"] == []


async def test_what_is_not_there_is_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "moa", "view", str(tmp_path / "nowhere")]
    process = await create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE)
    out, said = await process.communicate()
    assert (process.returncode, out, said.count(b"\n")) == (2, b"", 1)
    assert b"there is nothing at" in said
