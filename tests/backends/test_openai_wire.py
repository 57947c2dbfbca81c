"""Connections, time limits, cancellation, and keys that are shown nowhere."""

from __future__ import annotations

import asyncio
import json
import traceback

import pytest

from moa.backends.openai import OpenAICompatible
from moa.backends.wire import open_session, proxy_for
from moa.errors import (
    AuthenticationError,
    BackendError,
    BackendTimeoutError,
    ConnectionFailedError,
    UsageError,
)
from moa.spec.model import ModelSpec
from tests.support.asking import BOTH, Listener, answer, ask, asking, failure
from tests.support.background import in_background
from tests.support.faults import (
    Exchange,
    FaultServer,
    Step,
    cut_before_body,
    delay,
    error_in_200,
    ok,
    stall,
    status,
)

# Connections and time


async def test_a_server_that_is_not_there() -> None:
    async with FaultServer() as server:
        url = server.url
    backend = OpenAICompatible(ModelSpec(name="mine", base_url=url, model="m"), environ={})
    with pytest.raises(
        ConnectionFailedError, match="connection refused; is the server running at http"
    ) as caught:
        await backend.complete(ask())
    assert caught.value.retryable
    await backend.aclose()


@BOTH
async def test_the_whole_reply_has_a_time_limit(streamed: bool) -> None:
    found = await failure(delay(30), ask(timeout=0.1), streamed=streamed)
    assert isinstance(found, BackendTimeoutError) and "0.1 s" in str(found)


async def test_bytes_that_keep_coming_are_no_stall() -> None:
    async def trickle(exchange: Exchange) -> None:
        content = json.dumps({"choices": [{"message": {"content": "slow"}}]}).encode()
        exchange.head(200, {"content-type": "application/json", "content-length": str(len(content))})
        for at in range(0, len(content), 8):
            exchange.writer.write(content[at : at + 8])
            await asyncio.sleep(0.06)

    completion = await answer(trickle, ask(), options={"stall": 0.2})
    assert completion.choices[0].text == "slow"


@BOTH
async def test_cancelling_closes_the_connection_at_once(streamed: bool) -> None:
    async with FaultServer(stall()) as server, asking(server) as backend:
        task = asyncio.create_task(backend.complete(ask(), Listener() if streamed else None))
        await server.arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(2):
            await server.left.wait()
        assert server.in_flight == 0


async def test_a_stall_does_not_swallow_a_cancellation() -> None:
    async with FaultServer(stall()) as server, asking(server, options={"stall": 0.2}) as backend:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await backend.complete(ask())
        with pytest.raises(BackendTimeoutError):
            server.script(stall())
            await backend.complete(ask())
        assert (task := asyncio.current_task()) is not None and task.cancelling() == 0


async def test_connections_are_used_again() -> None:
    async with FaultServer() as server, asking(server) as backend:
        for streamed in (False, True, False, True):
            await backend.complete(ask(), Listener() if streamed else None)
        assert server.connections == 1


async def test_a_connection_that_went_stale_is_a_passing_failure() -> None:
    async with FaultServer(ok(), cut_before_body()) as server, asking(server) as backend:
        await backend.complete(ask())
        with pytest.raises(ConnectionFailedError) as caught:
            await backend.complete(ask())
        assert caught.value.retryable
        assert (await backend.complete(ask())).choices


async def test_a_session_can_be_shared_and_stays_open() -> None:
    async with FaultServer() as server, open_session() as session:
        for _ in range(2):
            spec = ModelSpec(name="mine", base_url=server.url, model="m")
            backend = OpenAICompatible(spec, session=session, environ={})
            await backend.complete(ask())
            await backend.aclose()
        assert server.connections == 1 and not session.closed


def test_one_backend_serves_one_event_loop_after_another() -> None:
    with in_background(FaultServer(ok(), stall())) as server:
        spec = ModelSpec(name="mine", base_url=server.url, model="m", options={"stall": 0.2})
        backend = OpenAICompatible(spec, environ={})

        async def once() -> None:
            try:
                await backend.complete(ask())
            finally:
                await backend.aclose()

        asyncio.run(once())
        with pytest.raises(BackendTimeoutError):
            asyncio.run(once())


@pytest.mark.parametrize(
    ("environ", "proxy"),
    [
        ({"HTTPS_PROXY": "http://proxy:3128"}, "http://proxy:3128"),
        ({"all_proxy": "http://proxy:1"}, "http://proxy:1"),
        ({"HTTP_PROXY": "http://proxy:3128"}, None),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "x, .host.org"}, None),
        ({"HTTPS_PROXY": "http://proxy:3128", "no_proxy": "*"}, None),
        ({"HTTPS_PROXY": "http://proxy:3128", "no_proxy": "ghost.org"}, "http://proxy:3128"),
    ],
)
def test_proxies_of_the_environment(environ: dict[str, str], proxy: str | None) -> None:
    from yarl import URL

    assert proxy_for(URL("https://api.host.org/v1"), environ) == (URL(proxy) if proxy else None)
    assert proxy_for(URL("https://127.0.0.1:8000/v1"), environ) is None


# Keys

KEY = "sk-proj-abcDEF123456ghiJKL789"


async def test_a_missing_key_names_its_variable_and_sends_nothing() -> None:
    backend = OpenAICompatible(ModelSpec(name="mine", provider="openai", model="m"), environ={})
    with pytest.raises(UsageError, match="OPENAI_API_KEY"):
        await backend.complete(ask())


async def test_a_key_that_cannot_be_sent_is_refused_without_showing_it() -> None:
    spec = ModelSpec(name="mine", provider="openai", model="m")
    with pytest.raises(UsageError, match="OPENAI_API_KEY") as caught:
        await OpenAICompatible(spec, environ={"OPENAI_API_KEY": "abc\ndef-ghi"}).complete(ask())
    assert "def-ghi" not in str(caught.value)


@BOTH
@pytest.mark.parametrize(
    "step",
    [
        status(401, f"Incorrect API key provided: {KEY}"),
        status(401, body=f"<title>bad {KEY}</title>".encode()),
        status(500, f"crashed on Authorization: Bearer {KEY}"),
        error_in_200(f"bad key {KEY[:16]}...", code=401),
        status(302, headers={"location": f"https://x/?key={KEY}"}),
        cut_before_body(),
    ],
)
async def test_the_key_is_in_no_error(step: Step, streamed: bool) -> None:
    async with FaultServer(step) as server, asking(server, {"K": KEY}, key_env="K") as backend:
        with pytest.raises(BackendError) as caught:
            await backend.complete(ask(), Listener() if streamed else None)
        assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
        shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + repr(backend)
    assert not any(KEY[at : at + 8] in shown for at in range(8, len(KEY) - 7))
    assert caught.value.__cause__ is None and caught.value.__context__ is None


async def test_errors_about_keys_say_which_variable_holds_it() -> None:
    async with FaultServer(status(401)) as server, asking(server, {"K": KEY}, key_env="K") as backend:
        with pytest.raises(AuthenticationError, match="the key in K"):
            await backend.complete(ask())
    assert "key_env" in str(await failure(status(401)))
