"""A static OpenAI-compatible server in a process of its own: the same answer to everyone, as fast as it can.

`slots` and `latency` make it a busy one: at most `slots` requests are worked on at once, each for `latency`
seconds (or as many as its model's name says, such as `#0.2`), and the others queue; with `refuse` they get a 429.
`GET /stats` tells how busy the slots were.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.request import urlopen

TEXT = "Light of short wavelengths is scattered more strongly by air than light of long ones. " * 8


REFUSAL = b'{"error": {"message": "too many requests", "type": "rate_limit_error"}}'


def body(n: int) -> bytes:
    """One answer with `n` choices."""
    choices = [
        {"index": index, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}
        for index in range(n)
    ]
    usage = {"prompt_tokens": 100, "completion_tokens": 120 * n, "total_tokens": 100 + 120 * n}
    return json.dumps(
        {"id": "x", "object": "chat.completion", "model": "static", "choices": choices, "usage": usage}
    ).encode()


class Server:
    """Answers requests and keeps count of how busy it is."""

    def __init__(self, slots: int, latency: float, *, refuse: bool = False) -> None:
        self.latency = latency
        self.refuse = refuse
        self.places = asyncio.Semaphore(slots or 1 << 30)
        self.answer = body(1)
        self.busy = 0
        self.refused = 0
        self.seconds = 0.0
        self.first = self.last = self.changed = 0.0

    def count(self, change: int) -> None:
        now = time.monotonic()
        self.first = self.first or now
        self.seconds += self.busy * (now - (self.changed or now))
        self.busy += change
        self.changed = self.last = now

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
                sent = await reader.readexactly(length)
                answer = self.about(head) if head.startswith(b"GET") else await self.complete(sent)
                status = b"429 Too Many Requests" if answer is REFUSAL else b"200 OK"
                writer.write(
                    b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
                    % (status, len(answer))
                )
                writer.write(answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def about(self, head: bytes) -> bytes:
        if b"/stats" in head:
            told = {"slot_seconds": self.seconds, "seconds": self.last - self.first, "refused": self.refused}
            return json.dumps(told).encode()
        return b'{"object": "list", "data": [{"id": "static", "object": "model"}]}'

    async def complete(self, sent: bytes) -> bytes:
        if self.latency:
            if self.refuse and self.places.locked():
                self.refused += 1
                return REFUSAL
            async with self.places:
                self.count(+1)
                await asyncio.sleep(self.seconds_for(sent))
                self.count(-1)
        if b'"n":' not in sent:
            return self.answer
        return body(int(json.loads(sent).get("n", 1)))

    def seconds_for(self, sent: bytes) -> float:
        found = re.search(rb'"model": ?"(\d+\.\d+)"', sent)
        return float(found[1]) if found else self.latency


@contextmanager
def static_server(slots: int = 0, latency: float = 0.0, *, refuse: bool = False) -> Iterator[str]:
    """The server's base URL, for as long as the context lasts."""
    process = subprocess.Popen(
        [sys.executable, __file__, str(slots), str(latency), str(int(refuse))],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}/v1"
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def stats(base_url: str) -> dict[str, float]:
    """`slot_seconds` worked, the `seconds` between the first and the last request, requests `refused`."""
    with urlopen(f"{base_url}/stats") as answer:
        told: dict[str, float] = json.loads(answer.read())
    return told


async def _main(slots: int, latency: float, refuse: bool) -> None:
    serve = Server(slots, latency, refuse=refuse).serve
    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3] == "1"))
