"""vLLM's engine on a thread of its own, shared by everything that asks one model."""

from __future__ import annotations

import asyncio
import atexit
import gc
import json
import math
import os
import threading
import time
import warnings
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Any, TypeVar

from moa.backends.base import Trip
from moa.backends.counting import IMPORTING
from moa.backends.vllm.options import Settings, check_arguments, on_cpu
from moa.errors import EngineDeadError, UsageError

T = TypeVar("T")
QUIET = {
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
    "TORCH_LOGS": "-torch",
    "TORCH_CPP_LOG_LEVEL": "ERROR",
    "TOKENIZERS_PARALLELISM": "false",
    "VLLM_WORKER_SHUTDOWN_TIMEOUT_SECONDS": "1",
}
"""Variables that are set where the user has not: no log on the terminal, no report to anybody, a quick end."""
UNWARNED = "ignore::FutureWarning,ignore::UserWarning"
"""What the engine's own processes do not print."""
DEFAULTS = {"scheduling_policy": "priority", "disable_log_stats": True, "use_tqdm_on_load": False}
"""Arguments of the engine that differ from vLLM's own defaults, where the user did not choose."""
LONGEST = 300
"""Characters of vLLM's own words that are shown."""
RESTART_SECONDS = 600.0
"""How far apart the restarts of an engine that dies must be: one that dies again at once does so for a reason."""
STOP_SECONDS = 20.0
"""How long the engine's processes may take to end before they are left to the system."""


