"""llama.cpp's server inside this process, shared by everything that asks one file of weights."""

from __future__ import annotations

import asyncio
import atexit
import os
import secrets
import threading
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from moa.backends.gguf import Header
from moa.errors import UsageError

KV_BYTES = 512 << 20
"""Memory for the shared KV cache, unless the model needs more for a single question."""
LEAST_CELLS = 4096
_STEP = 256
"""llama.cpp rounds the cache up to a multiple of this; rounding down first keeps within the budget."""
PROMPT_CACHE_MIB = 128
PROMPT_BATCH = 256
"""Tokens of prompts that are read at a time; a request that was given up stops between two such batches."""


class Settings(NamedTuple):
    """What makes one server different from another; equal settings share one."""

    path: Path
    alias: str
    slots: int
    """Sequences that are computed at once."""
    cells: int
    """Tokens that the shared KV cache holds, over all slots."""
    threads: int


def cells_for(header: Header, slots: int) -> int:
    """KV cells for a model: what `KV_BYTES` hold, at least one short window, at most all windows."""
    window = header.context or LEAST_CELLS
    affordable = KV_BYTES // header.token_bytes // _STEP * _STEP
    return min(slots * window, max(min(window, LEAST_CELLS), affordable))


def cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(slots=True)
class _Waiter:
    need: int
    loop: asyncio.AbstractEventLoop
    granted: asyncio.Future[None]
    has_room: bool = False


@dataclass(slots=True)
class Room:
    """Cells of a KV cache that requests share, lent first come, first served.

    llama.cpp fails every request under way when the shared cache runs full, so a request waits here
    until it certainly fits. Usable from several event loops at once.
    """

    total: int
    _free: int = field(init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _waiting: deque[_Waiter] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self._free = self.total

    async def take(self, need: int) -> int:
        """Wait for room; returns what is to be given back (at most all there is)."""
        need = min(need, self.total)
        loop = asyncio.get_running_loop()
        with self._lock:
            if not self._waiting and need <= self._free:
                self._free -= need
                return need
            waiter = _Waiter(need, loop, loop.create_future())
            self._waiting.append(waiter)
        try:
            await waiter.granted
        except asyncio.CancelledError:
            self._leave(waiter)
            raise
        return need

    def give(self, cells: int) -> None:
        """Give back what `take` returned."""
        with self._lock:
            self._free += cells
            self._serve()

    def _leave(self, waiter: _Waiter) -> None:
        with self._lock:
            if waiter.has_room:
                self._free += waiter.need
            else:
                self._waiting.remove(waiter)
            self._serve()

    def _serve(self) -> None:
        while self._waiting and self._waiting[0].need <= self._free:
            waiter = self._waiting.popleft()
            self._free -= waiter.need
            waiter.has_room = True
            waiter.loop.call_soon_threadsafe(_grant, waiter.granted)


def _grant(granted: asyncio.Future[None]) -> None:
    if not granted.done():
        granted.set_result(None)


class Engine:
    """One server, counted by those who use it and stopped by the last of them.

    It listens on the loopback interface, on a port that the system picks, and answers only to a key
    that never leaves this process.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.key = secrets.token_urlsafe(32)
        self.room = Room(settings.cells)
        self.address = ""
        self._users = 0
        self._server: Any = None
        self._starting = threading.Lock()

    @classmethod
    def share(cls, settings: Settings) -> Engine:
        """The engine with these settings, one more user counted; it is not started yet."""
        with _LOCK:
            engine = _ENGINES.get(settings)
            if engine is None:
                engine = _ENGINES[settings] = cls(settings)
            engine._users += 1
            return engine

    async def start(self) -> str:
        """Start the server unless it runs; returns its address.

        llama.cpp holds the interpreter for the second that loading takes, whichever thread it is in.

        Raises:
            UsageError: for weights that llama.cpp refuses, and where llama.cpp itself does not run.
        """
        return self.address or await asyncio.to_thread(self._start)

    async def release(self) -> None:
        """One user fewer; the last one stops the server."""
        with _LOCK:
            self._users -= 1
            last = self._users == 0
            if last:
                del _ENGINES[self.settings]
        if last:
            await asyncio.to_thread(self.stop)

    def stop(self) -> None:
        """Stop the server and free its memory."""
        with self._starting:
            self._server, self.address = None, ""

    def _start(self) -> str:
        with self._starting:
            if self._server is None:
                self._server = _serve(self.settings, self.key)
                self.address = str(self._server.listening_address)
            return self.address


_ENGINES: dict[Settings, Engine] = {}
_LOCK = threading.Lock()


def _serve(settings: Settings, key: str) -> Any:
    # OpenMP's threads spin while they wait, unless told otherwise before the library is loaded; beside
    # any other busy process that costs a factor of 30.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        import xllamacpp

        return xllamacpp.Server(_parameters(xllamacpp.CommonParams(), settings, key))
    except ImportError as error:
        raise UsageError(f"xllamacpp is installed but cannot be loaded here: {error}") from None
    except RuntimeError:
        raise UsageError(
            f"llama.cpp cannot load {settings.path}: is the file whole, and is its kind of model supported?"
        ) from None


def _parameters(parameters: Any, settings: Settings, key: str) -> Any:
    parameters.model.path = str(settings.path)
    parameters.model_alias = {settings.alias}
    parameters.n_parallel = settings.slots
    parameters.n_ctx = settings.cells
    parameters.kv_unified = True
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = settings.threads
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    parameters.api_keys = [key]
    parameters.cache_ram_mib = PROMPT_CACHE_MIB
    parameters.n_batch = PROMPT_BATCH
    parameters.ui = False
    parameters.warmup = False
    parameters.verbosity = -1
    return parameters


@atexit.register
def _stop_all() -> None:
    """Stop what is left before the interpreter takes the libraries apart."""
    for engine in list(_ENGINES.values()):
        engine.stop()
