"""VLLM's sleep mode over HTTP: an engine that gives its device's memory back, and takes it again."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Literal

from pydantic_core import to_json
from yarl import URL

from moa.backends.replies import Malformed, parse
from moa.backends.wire import Wire
from moa.errors import BackendTimeoutError, BadRequestError, ServerFailedError

Level = Literal[1, 2]
WAKE_SECONDS = 300.0
"""How long weights may take from the machine's memory or its disk."""
POLL_SECONDS = 0.1


async def lay_down(wire: Wire, api: URL, level: Level) -> None:
    """Let the engine behind `api` sleep: at level 1 its weights go to the machine's memory, at 2 they are dropped.

    Raises:
        BadRequestError: for a server that has no sleep mode.
        BackendError: for what goes wrong on the way.
    """
    await _post(wire, beside(api, "sleep").with_query(level=str(level)))


async def wake_up(wire: Wire, api: URL, level: Level) -> None:
    """Wake the engine behind `api`, and return once it says that it is awake; raises as `lay_down` does."""
    wake = beside(api, "wake_up")
    if level == 1:
        await _post(wire, wake)
    else:
        # Memory for the weights, the weights from disk, then memory for the cache, as vLLM's guide has it.
        await _post(wire, wake.with_query(tags="weights"))
        await _post(wire, beside(api, "collective_rpc"), {"method": "reload_weights"})
        await _post(wire, wake.with_query(tags="kv_cache"))
    await _awake(wire, beside(api, "is_sleeping"))


async def _awake(wire: Wire, url: URL) -> None:
    try:
        async with asyncio.timeout(WAKE_SECONDS):
            while True:
                if not await _sleeps(wire, url):
                    return
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        raise BackendTimeoutError(
            f"{wire.subject.name}: the engine still sleeps {WAKE_SECONDS:g} s after it was woken"
        ) from None


async def _sleeps(wire: Wire, url: URL) -> bool:
    answer = await wire.get(url)
    _check(wire, url, answer.status)
    try:
        told = parse(answer.body or b"")
    except Malformed:
        told = None
    return bool(told.get("is_sleeping")) if isinstance(told, dict) else False


async def _post(wire: Wire, url: URL, body: Mapping[str, Any] = {}) -> None:
    answer = await wire.post(url, to_json(dict(body)))
    _check(wire, url, answer.status)


def _check(wire: Wire, url: URL, status: int) -> None:
    name = wire.subject.name
    if status in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED):
        raise BadRequestError(
            f"{name}: the server has no {url.path}: start it with `moa up --sleep` (vLLM's --enable-sleep-mode and "
            "VLLM_SERVER_DEV_MODE=1), or leave out the option `sleep`",
            status=status,
        )
    if status >= HTTPStatus.MULTIPLE_CHOICES:
        raise ServerFailedError(f"{name}: {url.path} failed with status {status}", status=status)


def beside(api: URL, path: str) -> URL:
    """A path of the server that stands beside its API: `/sleep`, not `/v1/sleep`."""
    return api.with_path(f"{api.path.rstrip('/').removesuffix('/v1')}/{path}")
