"""What ends in the middle of an answer: the client, the model's server, `moa serve` itself, gently and not."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.acceptance.test_kill import sample_of, stored
from tests.support.faults import Exchange, FaultServer, Seen, Step, delay, ok, stall
from tests.support.shell import clean_environment

Json = dict[str, Any]
LEAVES = """
import socket, sys
host, port, body = sys.argv[1], int(sys.argv[2]), sys.argv[3].encode()
head = f"POST /v1/chat/completions HTTP/1.1\\r\\nhost: {host}\\r\\ncontent-type: application/json\\r\\n"
with socket.create_connection((host, port)) as connection:
    connection.sendall(head.encode() + b"content-length: %d\\r\\n\\r\\n" % len(body) + body)
    while True:
        sys.stdout.write(connection.recv(65536).decode())
        sys.stdout.flush()
"""
"""A client that reads until it is killed."""
_FIGURE = re.compile(r"^(moa_(?:calls|questions)_in_flight|moa_admission\{[^}]*\}) (\S+)$", re.MULTILINE)


def body(question: str, *, stream: bool = True) -> Json:
    return {"model": "graph", "messages": [{"role": "user", "content": question}], "stream": stream}


def at_sink(step: Step) -> Step:
    """Two drafts come at once; what writes the answer does as `step` says."""

    async def scripted(exchange: Exchange) -> None:
        await (step if exchange.seen.body["model"] == "sink" else ok())(exchange)

    return scripted


async def soon(true: Callable[[], Awaitable[bool]], seconds: float) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(seconds):
        while not await true():  # noqa: ASYNC110  another process is watched
            await asyncio.sleep(0.02)


@dataclass
class Serving:
    """A server in a process of its own."""

    process: asyncio.subprocess.Process
    url: str
    store: Path

    async def in_flight(self) -> dict[str, float]:
        """The figures of what is under way."""
        async with aiohttp.ClientSession() as http, http.get(f"{self.url}/metrics") as response:
            assert response.status == 200
            figures = {name: float(value) for name, value in _FIGURE.findall(await response.text())}
        assert len(figures) == 4, figures
        return figures

    async def idle(self) -> bool:
        return not any((await self.in_flight()).values())

    async def ended(self, seconds: float) -> int:
        async with asyncio.timeout(seconds):
            return await self.process.wait()


@asynccontextmanager
async def moa_serve(folder: Path, server: FaultServer, *options: str) -> AsyncIterator[Serving]:
    """`moa serve` with two drafts and a sink at `server`; killed at the end where it still runs."""
    models = ", ".join(f'"{server.url}#{name}"' for name in ("one", "two"))
    (folder / "graph.yaml").write_text(
        "nodes:\n"
        f"  drafts: {{agent: proposer, models: [{models}]}}\n"
        f'  answer: {{agent: aggregator, model: "{server.url}#sink", inputs: drafts}}\n'
    )
    store = folder / "store.sqlite"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "moa", "serve", "graph.yaml", "--port", "0", "--store", str(store), *options,
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        cwd=folder, env=clean_environment(folder),
    )  # fmt: skip
    try:
        assert process.stderr is not None
        async with asyncio.timeout(30):
            found = None
            while found is None:
                line = (await process.stderr.readline()).decode()
                assert line, "the server does not start"
                found = re.search(r"(http://[\d.]+:\d+)/v1", line)
        yield Serving(process, found[1], store)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def words(response: aiohttp.ClientResponse) -> AsyncIterator[Json]:
    """The events of a stream."""
    async for line in response.content:
        if line.startswith(b"data: {"):
            yield json.loads(line.removeprefix(b"data: "))


async def read(response: aiohttp.ClientResponse) -> tuple[str, Json | None]:
    """The text of a stream, and the error at its end."""
    text, error = "", None
    async for event in words(response):
        error = event.get("error")
        for choice in event.get("choices", ()):
            text += choice["delta"].get("content") or ""
    return text, error


async def first_word(response: aiohttp.ClientResponse) -> str:
    async for event in words(response):
        if word := event["choices"][0]["delta"].get("content"):
            return str(word)
    raise AssertionError("the stream ended without a word")


async def test_a_client_that_is_killed_stops_the_work_within_a_second(tmp_path: Path) -> None:
    async with FaultServer(always=at_sink(stall())) as server, moa_serve(tmp_path, server) as serving:
        host, port = serving.url.removeprefix("http://").split(":")
        client = await asyncio.create_subprocess_exec(
            sys.executable, "-c", LEAVES, host, port, json.dumps(body("Why?")), stdout=asyncio.subprocess.PIPE
        )
        assert client.stdout is not None
        async with asyncio.timeout(20):
            while b'"content":"sink' not in await client.stdout.readline():
                pass
        assert (await serving.in_flight())["moa_calls_in_flight"] == 1
        client.kill()
        async with asyncio.timeout(1):
            await server.left.wait()
        await soon(serving.idle, 1)
        await client.wait()
    assert (server.abandoned, server.in_flight) == (1, 0)


async def test_a_models_server_that_dies_ends_the_stream_with_an_error(tmp_path: Path) -> None:
    async with (
        FaultServer(always=at_sink(stall())) as server,
        aiohttp.ClientSession() as http,
        moa_serve(tmp_path, server, "--timeout", "3") as serving,
    ):
        async with http.post(f"{serving.url}/v1/chat/completions", json=body("Why?")) as response:
            assert await first_word(response)
            await server.__aexit__(None, None, None)
            async with asyncio.timeout(8):
                _, error = await read(response)
        assert error is not None and error["message"]
        await soon(serving.idle, 2)
        async with http.get(f"{serving.url}/readyz") as ready:
            assert ready.status == 200


async def test_told_to_stop_the_server_finishes_what_it_has_begun(tmp_path: Path) -> None:
    async with (
        FaultServer(always=at_sink(delay(1.0))) as server,
        aiohttp.ClientSession() as http,
        moa_serve(tmp_path, server, "--grace", "20") as serving,
    ):
        asking = [
            asyncio.create_task(ask(http, serving.url, body(f"Question {number}?", stream=bool(number % 2))))
            for number in range(4)
        ]
        await soon(lambda: _arrived(server, 9), 20)
        serving.process.send_signal(signal.SIGTERM)
        answers = [await task for task in asking]
        assert await serving.ended(10) == 0
    assert all(text.startswith("sink says") for text in answers)
    assert samples(server.requests, server.url) == stored(tmp_path / "store.sqlite")


async def test_what_is_not_finished_by_the_deadline_is_told_so(tmp_path: Path) -> None:
    async with (
        FaultServer(always=at_sink(stall())) as server,
        aiohttp.ClientSession() as http,
        moa_serve(tmp_path, server, "--grace", "0.5") as serving,
    ):
        async with http.post(f"{serving.url}/v1/chat/completions", json=body("Why?")) as response:
            assert await first_word(response)
            serving.process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(6):
                _, error = await read(response)
        assert error is not None and error["code"] == "shutting_down"
        assert await serving.ended(10) == 0
    assert server.abandoned == 1


@pytest.mark.timeout(120)
async def test_killed_the_server_has_kept_what_it_answered(tmp_path: Path) -> None:
    answered: dict[str, str] = {}
    lost: list[str] = []
    async with FaultServer(always=at_sink(delay(0.05))) as server, moa_serve(tmp_path, server) as serving:
        async with aiohttp.ClientSession() as http, asyncio.timeout(60):

            async def client(name: int) -> None:
                for number in range(1000):
                    question = f"Question {number} of client {name}?"
                    try:
                        answered[question] = await ask(
                            http, serving.url, body(question, stream=bool(name % 2))
                        )
                    except (aiohttp.ClientError, ConnectionError):
                        lost.append(question)
                        return

            async with asyncio.TaskGroup() as group:
                for name in range(8):
                    group.create_task(client(name))
                await soon(lambda: _count(answered, 40), 40)
                serving.process.kill()
        assert await serving.ended(5) == -signal.SIGKILL
        kept = stored(serving.store)
        asked = samples(
            [
                seen
                for seen in server.requests
                if any(question in json.dumps(seen.body["messages"]) for question in answered)
            ],
            server.url,
        )
    assert len(lost) == 8 and len(answered) >= 40
    assert len(asked) == 3 * len(answered) and asked <= kept


async def ask(http: aiohttp.ClientSession, url: str, wanted: Json) -> str:
    """The whole answer; raises where it does not come."""
    async with http.post(f"{url}/v1/chat/completions", json=wanted) as response:
        assert response.status == 200
        if not wanted["stream"]:
            return str((await response.json())["choices"][0]["message"]["content"])
        text, error = await read(response)
        assert error is None, error
        return text


def samples(requests: Iterable[Seen], url: str) -> set[tuple[str, int]]:
    """What the store knows requests by: how an answer is sent is no part of it."""
    sent = ("stream", "stream_options")
    return {
        sample_of(
            replace(seen, body={name: value for name, value in seen.body.items() if name not in sent}), url
        )
        for seen in requests
    }


async def _arrived(server: FaultServer, count: int) -> bool:
    return len(server.requests) >= count


async def _count(answered: dict[str, str], count: int) -> bool:
    return len(answered) >= count