class Engine:
    """One `AsyncLLM`, counted by those who use it and stopped by the last of them.

    vLLM binds an engine to one event loop and starts it in a call that blocks for up to minutes, so it has
    a thread with a loop of its own; requests come from any loop. `clock` tells seconds, for the time between restarts.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self.settings = settings
        self._clock = clock
        self.starts = 0
        """How often the engine was started."""
        self.deaths = 0
        self._users = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._llm: Any = None
        self._asleep: int | None = None
        """The level at which the engine sleeps."""
        self._failed: UsageError | None = None
        """Why it cannot run at all."""
        self._death = ""
        """How it died, where it has not been started since."""
        self._restarted = -math.inf
        """When it was last started after a death, by the clock."""
        self._starting: asyncio.Lock | None = None

    @classmethod
    def share(cls, settings: Settings) -> Engine:
        """The engine with these settings, one more user counted; it is not started yet."""
        with _LOCK:
            engine = _ENGINES.get(settings)
            if engine is None:
                engine = _ENGINES[settings] = cls(settings)
            engine._users += 1
            return engine

    async def run(self, job: Callable[[Any], Awaitable[T]], trip: Trip | None = None) -> T:
        """Do `job` with the running engine, in its own loop; cancelling the caller cancels the job.

        An engine that dies is started again, and what it had not answered is asked again; but not twice in ten
        minutes. What the start takes is added to the time that `trip` stood in a queue.

        Raises:
            UsageError: when vLLM cannot start with these settings.
            EngineDeadError: when the engine has died, and its last restart is less than ten minutes ago.
        """
        future = asyncio.run_coroutine_threadsafe(self._run(job, trip or Trip()), self._own_loop())
        return await asyncio.wrap_future(future)

    async def rest(self, level: int | None) -> None:
        """Give the device's memory back until the next job or `wake`: by vLLM's sleep mode, else by stopping."""
        if self._loop is not None:
            future = asyncio.run_coroutine_threadsafe(self._rest(level), self._loop)
            await asyncio.wrap_future(future)

    async def wake(self) -> None:
        """Take the device's memory again, where the engine sleeps; one that was stopped starts at its next job."""
        if self._asleep and self._loop is not None:
            future = asyncio.run_coroutine_threadsafe(self._wake(), self._loop)
            await asyncio.wrap_future(future)

    async def release(self) -> None:
        """One user fewer; the last one stops the engine."""
        with _LOCK:
            self._users -= 1
            last = self._users == 0
            if last:
                del _ENGINES[self.settings]
        if last:
            await asyncio.to_thread(self.stop)

    def stop(self) -> None:
        """Stop the engine's processes and its thread."""
        loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            return
        self._loop = self._thread = None
        stopped = asyncio.run_coroutine_threadsafe(self._shut_down(), loop)
        try:
            stopped.result(STOP_SECONDS)
        except TimeoutError:
            # Its thread is a daemon; the processes go with this one.
            return
        loop.call_soon_threadsafe(loop.stop)
        thread.join(STOP_SECONDS)
        # vLLM's own objects clear up when they are collected, which must not wait for the interpreter's end.
        gc.collect()

    def _own_loop(self) -> asyncio.AbstractEventLoop:
        with _LOCK:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._starting = asyncio.Lock()
                self._thread = threading.Thread(
                    target=_serve, args=(self._loop,), name=f"vllm {self.settings.model}", daemon=True
                )
                self._thread.start()
            return self._loop

    async def _run(self, job: Callable[[Any], Awaitable[T]], trip: Trip) -> T:
        while True:
            began = time.perf_counter()
            llm = await self._living()
            trip.queued += time.perf_counter() - began
            try:
                return await job(llm)
            except Exception:
                if not llm.errored:
                    raise
                self._died(llm)

    async def _living(self) -> Any:
        assert self._starting is not None
        async with self._starting:
            if self._llm is None and self._failed is None:
                if self._death:
                    self._begin_restart()
                try:
                    self._llm = self._start()
                    self._death = ""
                except UsageError as error:
                    if not self._death:
                        self._failed = error
                    else:
                        self._death = f"the engine died, and could not be started again ({error})"
                        raise
            if self._failed is not None:
                # One for each that is told: an error that is raised again keeps growing.
                raise UsageError(str(self._failed))
            return self._llm

    def _begin_restart(self) -> None:
        """Note a restart after a death; raises `EngineDeadError` where the last one is too near."""
        left = self._restarted + RESTART_SECONDS - self._clock()
        if left > 0:
            raise EngineDeadError(
                f"vllm:{self.settings.model}: {self._death}; set VLLM_LOGGING_LEVEL=INFO to see why. What was answered is "
                f"stored: run the same again, or ask again in {math.ceil(left / 60)} min, when this process starts it anew"
            )
        self._restarted = self._clock()

    async def _rest(self, level: int | None) -> None:
        llm = self._llm
        if llm is None or self._asleep:
            return
        if level is None:
            self._llm = None
            llm.shutdown()
        else:
            await llm.sleep(level=level)
            self._asleep = level

    async def _wake(self) -> None:
        level, self._asleep = self._asleep, None
        if level == 1:
            await self._llm.wake_up()
        elif level == 2:
            # Memory for the weights, the weights from disk, then memory for the cache, as vLLM's guide has it.
            await self._llm.wake_up(tags=["weights"])
            await self._llm.collective_rpc("reload_weights")
            await self._llm.wake_up(tags=["kv_cache"])

    def _died(self, llm: Any) -> None:
        """Note the death of an engine, which all of its requests report; the first of them clears up."""
        if llm is not self._llm:
            return
        self._llm = self._asleep = None
        llm.shutdown(timeout=0)
        self.deaths += 1
        self._death = "the engine died, and again after a restart"

    def _start(self) -> Any:
        """A running engine; blocks until its weights are loaded."""
        name, arguments = f"vllm:{self.settings.model}", json.loads(self.settings.arguments)
        for variable, value in QUIET.items():
            os.environ.setdefault(variable, value)
        warnings.filterwarnings("ignore", module=r"(vllm|torch|transformers)\b")
        try:
            with IMPORTING:
                from vllm import AsyncEngineArgs
                from vllm.platforms import current_platform
                from vllm.v1.engine.async_llm import AsyncLLM
        except ImportError as error:
            raise UsageError(f"vLLM is installed but cannot be loaded here: {_line(error)}") from None
        check_arguments(name, arguments, frozenset(field.name for field in fields(AsyncEngineArgs)))
        if current_platform.is_cpu():
            arguments = on_cpu(arguments)
        self.starts += 1
        try:
            with _variable("PYTHONWARNINGS", UNWARNED):
                # Not held by a name here: vLLM keeps this frame, and the engine must not outlive its stop.
                return AsyncLLM.from_engine_args(
                    AsyncEngineArgs(model=self.settings.model, **(DEFAULTS | arguments))
                )
        except Exception as error:  # noqa: BLE001  vLLM's own kinds of errors are many, and change
            raise UsageError(f"{name}: vLLM cannot start: {_line(error)}") from None

    async def _shut_down(self) -> None:
        llm, self._llm = self._llm, None
        self._failed = UsageError(f"vllm:{self.settings.model}: the engine was stopped")
        if llm is not None:
            llm.shutdown()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()


_ENGINES: dict[Settings, Engine] = {}
_LOCK = threading.Lock()


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    loop.run_forever()
    loop.close()


@contextmanager
def _variable(name: str, value: str) -> Iterator[None]:
    """Set a variable that is not set for the processes that begin meanwhile."""
    if name in os.environ:
        yield
        return
    os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name, None)


def _line(error: Exception) -> str:
    """An error in one line of bearable length."""
    said = " ".join(str(error).split()) or type(error).__name__
    return said if len(said) <= LONGEST else f"{said[: LONGEST - 1]}…"


@atexit.register
def _stop_all() -> None:
    """Stop what is left, so that no process of an engine outlives this one."""
    for engine in list(_ENGINES.values()):
        engine.stop()
