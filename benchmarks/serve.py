"""Load on `moa serve`: many streaming clients at once, and what the server adds to the first token.

    python benchmarks/serve.py [--clients 256] [--seconds 60] [--slow 4] [--pace 0.2] [--http] [--even] [--bare]

Three processes: the server, with models that answer by the clock (two drafts, then a sink that streams); the clients; and this
one, which reads the server's size from /proc. The critical path of the first token is the draft's latency and the sink's, both
known; what the client waits beyond them was added: by the engine, by HTTP, and by the client itself. Slow readers ask for long
answers and read 1 KiB a second.

Words come at uneven times, as a model's do. `--even` has all streams keep one beat: they fall into step, as each that begins
during a burst begins at its end, and what is measured is how fast a burst of a hundred words goes out. The machine's own pauses
are in the figures too; the last line says how long they were for a process that only sleeps.

Leaves with 1 where an answer fails, and where tasks or sockets are left behind.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

DRAFT, FIRST = 1.0, 0.5
"""Seconds of a draft, and of the sink before its first word."""
WORDS = 40
"""Words of an answer."""
FLOOD = 3000
"""So many times longer is the answer that a slow reader asks for: 1.4 MB."""
SETTLED, UNUSED = 3.0, 32.0
"""Seconds after which nothing of the load may be left, and more of them before an unused connection to a model is closed."""


class Usage(NamedTuple):
    """What the server holds."""

    tasks: int
    files: int
    megabytes: float


@dataclass
class Asked:
    """What the clients saw."""

    added: list[float] = field(default_factory=list)
    """Seconds to each first word beyond the critical path."""
    answers: int = 0
    errors: list[str] = field(default_factory=list)
    slow_bytes: int = 0


# The server


async def serve(store: str, pace: float, even: bool, behind: str | None) -> None:
    """Serve two drafts and a sink until told to stop; SIGUSR1 has the tasks counted."""
    import moa
    from moa.backends.base import Choice, Completion, Delta, Emit, Request
    from moa.backends.base import Usage as Tokens
    from moa.run.runner import Runner
    from moa.serve.app import make_app
    from moa.serve.house import Served, Settings
    from moa.serve.listen import listen, settle
    from moa.serve.viewer.site import mount
    from moa.spec.model import ModelSpec

    class Paced:
        """A model that answers by the clock."""

        def __init__(self, *, draft: bool) -> None:
            self.draft = draft
            self.random = random.Random(0)

        async def complete(self, request: Request, emit: Emit | None = None) -> Completion:
            flood = "flood" in str(request.messages)
            if emit is None or self.draft:
                await asyncio.sleep(DRAFT)
                text = "a draft of some words " * 8
            else:
                due = asyncio.get_running_loop().time() + FIRST
                words = [f"word{number} " * (FLOOD if flood else 1) for number in range(WORDS)]
                for word in words:
                    await asyncio.sleep(due - asyncio.get_running_loop().time())
                    emit(Delta(0, word))
                    due += pace if even else pace * self.random.uniform(0.5, 1.5)
                text = "".join(words)
            return Completion((Choice(text, "stop", usage=Tokens(100, WORDS)),), "paced")

        async def aclose(self) -> None:
            """Nothing to release."""

    graph = moa.Graph("load")
    drafts = graph.agent("proposer", models=["draft-a", "draft-b"], name="drafts")
    graph.answer = graph.agent("aggregator", model="sink", inputs=drafts)
    names = ("draft-a", "draft-b", "sink")
    backends = {} if behind else {name: Paced(draft=name != "sink") for name in names}
    where: dict[str, Any] = {"base_url": behind} if behind else {"provider": "lent"}
    models = {name: ModelSpec(name=name, model=name, **where) for name in names}
    async with Runner(backends=backends, models=models, store=store) as runner:
        plan = graph.plan(runner.models)
        app = make_app([Served(plan.name, plan)], runner, Settings(log=lambda line: None))
        mount(app)

        def count() -> None:
            print(json.dumps({"tasks": len(asyncio.all_tasks())}), flush=True)

        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, count)

        def ready(address: str) -> None:
            settle()
            print(address, flush=True)

        await listen(app, "127.0.0.1", 0, grace=5, ready=ready)


class Server:
    """The server's process, seen from outside."""

    def __init__(self, role: str, options: argparse.Namespace, *more: str) -> None:
        command = [sys.executable, __file__, "--as", role, "--pace", str(options.pace), *more]
        command += ["--even"] * options.even
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self._told = self.process.stdout
        self.url = self._told.readline().strip()
        self.port = int(self.url.rsplit(":", 1)[1])

    def usage(self) -> Usage:
        """What it holds now."""
        self.process.send_signal(signal.SIGUSR1)
        tasks = json.loads(self._told.readline())["tasks"]
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        [kilobytes] = re.findall(r"VmRSS:\s+(\d+)", status)
        files = len(os.listdir(f"/proc/{self.process.pid}/fd"))  # noqa: PTH208  links to nothing that has a path
        return Usage(tasks, files, int(kilobytes) / 1024)

    def processor(self) -> float:
        """Seconds of processor time so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> int:
        """Told to stop, it leaves."""
        self.process.terminate()
        return self.process.wait(20)


async def bare(pace: float, even: bool, behind: str | None) -> None:
    """What cannot be done with less: a handler that asks the same models, or sleeps, and passes on what they write."""
    from aiohttp import ClientSession, TCPConnector, web

    chance = random.Random(0)
    session = ClientSession(connector=TCPConnector(limit=0)) if behind else None

    async def ask(session: ClientSession, model: str) -> bytes:
        body = {"model": model, "messages": [{"role": "user", "content": "Why?"}]}
        async with session.post(f"{behind}/chat/completions", json=body) as answer:
            return await answer.read()

    async def handle(request: web.Request) -> web.StreamResponse:
        await request.read()
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        if session is None:
            await asyncio.sleep(DRAFT + FIRST)
            await response.prepare(request)
            for number in range(WORDS):
                word = {"choices": [{"delta": {"content": f"word{number}"}}]}
                await response.write(f"data: {json.dumps(word, separators=(',', ':'))}\n\n".encode())
                await asyncio.sleep(pace if even else pace * chance.uniform(0.5, 1.5))
            await response.write(b"data: [DONE]\n\n")
            return response
        async with asyncio.TaskGroup() as group:
            for model in ("draft-a", "draft-b"):
                group.create_task(ask(session, model))
        body = b'{"stream":true,"model":"sink","messages":[{"role":"user","content":"Why?"}]}'
        async with session.post(f"{behind}/chat/completions", data=body) as answer:
            await response.prepare(request)
            async for piece in answer.content.iter_any():
                await response.write(piece.replace(b'"content": "', b'"content":"'))
        return response

    app = web.Application()
    app.add_routes([web.post("/v1/chat/completions", handle)])
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(
        signal.SIGUSR1, lambda: print(json.dumps({"tasks": len(asyncio.all_tasks())}), flush=True)
    )
    print(f"http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await stop.wait()
    await runner.cleanup()
    if session is not None:
        await session.close()


class Scripted(asyncio.Protocol):
    """A server of models for one connection, with as little of HTTP as will do: it must cost less than what is measured."""

    def __init__(self, pace: float, even: bool, chance: random.Random) -> None:
        self.pace, self.even, self.chance = pace, even, chance
        self.loop = asyncio.get_running_loop()
        self.got = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.got += data
        head, found, body = self.got.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        if not found or len(body) < int(length[1] if length else 0):
            return
        self.got = b""
        if b'"stream":true' in body:
            words = FLOOD if b"flood" in body else 1
            self.loop.call_later(FIRST, self.word, 0, self.loop.time() + FIRST, words)
        elif head.startswith(b"POST"):
            self.loop.call_later(DRAFT, self.whole, {"content": "a draft of some words " * 8})
        else:
            self.transport.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")

    def whole(self, message: dict[str, str]) -> None:
        """An answer in one piece."""
        usage = {"prompt_tokens": 100, "completion_tokens": WORDS, "total_tokens": 100 + WORDS}
        choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop"}
        body = json.dumps({"id": "x", "object": "chat.completion", "choices": [choice], "usage": usage})
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        self.transport.write(f"{head}{body}".encode())

    def word(self, number: int, due: float, times: int) -> None:
        """The next word of a stream, and when the one after it comes."""
        if self.transport.is_closing():
            return
        if not number:
            head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
            self.transport.write(head.encode())
        last, end = number == WORDS - 1, "0\r\n\r\n"
        choice = {
            "index": 0,
            "delta": {"content": f"word{number} " * times},
            "finish_reason": "stop" if last else None,
        }
        event = json.dumps({"id": "x", "object": "chat.completion.chunk", "choices": [choice]})
        data = f"data: {event}\n\n" + ("data: [DONE]\n\n" if last else "")
        self.transport.write(f"{len(data):x}\r\n{data}\r\n{end if last else ''}".encode())
        if not last:
            due += self.pace if self.even else self.pace * self.chance.uniform(0.5, 1.5)
            self.loop.call_at(due, self.word, number + 1, due, times)


async def models(pace: float, even: bool) -> None:
    """Serve the models until killed."""
    chance = random.Random(0)
    server = await asyncio.get_running_loop().create_server(
        lambda: Scripted(pace, even, chance), "127.0.0.1", 0, backlog=1024
    )
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


# The clients


def question(text: str) -> bytes:
    """A streaming request in bytes."""
    body = json.dumps({"model": "load", "stream": True, "messages": [{"role": "user", "content": text}]})
    head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n{body}".encode()


async def read_answer(reader: asyncio.StreamReader, sent: float) -> tuple[float | None, bool]:
    """Seconds to the first word, and whether the stream came to its end."""
    first: float | None = None
    whole = b""
    while b"0\r\n\r\n" not in whole[-16:]:
        piece = await reader.read(1 << 16)
        if not piece or (not whole and not piece.startswith(b"HTTP/1.1 200")):
            return first, False
        whole = whole[-64:] + piece
        if first is None and b'"content":"word' in whole:
            first = time.perf_counter() - sent
    return first, b"[DONE]" in whole


async def client(number: int, port: int, until: float, asked: Asked, start: float) -> None:
    """Ask, read, ask again; one connection for all."""
    await asyncio.sleep(start)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    asked_so_far = 0
    while time.perf_counter() < until:
        sent = time.perf_counter()
        writer.write(question(f"Question {asked_so_far} of client {number}?"))
        first, ended = await read_answer(reader, sent)
        if first is None or not ended:
            asked.errors.append(f"client {number}: {'no word' if first is None else 'the stream broke off'}")
            break
        asked.added.append(first - DRAFT - FIRST)
        asked.answers += 1
        asked_so_far += 1
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def slow(port: int, until: float, asked: Asked) -> None:
    """Ask for a flood and hardly read it."""
    small = socket.socket()
    small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    small.connect(("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=small, limit=1024)
    writer.write(question("A flood, please."))
    with suppress(TimeoutError):
        async with asyncio.timeout(until - time.perf_counter()):
            while piece := await reader.read(1024):
                asked.slow_bytes += len(piece)
                await asyncio.sleep(1)
    writer.transport.abort()


async def clients(options: argparse.Namespace) -> None:
    """All clients at once; what they saw goes to standard output."""
    asked, starts = Asked(), random.Random(0)
    cycle = DRAFT + FIRST + WORDS * options.pace
    until = time.perf_counter() + options.seconds
    async with asyncio.TaskGroup() as group:
        for _ in range(options.slow):
            group.create_task(slow(options.port, until, asked))
        for number in range(options.clients):
            group.create_task(client(number, options.port, until, asked, starts.random() * cycle))
    print(json.dumps(vars(asked)))


# The measurement


class Pauses(threading.Thread):
    """How late a thread wakes that only sleeps: what the machine itself adds to whatever waits on it."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.late: list[float] = []
        self.over = threading.Event()

    def run(self) -> None:
        """Sleep 5 ms, again and again."""
        while not self.over.is_set():
            began = time.perf_counter()
            time.sleep(0.005)
            self.late.append((time.perf_counter() - began - 0.005) * 1000)

    def told(self) -> str:
        """The figures."""
        self.over.set()
        self.join()
        return f"p99 {percentile(self.late, 0.99):.1f} ms   most {max(self.late):.1f} ms"


