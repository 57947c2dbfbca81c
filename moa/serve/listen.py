"""Listening on a port until told to stop, and leaving in order."""

from __future__ import annotations

import asyncio
import gc
import ipaddress
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from aiohttp import web

from moa.errors import UsageError
from moa.serve.connection import Runner, Server
from moa.serve.house import HOUSE

LAST = 3.0
"""Seconds in which what was stopped may say so to its client."""
YOUNG = 100
"""New objects before the garbage collector looks through them."""
OLD = 300_000
"""More objects than there were, some 30 MB, before it looks through all."""
LOOK = 5.0
"""Seconds after which they are counted again."""
_silent = logging.getLogger("moa.serve.http")
"""Broken requests are the sender's affair, and quoting them could quote a key."""
_silent.addHandler(logging.NullHandler())
_silent.propagate = False


def settle() -> None:
    """Make this process answer without pauses, once it listens; for one that does nothing else but serve.

    A search for garbage through all that is loaded takes a tenth of a second, so what is there by now is left out of it. One
    through what hundreds of streams hold takes half of that, whatever the threshold: as many objects go as come, so by the
    time that 5,000 more have come than gone, all are young. So it looks early, through few at a time (1 to 3 ms, one per cent
    of the time in all), and through those that have stayed only when they have become many: an answer leaves nothing that
    counting references does not free, a connection 16 objects, a client that left its stream 200. And the store's thread gives
    way ten times as soon as Python's threads do by default.
    """
    gc.collect()
    gc.freeze()
    if gc.get_threshold()[0] > 0:
        gc.set_threshold(YOUNG, 1 << 30)
        _tidy(sys.getallocatedblocks())
    sys.setswitchinterval(0.0005)


def _tidy(least: int) -> None:
    """Search all for garbage once there are many more objects than the `least` that there were since the last search."""
    count = sys.getallocatedblocks()
    if count > least + OLD:
        gc.collect()
        count = least = sys.getallocatedblocks()
    asyncio.get_running_loop().call_later(LOOK, _tidy, min(least, count))


class Stop:
    """Told once, the server finishes what it has begun; told twice, it finishes nothing."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.now = asyncio.Event()

    def ask(self) -> None:
        """Ask to stop, or the second time, to stop at once."""
        (self.now if self.asked.is_set() else self.asked).set()


async def listen(
    app: web.Application,
    host: str,
    port: int,
    *,
    grace: float,
    ready: Callable[[str], None],
    stop: Stop | None = None,
) -> bool:
    """Serve until SIGTERM, SIGINT or `stop`; whether all that was begun could be finished.

    From then on new questions are refused with 503 and `/readyz` says so; those under way have `grace` seconds, after which
    they are cancelled and their clients told. `ready` is called with the address once it can be asked.
    Raises `UsageError` where the port cannot be had.
    """
    stop = stop or Stop()
    async with _running(app) as runner:
        site = web.TCPSite(runner, host, port)
        try:
            await site.start()
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
            raise UsageError(f"cannot listen on {host}:{port}: {reason.lower()}") from None
        with _signals(stop):
            ready(_address(runner))
            await stop.asked.wait()
            return await _leave(app, grace, stop)


@asynccontextmanager
async def _running(app: web.Application) -> AsyncIterator[Runner]:
    """The application behind connections of our own."""
    inner = web.AppRunner(app, handler_cancellation=True, access_log=None)
    await inner.setup()
    try:
        assert inner.server is not None
        server = Server(inner.server, app[HOUSE], access_log=None, logger=_silent)
        runner = Runner(app, server, shutdown_timeout=LAST)
        await runner.setup()
        try:
            yield runner
        finally:
            await runner.cleanup()
    finally:
        await inner.cleanup()


async def _leave(app: web.Application, grace: float, stop: Stop) -> bool:
    """Wait for what is under way, by a deadline or until told again."""
    closing = asyncio.create_task(app[HOUSE].admission.close(grace))
    hurry = asyncio.create_task(stop.now.wait())
    await asyncio.wait([closing, hurry], return_when=asyncio.FIRST_COMPLETED)
    hurry.cancel()
    if not closing.done():
        closing.cancel()
        return await app[HOUSE].admission.close(0)
    return closing.result()


@contextmanager
def _signals(stop: Stop) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.ask)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def _address(runner: Runner) -> str:
    host, port = runner.addresses[0][:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server at `host`."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
