"""A headless Chromium, driven over its own protocol: what a reader sees, what the console says, what is fetched."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import shutil
import tempfile
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

import aiohttp
import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
SWITCHES = (
    "--headless=new",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-sync",
    "--hide-scrollbars",
    "--mute-audio",
    "--no-default-browser-check",
    "--no-first-run",
    "--remote-debugging-port=0",
)
STARTED = 30.0
"""Seconds in which a browser must be there."""


def executable() -> str | None:
    """The browser: `$MOA_BROWSER`, or the first one of the usual names."""
    named = os.environ.get("MOA_BROWSER")
    return named or next((found for name in NAMES if (found := shutil.which(name))), None)


needs_browser = pytest.mark.skipif(
    executable() is None and not os.environ.get("MOA_BROWSER_REQUIRED"),
    reason="no Chromium here: scripts/browser.sh installs it, or set MOA_BROWSER",
)


class Page:
    """One tab; records what its console says, which errors happen, and every address that it asks for."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._number = 0
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._loaded = asyncio.Event()
        self.console: list[str] = []
        self.requests: list[str] = []

    async def listen(self) -> None:
        """Take in what the browser says, until it closes."""
        async for message in self._socket:
            said = json.loads(message.data)
            if "id" in said:
                self._waiting.pop(said["id"]).set_result(said)
            else:
                self._note(said["method"], said["params"])

    def _note(self, method: str, params: dict[str, Any]) -> None:
        if method == "Runtime.consoleAPICalled":
            self.console.append(
                " ".join(str(one.get("value", one.get("description"))) for one in params["args"])
            )
        elif method == "Runtime.exceptionThrown":
            self.console.append(str(params["exceptionDetails"].get("exception", params["exceptionDetails"])))
        elif method == "Log.entryAdded":
            self.console.append(params["entry"]["text"])
        elif method == "Network.requestWillBeSent" and params["request"]["url"] != "about:blank":
            self.requests.append(params["request"]["url"])
        elif method == "Page.loadEventFired":
            self._loaded.set()

    async def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol; raises `RuntimeError` with the browser's words."""
        self._number += 1
        waiting = asyncio.get_running_loop().create_future()
        self._waiting[self._number] = waiting
        await self._socket.send_json({"id": self._number, "method": method, "params": params})
        said = await waiting
        if "error" in said:
            raise RuntimeError(f"{method}: {said['error']['message']}")
        return dict(said["result"])

    async def show(self, width: int, *, dark: bool = False, height: int = 900) -> None:
        """Be a window that wide, on a light or a dark desk."""
        await self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.send("Emulation.setEmulatedMedia", features=[scheme])

    async def open(self, address: str) -> None:
        """Load a page and wait for it."""
        # From an empty page, so that an address that differs by its fragment alone is loaded anew, too.
        for each in ("about:blank", address):
            self._loaded.clear()
            await self.send("Page.navigate", url=each)
            async with asyncio.timeout(STARTED):
                await self._loaded.wait()

    async def run(self, script: str) -> Any:
        """The value of a JavaScript expression, awaited where it is a promise."""
        said = await self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in said:
            raise RuntimeError(str(said["exceptionDetails"].get("exception", said["exceptionDetails"])))
        return said["result"].get("value")

    async def until(self, script: str, seconds: float = 15) -> None:
        """Wait for a JavaScript expression to hold, looked at with every frame."""
        frames = f"(async () => {{ while (!({script})) await new Promise(requestAnimationFrame); return true; }})()"
        async with asyncio.timeout(seconds):
            await self.run(frames)

    async def picture(self, selector: str = "html") -> bytes:
        """A PNG of an element, all of it."""
        box = await self.run(
            f"(() => {{ const b = document.querySelector({json.dumps(selector)}).getBoundingClientRect();"
            " return [b.x + scrollX, b.y + scrollY, b.width, b.height]; })()"
        )
        clip = dict(zip(("x", "y", "width", "height"), box, strict=True)) | {"scale": 1}
        said = await self.send("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
        return base64.b64decode(said["data"])


class Browser:
    """A running Chromium with a profile of its own."""

    def __init__(self, port: int, session: aiohttp.ClientSession) -> None:
        self._root = f"http://127.0.0.1:{port}"
        self._session = session

    @classmethod
    @asynccontextmanager
    async def started(cls) -> AsyncIterator[Self]:
        """Start one; its processes and its profile are gone afterwards."""
        found = executable()
        assert found is not None, (
            "no Chromium here, and MOA_BROWSER_REQUIRED is set: scripts/browser.sh installs it"
        )
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
            # As root, which containers often are, Chromium has no sandbox.
            rooted = ["--no-sandbox"] if os.geteuid() == 0 else []
            command = [found, *SWITCHES, *rooted, f"--user-data-dir={profile}", "about:blank"]
            process = await asyncio.create_subprocess_exec(*command, stdout=DEVNULL, stderr=PIPE)
            try:
                assert process.stderr is not None
                port = await _port(process.stderr)
                drain = asyncio.create_task(process.stderr.read())
                async with aiohttp.ClientSession() as session:
                    yield cls(port, session)
                drain.cancel()
            finally:
                if process.returncode is None:
                    process.terminate()
                await process.wait()

    @asynccontextmanager
    async def page(self) -> AsyncIterator[Page]:
        """A new tab whose network, console and log are watched."""
        async with self._session.put(f"{self._root}/json/new?about:blank") as reply:
            target = await reply.json()
        address = target["webSocketDebuggerUrl"]
        async with self._session.ws_connect(address, max_msg_size=0) as socket, asyncio.TaskGroup() as tasks:
            page = Page(socket)
            listener = tasks.create_task(page.listen())
            for domain in ("Page", "Runtime", "Network", "Log"):
                await page.send(f"{domain}.enable")
            yield page
            listener.cancel()


async def _port(stderr: asyncio.StreamReader) -> int:
    """Where the browser listens: it says so once it does."""
    said: list[str] = []
    async with asyncio.timeout(STARTED):
        async for line in stderr:
            said.append(line.decode(errors="replace"))
            if found := re.match(r"DevTools listening on ws://[^:]+:(\d+)/", said[-1]):
                return int(found[1])
    raise RuntimeError(f"the browser left at once: {''.join(said)}")