def load(options: argparse.Namespace, port: int) -> subprocess.Popen[str]:
    """The clients in a process of their own."""
    numbers = {name: getattr(options, name) for name in ("clients", "seconds", "slow", "pace")} | {
        "port": port
    }
    flags = [part for name, value in numbers.items() for part in (f"--{name}", str(value))]
    return subprocess.Popen(
        [sys.executable, __file__, "--as", "clients", *flags], stdout=subprocess.PIPE, text=True
    )


def percentile(values: list[float], share: float) -> float:
    """The smallest value that so many are not above."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def measure(options: argparse.Namespace, server: Server) -> list[str]:
    """Load the server, print what came of it; what is wrong."""
    before = server.usage()
    loading, pauses = load(options, server.port), Pauses()
    pauses.start()
    sizes: list[float] = []
    began, worked = time.monotonic(), server.processor()
    while loading.poll() is None and time.monotonic() - began < options.seconds:
        time.sleep(min(1.0, options.seconds / 10))
        sizes.append(server.usage().megabytes)
    took, worked = time.monotonic() - began, server.processor() - worked
    told, _ = loading.communicate()
    paused = pauses.told()
    asked: dict[str, Any] = json.loads(told)
    time.sleep(SETTLED + UNUSED * options.http)
    after = server.usage()
    added = [seconds * 1000 for seconds in asked["added"]]
    warm = sizes[len(sizes) // 3 :] or [before.megabytes]
    rate = asked["answers"] * WORDS / took
    print(
        f"answers                {asked['answers']:,}, {len(asked['errors'])} errors; {rate:,.0f} words a second"
    )
    if added:
        print(
            f"added to first token   p50 {statistics.median(added):6.1f} ms   p99 {percentile(added, 0.99):6.1f} ms   "
            f"most {max(added):6.1f} ms"
        )
    print(f"tasks                  {before.tasks} before, {after.tasks} after")
    print(f"open files             {before.files} before, {after.files} after")
    print(
        f"resident               {before.megabytes:.0f} MB before, {warm[0]:.0f} after a third, {warm[-1]:.0f} at the end"
    )
    print(f"server's processor     {worked / took:.0%} of a core")
    print(f"slow readers           {options.slow}, {asked['slow_bytes']:,} bytes taken")
    print(
        f"load average           {' '.join(f'{value:.1f}' for value in os.getloadavg())} on {os.cpu_count()} cores"
    )
    print(f"pauses of the machine  {paused}")
    wrong = list(asked["errors"][:1])
    if asked["answers"] < options.clients:
        wrong.append(f"{options.clients} clients have only {asked['answers']} answers")
    if after.tasks > before.tasks:
        wrong.append(f"{after.tasks - before.tasks} tasks are left behind")
    # The store opens its files with the first answer.
    if after.files > before.files + 8:
        wrong.append(f"{after.files - before.files} files are left open")
    return wrong


def main() -> None:
    """Measure, or be one of the processes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=256)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--slow", type=int, default=4, help="readers of 1 KiB a second besides")
    parser.add_argument("--pace", type=float, default=0.2, help="seconds a word of the sink")
    parser.add_argument(
        "--http", action="store_true", help="models that are asked over HTTP, in a process of their own"
    )
    parser.add_argument("--even", action="store_true", help="all streams in step")
    parser.add_argument(
        "--bare", action="store_true", help="measure a bare aiohttp handler instead, to compare"
    )
    parser.add_argument(
        "--as", dest="role", choices=["server", "bare", "models", "clients"], help=argparse.SUPPRESS
    )
    parser.add_argument("--behind", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--store", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role == "server":
        asyncio.run(serve(options.store, options.pace, options.even, options.behind))
    elif options.role == "models":
        asyncio.run(models(options.pace, options.even))
    elif options.role == "bare":
        asyncio.run(bare(options.pace, options.even, options.behind))
    elif options.role == "clients":
        asyncio.run(clients(options))
    else:
        with tempfile.TemporaryDirectory() as folder, ExitStack() as behind:
            more = ["--store", f"{folder}/store.sqlite"]
            if options.http:
                backend = Server("models", options)
                behind.callback(backend.process.kill)
                more += ["--behind", f"{backend.url}/v1"]
            server = Server("bare" if options.bare else "server", options, *more)
            try:
                wrong = measure(options, server)
            finally:
                left = server.stop()
        if wrong or left:
            sys.exit("; ".join(wrong) or f"the server left with {left}")


if __name__ == "__main__":
    main()
