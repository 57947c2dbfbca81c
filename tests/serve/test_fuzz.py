"""Bytes that nobody would send: the reader of events, the reader of bodies, and the server's door.

A few hundred examples by default; `MOA_FUZZ_SECONDS=100` goes on for so long with each of the three.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import time
from collections.abc import Callable
from itertools import pairwise

import pytest
from aiohttp import StreamReader, web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.test_utils import make_mocked_request
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moa.backends.sse import EventSplitter
from moa.serve.body import read_object
from moa.serve.house import HOUSE, House, Settings
from moa.serve.refusal import Refusal
from tests.serve.serving import Server, serving
from tests.serve.serving import until as until_true

SECONDS = float(os.environ.get("MOA_FUZZ_SECONDS", "0"))
PIECES = st.sampled_from(
    [b"data:", b"data: ", b"data", b"\n", b"\r", b"\r\n", b":", b"event: x", b"\xef\xbb\xbf", b"[DONE]", b"id", b"{}", b"\xe2\x80\xa8", b"\x00"]
)  # fmt: skip
STREAMS = st.lists(PIECES | st.binary(max_size=6), max_size=40).map(b"".join)
SLOW = [HealthCheck.too_slow]


def rounds(check: Callable[[], None]) -> None:
    """Once, or for as long as was asked for."""
    until = time.monotonic() + SECONDS
    check()
    while time.monotonic() < until:
        check()


def by_the_book(stream: bytes) -> list[bytes]:
    """The events of a whole stream, read in the plainest way that the standard allows."""
    events: list[bytes] = []
    data: list[bytes] = []
    for line in re.split(rb"\r\n|\r|\n", stream.removeprefix(b"\xef\xbb\xbf"))[:-1]:
        name, _, value = line.partition(b":")
        if not line and data:
            events.append(b"\n".join(data))
            data = []
        elif name == b"data":
            data.append(value.removeprefix(b" "))
    return events


@pytest.mark.timeout(900)
def test_events_are_the_same_however_the_network_cuts_them() -> None:
    @settings(max_examples=400, derandomize=not SECONDS, deadline=None, suppress_health_check=SLOW)
    @given(stream=STREAMS, cuts=st.lists(st.integers(0, 200), max_size=8))
    def check(stream: bytes, cuts: list[int]) -> None:
        splitter = EventSplitter()
        edges = sorted({0, *(cut for cut in cuts if cut < len(stream)), len(stream)})
        found = [event for start, end in pairwise(edges) for event in splitter.feed(stream[start:end])]
        splitter.close()
        # A CR at the very end ends a line, whether or not an LF would have followed.
        assert found == by_the_book(stream)

    rounds(check)


async def body(data: bytes) -> object:
    """What the server reads of a body."""
    app = web.Application()
    app[HOUSE] = House([], None, Settings())  # type: ignore[arg-type]  # no runner is needed to read
    loop = asyncio.get_running_loop()
    reader = StreamReader(BaseProtocol(loop), 1 << 20, loop=loop)
    reader.feed_data(data)
    reader.feed_eof()
    request = make_mocked_request(
        "POST", "/", {"content-type": "application/json"}, app=app, payload=reader, client_max_size=1 << 20
    )
    return await read_object(request)


@pytest.mark.timeout(900)
def test_a_body_is_an_object_or_refused() -> None:
    edges = st.sampled_from(
        [b'{"a":' * 3000, b"[" * 200_000, b"1" * 5000, b'{"a": NaN}', b'{"a": -Infinity}', b'"\xff"', b'{"a":"\\ud800"}', b"\xff\xfe{\x00}\x00", b"null", b""]
    )  # fmt: skip
    values = st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=4),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=8,
    )
    written = values.map(lambda value: json.dumps(value).encode())

    @settings(max_examples=200, derandomize=not SECONDS, deadline=None, suppress_health_check=SLOW)
    @given(
        data=st.binary(max_size=40)
        | edges
        | written
        | st.tuples(written, st.binary(max_size=3)).map(b"".join)
    )
    def check(data: bytes) -> None:
        try:
            assert isinstance(asyncio.run(body(data)), dict)
        except Refusal as refusal:
            assert refusal.status == 400 and refusal.message

    rounds(check)


GOOD = b'{"model": "duo", "messages": [{"role": "user", "content": "Why?"}], "stream": true}'
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nconnection: close\r\n"
WHOLE = HEAD + b"content-length: %d\r\n\r\n" % len(GOOD) + GOOD


def spoiled(draw: random.Random) -> bytes:
    """A good request with some of its bytes changed, doubled, cut out or cut off."""
    data = bytearray(WHOLE)
    for _ in range(draw.randint(1, 4)):
        at, end = sorted(draw.randrange(len(data)) for _ in range(2))
        end = min(end, at + 12)
        match draw.randrange(4):
            case 0:
                data[at] = draw.randrange(256)
            case 1:
                data[at:at] = data[at:end]
            case 2:
                del data[at:end]
            case _:
                data[at:at] = draw.choice(
                    [b"\r\n", b"\n", b"\x00", b": ", b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n"]
                )
        data = data or bytearray(b"x")
    return bytes(data)


async def send(server: Server, data: bytes) -> bytes:
    """What comes back, as far as it comes within a second: of half a request the server waits for the rest."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(server.url.rpartition(":")[2]))
    answer = b""
    try:
        writer.write(data)
        async with asyncio.timeout(1):
            while piece := await reader.read(1 << 16):
                answer += piece
    except (TimeoutError, ConnectionError):
        pass
    finally:
        writer.transport.abort()
    return answer


@pytest.mark.timeout(900)
async def test_spoiled_requests_are_answered_or_refused_and_leave_nothing() -> None:
    draw = random.Random(20261121)
    until, sent = time.monotonic() + SECONDS, 0
    async with serving() as server:
        assert (await send(server, WHOLE)).startswith(b"HTTP/1.1 200")
        before = len(asyncio.all_tasks())
        while sent < 200 or time.monotonic() < until:
            batch = [spoiled(draw) for _ in range(20)]
            sent += len(batch)
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(send(server, data)) for data in batch]
            for data, task in zip(batch, tasks, strict=True):
                answer = task.result()
                assert not answer or re.match(rb"HTTP/\d\.\d (200|4\d\d|505) ", answer), (data, answer[:200])
        await until_true(lambda: not server.house.admission.running and len(asyncio.all_tasks()) <= before, 5)
        assert (await send(server, WHOLE)).startswith(b"HTTP/1.1 200")
