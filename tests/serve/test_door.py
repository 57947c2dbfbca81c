"""Who gets in, tried with bytes written by hand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import pytest

from moa.serve.house import House
from moa.serve.keys import Keys
from tests.serve.serving import Server, serving
from tests.support.backends import Scripted

KEY = "sk-moa-0123456789abcdef"
OTHER = "sk-moa-fedcba9876543210"
BODY = json.dumps({"model": "duo", "messages": [{"role": "user", "content": "Why?"}]})


class Raw(NamedTuple):
    """What came back: the status of the first response, and all bytes."""

    status: int
    text: str

    @property
    def error(self) -> Mapping[str, Any]:
        return json.loads(self.text.partition("\r\n\r\n")[2])["error"]  # type: ignore[no-any-return]


async def send(server: Server, data: bytes) -> Raw:
    """Send bytes, half-close, and read to the end."""
    port = int(server.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    await writer.drain()
    async with asyncio.timeout(5):
        text = (await reader.read()).decode("latin-1")
    writer.close()
    return Raw(int(text.split(" ")[1]) if text.startswith("HTTP/1.") else 0, text)


def post(
    *headers: str, path: str = "/v1/chat/completions", body: str = BODY, host: str = "localhost"
) -> bytes:
    lines = [f"POST {path} HTTP/1.1", f"host: {host}", "connection: close", *headers]
    if not any(line.lower().startswith("content-type") for line in headers):
        lines.append("content-type: application/json")
    if not any(line.lower().startswith(("content-length", "transfer-encoding")) for line in headers):
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join([*lines, "", body]).encode("latin-1")


def keyed(**settings: Any) -> dict[str, Any]:
    return {"keys": Keys([("ann", KEY), ("bob", OTHER)]), **settings}


async def test_a_known_key_opens_the_door_in_either_header() -> None:
    async with serving(**keyed()) as server:
        assert (await send(server, post(f"authorization: Bearer {KEY}"))).status == 200
        assert (await send(server, post(f"Authorization: bearer  {OTHER}"))).status == 200
        assert (await send(server, post(f"x-api-key: {KEY}"))).status == 200
    assert [line["key"] for line in server.lines] == ["ann", "bob", "ann"]


@pytest.mark.parametrize(
    "header",
    [
        pytest.param("x-nothing: 1", id="none"),
        pytest.param(f"authorization: Bearer {KEY[:-1]}", id="cut"),
        pytest.param(f"authorization: Bearer {KEY}x", id="longer"),
        pytest.param(f"authorization: Bearer {KEY.upper()}", id="in capitals"),
        pytest.param(f"authorization: Basic {KEY}", id="another scheme"),
        pytest.param("authorization: Bearer", id="empty"),
        pytest.param("authorization: Bearer \xff\xfe", id="not text"),
        pytest.param(f"cookie: key={KEY}", id="in a cookie"),
    ],
)
async def test_without_a_known_key_nothing_runs(header: str) -> None:
    panel = Scripted()
    async with serving(backends={"panel": panel, "sink": Scripted()}, **keyed()) as server:
        for path in ("/v1/chat/completions", "/v1/models/duo", "/nowhere"):
            refused = await send(server, post(header, path=path))
            assert refused.status == 401 and refused.error["type"] == "authentication_error"
    assert not panel.requests and KEY not in json.dumps(server.lines)


async def test_two_different_keys_are_no_key() -> None:
    async with serving(**keyed()) as server:
        both = await send(server, post(f"authorization: Bearer {KEY}", f"x-api-key: {OTHER}"))
        twice = await send(server, post(f"authorization: Bearer {KEY}", f"authorization: Bearer {OTHER}"))
        same = await send(server, post(f"authorization: Bearer {KEY}", f"x-api-key: {KEY}"))
    assert (both.status, twice.status, same.status) == (400, 400, 200)


@pytest.mark.parametrize("name", ["key", "api_key", "api-key", "apikey", "access_token", "Authorization"])
async def test_a_key_in_the_address_is_refused_and_not_logged(name: str) -> None:
    async with serving(**keyed()) as server:
        path = f"/v1/chat/completions?{name}={KEY}"
        refused = await send(server, post(f"authorization: Bearer {KEY}", path=path))
    assert refused.status == 400 and refused.error["code"] == "key_in_query"
    assert KEY not in json.dumps(server.lines) and KEY not in refused.text


async def test_health_needs_no_key() -> None:
    async with serving(**keyed()) as server, server.http() as http:
        statuses = [(await http.get(path)).status for path in ("/healthz", "/readyz")]
    assert statuses == [200, 200]


async def test_a_body_beyond_the_limit_is_refused_unread() -> None:
    async with serving(body_limit=1000) as server:
        large = json.dumps({"model": "duo", "messages": [{"role": "user", "content": "x" * 2000}]})
        refused = await send(server, post(body=large))
        chunked = post("transfer-encoding: chunked", body=f"{len(large):x}\r\n{large}\r\n0\r\n\r\n")
        in_chunks = await send(server, chunked)
    assert refused.status == 413 and refused.error["code"] == "request_too_large"
    assert in_chunks.status == 413


@pytest.mark.parametrize(
    "body",
    ["", "[]", "nonsense", '{"model": NaN}', '"x"', "[" * 100_000, '{"n": ' + "9" * 5000 + "}", "\xff{}"],
    ids=range(8),
)
async def test_what_is_no_object_is_refused(body: str) -> None:
    async with serving() as server:
        refused = await send(server, post(body=body))
    assert refused.status == 400 and refused.error["type"] == "invalid_request_error"


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
async def test_what_a_form_of_another_site_can_send_is_refused(kind: str) -> None:
    async with serving() as server:
        refused = await send(server, post(f"content-type: {kind}"))
    assert refused.status == 415


async def test_pages_of_other_sites_are_refused() -> None:
    async with serving(hosts=frozenset({"localhost"})) as server:
        foreign = await send(server, post("origin: http://evil.example"))
        nowhere = await send(server, post("origin: null"))
        rebound = await send(server, post(host="evil.example"))
        own = await send(server, post("origin: http://localhost:1234", host="localhost:1234"))
        preflight = await send(server, post("origin: http://evil.example").replace(b"POST", b"OPTIONS", 1))
    assert [each.status for each in (foreign, nowhere, rebound, own, preflight)] == [403, 403, 403, 200, 403]
    assert "access-control" not in (foreign.text + own.text + preflight.text).lower()


@pytest.mark.parametrize(
    "smuggled",
    [
        pytest.param(post("content-length: 5", "transfer-encoding: chunked"), id="two lengths"),
        pytest.param(post("content-length: 5", "content-length: 6"), id="lengths that differ"),
        pytest.param(post("content-length: +5"), id="signed length"),
        pytest.param(post("content-length: 5_0"), id="length with a line"),
        pytest.param(post("transfer-encoding: xchunked"), id="unknown coding"),
        pytest.param(post("transfer-encoding : chunked"), id="space before the colon"),
        pytest.param(post("x: a\rb"), id="bare return"),
        pytest.param(post("x: a\x00b"), id="nil"),
        pytest.param(post("x\ty: a"), id="tab in a name"),
        pytest.param(post(" folded: a"), id="folded line"),
        pytest.param(post("x: " + "a" * 100_000), id="huge header"),
        pytest.param(b"POST /v1/chat/completions HTTP/1.1 x\r\n\r\n", id="broken first line"),
    ],
)
async def test_ambiguous_requests_are_refused_and_their_connection_closed(smuggled: bytes) -> None:
    panel = Scripted()
    second = post(f"authorization: Bearer {KEY}")
    async with serving(backends={"panel": panel, "sink": Scripted()}, **keyed()) as server:
        refused = await send(server, smuggled + second)
    assert refused.status == 400
    assert refused.text.count("\r\n\r\n") == 1 and not panel.requests and KEY not in refused.text
    assert refused.error["code"] == "malformed_request" and refused.error["type"] == "invalid_request_error"
    [line] = server.lines
    assert line["status"] == 400 and f"x-request-id: {line['request_id']}" in refused.text.lower()
    assert "content-type: application/json" in refused.text.lower() and "aiohttp" not in refused.text
    assert KEY not in json.dumps(server.lines), "nothing of what was sent"


async def test_header_values_cannot_be_injected_by_a_request_id() -> None:
    async with serving() as server, server.http() as http:
        for given in ("a b", "x" * 500, "é"):
            async with http.get("/healthz", headers={"x-request-id": given}) as response:
                assert response.headers["x-request-id"].startswith("req_")
        async with http.get("/healthz", headers={"x-request-id": "mine-1"}) as response:
            assert response.headers["x-request-id"] == "mine-1"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/chat/completions", 405),
        ("GET", "/v1/../etc/passwd", 404),
        ("GET", "/%2e%2e/x", 404),
        ("GET", "/<b>", 404),
    ],
)
async def test_what_is_not_there_has_the_api_s_shape(method: str, path: str, status: int) -> None:
    async with serving() as server:
        answer = await send(
            server, f"{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode()
        )
    assert answer.status == status and answer.error["message"]
    assert "content-type: application/json" in answer.text.lower() and "nosniff" in answer.text


async def test_the_log_has_a_line_for_each_request_and_no_content() -> None:
    async with serving(**keyed()) as server:
        await send(server, post(f"authorization: Bearer {KEY}"))
    [line] = server.lines
    assert {"time", "request_id", "seconds"} < line.keys()
    assert (line["method"], line["path"], line["status"]) == ("POST", "/v1/chat/completions", 200)
    assert (line["model"], line["prompt_tokens"], line["completion_tokens"]) == ("duo", 20, 15)
    assert "Why?" not in json.dumps(line)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_bug_of_ours_ends_one_request_and_is_placed_in_the_log(
    stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def boom(*said: object, **more: object) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(House, "answer", boom)
    async with serving() as server, server.http() as http:
        body = {**json.loads(BODY), "stream": stream}
        failed = await http.post("/v1/chat/completions", json=body)
        error = (await failed.json())["error"]
        alive = await http.get("/healthz")
    assert (failed.status, alive.status) == (500, 200) and error["code"] == "internal_error"
    assert "secret" not in json.dumps(error)
    assert "secret detail at test_door.py:" in server.lines[0]["error"]


class Boom:
    """Raises for whatever it is told."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, *said: object) -> None:
        self.calls += 1
        raise ZeroDivisionError("no listener of yours")


@pytest.mark.parametrize("stream", [True, False])
async def test_one_who_only_looks_on_and_raises_costs_nobody_an_answer(
    stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    observer, listener, lines, heard = Boom(), Boom(), Boom(), []
    observers = [observer, lambda context, event: heard.append(event)]
    body = {**json.loads(BODY), "stream": stream}
    async with (
        serving(observers=observers, run={"listeners": [listener]}, log=lines) as server,
        server.http() as http,
    ):
        for _ in range(2):
            async with http.post("/v1/chat/completions", json=body) as reply:
                said = await reply.text()
                assert reply.status == 200 and "Why?" in said and "error" not in said
    assert min(observer.calls, listener.calls) > 4 and lines.calls == 2 and len(heard) == observer.calls
    [record] = [record for record in caplog.records if "no listener of yours" in record.getMessage()]
    assert "test_door.Boom fails" in record.getMessage() and record.levelname == "WARNING"
