"""One engine's process: started, awaited, restarted once, stopped with everything that it started."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from aiohttp import ClientError, ClientSession, ClientTimeout

from moa.errors import MoaError
from moa.up.launch import Launch
from moa.up.log import last_words

State = Literal["waiting", "starting", "ready", "asleep", "restarting", "failed", "stopped"]
ANSWERING: frozenset[State] = frozenset({"ready", "asleep"})
PROBE = ClientTimeout(total=5.0)
SLEEP = ClientTimeout(total=300.0)
"""An engine copies its weights to the machine's memory."""


class EngineFailed(MoaError):
    """An engine did not start, or has died for the second time; says why, and where its log is."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long things may take, in seconds."""

    ready: float = 900.0
    """From the start to the first good answer of /health."""
    poll: float = 0.5
    """Between two questions for the health."""
    grace: float = 15.0
    """From SIGTERM to SIGKILL."""


PATIENT = Patience()


class Engine:
    """One supervised engine.

    Args:
        launch: What is run.
        log: The file that takes all that it says.
        session: Connections for health checks.
        patience: How long things may take.
        changed: Called after each change of `state`.
        environ: The environment that the engine inherits.
    """

    def __init__(
        self,
        launch: Launch,
        log: Path,
        session: ClientSession,
        *,
        patience: Patience = PATIENT,
        changed: Callable[[Engine], None] = lambda engine: None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self.launch = launch
        self.log = log
        self.state: State = "waiting"
        self.error: EngineFailed | None = None
        """Why it failed for good."""
        self.crashes = 0
        """How often it died after it was ready."""
        self._session = session
        self._patience = patience
        self._changed = changed
        self._environ = environ
        self._process: Process | None = None

    async def start(self) -> None:
        """Start the process and wait until it answers; with sleep mode, until it sleeps.

        Raises:
            EngineFailed: when it ends before that, or takes too long; nothing of it is left then.
        """
        self._turn("starting" if not self.crashes else "restarting")
        try:
            await self._bring_up()
        except EngineFailed as failed:
            self.error = failed
            self._turn("failed")
            raise

    async def watch(self) -> None:
        """Return never while it runs; restarts it once after a crash.

        Raises:
            EngineFailed: when it crashes again, or does not come up again.
        """
        while True:
            assert self._process is not None
            code = await self._process.wait()
            self._sweep()
            self.crashes += 1
            if self.crashes > 1:
                self.error = self._failed(f"died again after a restart ({_ended(code)})")
                self._turn("failed")
                raise self.error
            await self.start()

    async def stop(self) -> None:
        """SIGTERM, then SIGKILL for the whole group after the grace period."""
        process = self._process
        if process is None:
            return
        if process.returncode is None:
            assert process.stdin is not None
            process.stdin.close()
            try:
                async with asyncio.timeout(self._patience.grace + 2.0):
                    await process.wait()
            except TimeoutError:
                self._sweep()
                await process.wait()
        self._sweep()
        if self.state != "failed":
            self._turn("stopped")

    def kill(self) -> None:
        """SIGKILL for the whole group, now."""
        self._sweep()

    async def _bring_up(self) -> None:
        await self._spawn()
        assert self._process is not None
        ended = asyncio.ensure_future(self._process.wait())
        healthy = asyncio.ensure_future(self._healthy())
        try:
            async with asyncio.timeout(self._patience.ready):
                await asyncio.wait({ended, healthy}, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            await self.stop()
            raise self._failed(f"was not ready within {self._patience.ready:g} s (--ready-timeout)") from None
        finally:
            ended.cancel()
            healthy.cancel()
        if ended.done() and not ended.cancelled():
            self._sweep()
            raise self._failed(f"ended before it was ready ({_ended(ended.result())})")
        await self._settle()

    async def _settle(self) -> None:
        """Ready; with sleep mode, laid to sleep."""
        if self.launch.sleep is None:
            self._turn("ready")
            return
        try:
            async with self._session.post(
                f"{self.launch.root}/sleep?level={self.launch.sleep}", timeout=SLEEP
            ) as answer:
                status: int | str = answer.status
        except (ClientError, TimeoutError, OSError) as error:
            status = type(error).__name__
        if status != 200:
            await self.stop()
            raise self._failed(
                f"does not go to sleep (POST /sleep: {status}); its build may have no sleep mode"
            )
        self._turn("asleep")

    async def _spawn(self) -> None:
        """The command behind a guard that leads a session of its own and holds the other end of a pipe."""
        patience = self._patience
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "moa.up.guard", f"{patience.grace:g}", *self.launch.command),
                stdin=PIPE,
                stdout=log,
                stderr=log,
                env={**self._environ, **self.launch.variables},
                start_new_session=True,
            )

    async def _healthy(self) -> None:
        """Return once /health says 200."""
        while True:
            if await self._answers():
                return
            await asyncio.sleep(self._patience.poll)

    async def _answers(self) -> bool:
        try:
            async with self._session.get(f"{self.launch.root}/health", timeout=PROBE) as answer:
                return answer.status == 200
        except (ClientError, TimeoutError, OSError):
            return False

    def _sweep(self) -> None:
        """Kill what is left of the process's group."""
        if self._process is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _failed(self, what: str) -> EngineFailed:
        said = last_words(self.log)
        return EngineFailed(f"{self.launch.name}: {what}{f': {said}' if said else ''}; its log: {self.log}")

    def _turn(self, state: State) -> None:
        self.state = state
        self._changed(self)


def _ended(code: int) -> str:
    """How a process ended, in words; the guard reports a signal as a shell does."""
    number = -code if code < 0 else code - 128
    if number > 0:
        with suppress(ValueError):
            return f"killed by {signal.Signals(number).name}"
    return f"exit code {code}"
