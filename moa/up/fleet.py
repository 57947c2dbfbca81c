"""All engines of one `moa up`: started in an order that their devices bear, watched, and stopped together."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from moa.backends.upheld import Upheld, write_record
from moa.backends.wire import open_session
from moa.spec.model import ModelsSpec
from moa.up.engine import ANSWERING, PATIENT, Engine, EngineFailed, Patience
from moa.up.launch import Launch
from moa.up.written import running_models, write_models

if TYPE_CHECKING:
    from aiohttp import ClientSession

Heard = Callable[[Engine], None]


class Fleet:
    """The engines of one supervisor.

    Args:
        models: What the user wrote.
        launches: One a engine.
        folder: Where logs and the record of what runs are kept.
        written: Where the models.yaml of the running engines goes.
        cpu: The engines share the machine's memory, so they start one after another whatever their device.
        patience: How long things may take.
        heard: Called after each change of an engine's state.
        environ: The environment that the engines inherit.
    """

    def __init__(
        self,
        models: ModelsSpec,
        launches: Sequence[Launch],
        folder: Path,
        written: Path,
        *,
        cpu: bool = False,
        patience: Patience = PATIENT,
        heard: Heard = lambda engine: None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self.models = models
        self.launches = launches
        self.folder = folder
        self.written = written
        self.engines: list[Engine] = []
        self._cpu = cpu
        self._patience = patience
        self._heard = heard
        self._environ = environ
        self._devices: dict[str, asyncio.Lock] = {}

    @property
    def errors(self) -> list[EngineFailed]:
        """Why engines failed for good."""
        return [engine.error for engine in self.engines if engine.error is not None]

    async def run(self, settled: Callable[[], None] = lambda: None) -> None:
        """Start all engines and watch them, until every one has failed; cancel it to stop them.

        `settled` is called once each has either come up or failed, and the models.yaml is written.
        """
        async with open_session() as session:
            self.engines = [
                self._engine(launch, index, session) for index, launch in enumerate(self.launches)
            ]
            try:
                async with asyncio.TaskGroup() as group:
                    up = [group.create_task(self._up(engine, group)) for engine in self.engines]
                    await asyncio.wait(up)
                    if any(engine.state in ANSWERING for engine in self.engines):
                        write_models(self.written, running_models(self.models, self.launches))
                    settled()
            finally:
                await asyncio.shield(asyncio.ensure_future(self._stop()))

    def kill(self) -> None:
        """End everything now, without asking."""
        for engine in self.engines:
            engine.kill()

    def _engine(self, launch: Launch, index: int, session: ClientSession) -> Engine:
        log = self.folder / f"{_file_name(launch.name, index)}.log"
        return Engine(
            launch,
            log,
            session,
            patience=self._patience,
            changed=self._change,
            environ=self._environ,
        )

    async def _up(self, engine: Engine, group: asyncio.TaskGroup) -> None:
        """Bring one engine up while no other starts on its devices, which vLLM measures then."""
        async with AsyncExitStack() as alone:
            for place in self._places(engine.launch):
                await alone.enter_async_context(self._devices.setdefault(place, asyncio.Lock()))
            try:
                await engine.start()
            except EngineFailed:
                return
        group.create_task(_watched(engine))

    def _places(self, launch: Launch) -> list[str]:
        return [""] if self._cpu else sorted(launch.engine.gpus)

    def _change(self, engine: Engine) -> None:
        write_record(self.folder, [_upheld(one, self.written) for one in self.engines])
        self._heard(engine)

    async def _stop(self) -> None:
        async with asyncio.TaskGroup() as group:
            for engine in self.engines:
                group.create_task(engine.stop())


async def _watched(engine: Engine) -> None:
    """Its last failure is kept by the engine; the others live on."""
    try:
        await engine.watch()
    except EngineFailed:
        return


def _upheld(engine: Engine, written: Path) -> Upheld:
    launch = engine.launch
    models = (*launch.engine.names, *launch.engine.adapters)
    return Upheld(launch.name, f"{launch.root}/v1", engine.state, models, str(written))


def _file_name(name: str, index: int) -> str:
    """A name for a log that two engines never share."""
    safe = re.sub(r"[^\w.-]+", "-", name)
    return safe if safe == name else f"{safe}-{index}"
