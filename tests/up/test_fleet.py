"""Engines are started, watched, restarted once and stopped with all that they started."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp

from moa.backends.discover import discover_all
from moa.backends.upheld import open_folder, upheld
from moa.graph.bind import Bindings
from moa.spec.loader import read_models
from moa.spec.model import ModelSpec, ModelsSpec
from moa.up.engine import Engine, Patience
from moa.up.fleet import Fleet
from moa.up.launch import plan_launches
from moa.up.ports import hold_ports
from moa.up.shares import plan_shares
from moa.up.wanted import wanted_engines
from tests.up.conftest import Faulty

QUICK = Patience(ready=20.0, poll=0.05, grace=0.5)


def models(*names: str, device: str | None = None) -> ModelsSpec:
    """One engine for each name."""
    return ModelsSpec(
        models={
            name: ModelSpec(name=name, provider="vllm", model=f"of/{name}", device=device or f"gpu{index}")
            for index, name in enumerate(names)
        },
        slots={"x": names[0]},
    )


class Running:
    """A fleet that runs in a task, and what it did."""

    def __init__(self, fleet: Fleet, states: Sequence[tuple[str, str]]) -> None:
        self.fleet = fleet
        self.states = states
        self.settled = asyncio.Event()
        self.task = asyncio.ensure_future(fleet.run(self.settled.set))

    async def told(self, index: int = 0) -> dict[str, Any]:
        """What an engine says about itself."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self.fleet.launches[index].root}/told") as answer,
        ):
            return dict(await answer.json())

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])


@asynccontextmanager
async def running(
    folder: Path, spec: ModelsSpec, environ: Any, *, patience: Patience = QUICK, sleep: bool = False
) -> AsyncIterator[Running]:
    engines = wanted_engines(spec.models)
    shares = plan_shares(engines, sleep=sleep)
    states: list[tuple[str, str]] = []

    def heard(engine: Engine) -> None:
        states.append((engine.launch.name, engine.state))

    with ExitStack() as stack:
        ports = hold_ports(len(engines), stack)
        launches = plan_launches(engines, ports, shares, python=sys.executable, cpu=False, sleep=sleep)
        made = Fleet(
            spec, launches, folder, folder / "w.yaml", patience=patience, heard=heard, environ=environ
        )
        ran = Running(made, states)
        try:
            async with asyncio.timeout(60):
                await ran.settled.wait()
                yield ran
        finally:
            await ran.stop()


def alive(process: int) -> bool:
    """Whether a process runs; one that has ended and is not yet collected does not."""
    stat = Path(f"/proc/{process}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def until(true: Any) -> None:
    while not true():  # noqa: ASYNC110
        await asyncio.sleep(0.02)


async def test_a_fleet_answers_by_the_names_of_the_file_and_leaves_nothing_behind(
    tmp_path: Path, standin: Faulty
) -> None:
    async with running(tmp_path, models("a", "b"), standin()) as ran:
        told = await ran.told(1)
        written = read_models(tmp_path / "w.yaml").spec
        assert written.slots == {"x": "a"}
        a = written.models["a"]
        assert (a.base_url, a.model, a.device) == (f"{ran.fleet.launches[0].root}/v1", "a", "gpu0")
        assert a.known_price is not None and a.known_price.input == 0
        assert told["devices"] == "1"
        assert alive(told["child"])
        reply = await _ask(tmp_path / "w.yaml")
    assert reply == "a says 1"
    await until(lambda: not alive(told["child"]) and not alive(told["pid"]))
    assert ran.states[-1][1] == "stopped"


async def _ask(file: Path) -> str:
    import moa

    bindings = Bindings.parse(["a"], file)
    async with moa.Runner(models=bindings.models) as runner:
        graph = moa.load("single", models={"a": "a"})
        return (await runner.run(graph, "Why?")).text


async def test_answers_are_known_by_what_is_served_and_not_by_the_port(
    tmp_path: Path, standin: Faulty
) -> None:
    from moa.backends.resolve import identity

    known = []
    for turn, spec in enumerate((models("a"), models("a"), _wider())):
        folder = tmp_path / str(turn)
        folder.mkdir()
        async with running(folder, spec, standin()):
            known.append(identity(read_models(folder / "w.yaml").spec.models["a"]))
    assert known[0] == known[1] != known[2]


def _wider() -> ModelsSpec:
    return ModelsSpec(models={"a": ModelSpec(name="a", provider="vllm", model="of/a", context=99)})


async def test_one_that_dies_at_its_start_is_told_with_its_cause_and_the_others_live(
    tmp_path: Path, standin: Faulty
) -> None:
    async with running(tmp_path, models("a", "b"), standin(a={"dies": True})) as ran:
        [error] = ran.fleet.errors
        assert str(error) == (
            "a: ended before it was ready (exit code 1): ValueError: no weights in the folder; "
            f"its log: {tmp_path / 'a.log'}"
        )
        assert (await ran.told(1))["pid"]
        assert not ran.task.done()


async def test_a_fleet_of_which_every_engine_failed_ends(tmp_path: Path, standin: Faulty) -> None:
    async with running(tmp_path, models("a"), standin(a={"dies": True})) as ran:
        await ran.task
    assert len(ran.fleet.errors) == 1
    assert not (tmp_path / "w.yaml").exists()


async def test_one_that_is_never_healthy_is_given_up_and_killed(tmp_path: Path, standin: Faulty) -> None:
    patience = Patience(ready=2.5, poll=0.05, grace=0.3)
    faults = {"unhealthy": True, "deaf": True}
    async with running(tmp_path, models("a"), standin(a=faults), patience=patience) as ran:
        await ran.task
        [error] = ran.fleet.errors
    assert "was not ready within 2.5 s (--ready-timeout)" in str(error)
    assert "\n" not in str(error)


async def test_a_crash_is_mended_once_at_the_same_address(tmp_path: Path, standin: Faulty) -> None:
    async with running(tmp_path, models("a"), standin(a={"crashes": 1})) as ran:
        first = ran.fleet.launches[0].root
        await until(lambda: [state for _, state in ran.states].count("ready") == 2)
        told = await ran.told()
        assert not ran.fleet.errors
        assert ran.fleet.engines[0].launch.root == first
        assert alive(told["pid"])
    assert [state for _, state in ran.states] == ["starting", "ready", "restarting", "ready", "stopped"]


async def test_the_second_crash_is_final_and_the_others_live_on(tmp_path: Path, standin: Faulty) -> None:
    async with running(tmp_path, models("a", "b"), standin(a={"crashes": 2})) as ran:
        await until(lambda: ran.fleet.errors)
        assert "a: died again after a restart (killed by SIGKILL)" in str(ran.fleet.errors[0])
        assert (await ran.told(1))["pid"]
        assert not ran.task.done()


async def test_one_that_ignores_sigterm_is_killed_with_its_children(tmp_path: Path, standin: Faulty) -> None:
    async with running(tmp_path, models("a"), standin(a={"deaf": True})) as ran:
        told = await ran.told()
    await until(lambda: not alive(told["child"]) and not alive(told["pid"]))


async def test_engines_of_one_device_start_one_after_another(tmp_path: Path, standin: Faulty) -> None:
    async with running(tmp_path, models("a", "b", device="gpu0"), standin(a={"slow": 0.5})) as ran:
        pass
    assert ran.states[:4] == [("a", "starting"), ("a", "ready"), ("b", "starting"), ("b", "ready")]


async def test_stopping_while_they_start_leaves_nothing(tmp_path: Path, standin: Faulty) -> None:
    spec, environ = models("a"), standin(a={"slow": 30})
    engines = wanted_engines(spec.models)
    with ExitStack() as stack:
        launches = plan_launches(
            engines, hold_ports(1, stack), [0.9], python=sys.executable, cpu=False, sleep=False
        )
        fleet = Fleet(spec, launches, tmp_path, tmp_path / "w.yaml", patience=QUICK, environ=environ)
        task = asyncio.ensure_future(fleet.run())
        await until((tmp_path / "a.log").exists)
        await asyncio.sleep(0.3)
        process = fleet.engines[0]._process
        task.cancel()
        await asyncio.wait([task])
    assert process is not None and not alive(process.pid)


async def test_sleeping_engines_take_turns_in_an_ordinary_run(tmp_path: Path, standin: Faulty) -> None:
    import moa

    spec = models("a", "b", device="gpu0")
    async with running(tmp_path, spec, standin(), sleep=True) as ran:
        assert {engine.state for engine in ran.fleet.engines} == {"asleep"}
        bindings = Bindings.parse((), tmp_path / "w.yaml")
        graph = moa.Graph("two")
        drafts = graph.agent("proposer", models=["a", "b"])
        graph.answer = graph.agent("aggregator", model="b", inputs=drafts)
        async with moa.Runner(models=bindings.models) as runner:
            reply = await runner.run(graph, "Why?")
        calls = [(await ran.told(index))["calls"] for index in (0, 1)]
    assert reply.text == "b says 2"
    assert [node.state for node in reply.nodes] == ["ok", "ok", "ok"]
    assert not any(
        first.startswith("/sleep") and then.startswith("chat")
        for one in calls
        for first, then in pairwise(one)
    )
    assert calls[0][-1] == "/sleep?level=1" != calls[1][-1] == "chat b"


async def test_what_runs_is_found_and_what_was_killed_is_not(tmp_path: Path, standin: Faulty) -> None:
    environ = standin()
    folder, lock = open_folder(environ)
    with lock:
        async with running(folder, models("a"), environ) as ran:
            [engine] = upheld(environ)
            assert (engine.name, engine.state, engine.models) == ("a", "ready", ("a",))
            found = {finding.name: finding for finding in await discover_all(environ=environ)}
            at = f"{ran.fleet.launches[0].root}/v1"
            assert found["moa up: a"].models == (f"{at}#a",)
            assert str(folder / "w.yaml") in (found["moa up: a"].remedy or "")
    assert (folder / "engines.json").exists()
    assert list(upheld(environ)) == []


def test_a_record_of_another_kind_is_left_out(tmp_path: Path) -> None:
    environ = {**os.environ, "XDG_STATE_HOME": str(tmp_path)}
    folder, lock = open_folder(environ)
    with lock:
        (folder / "engines.json").write_text(json.dumps({"engines": [{"other": 1}]}))
        assert list(upheld(environ)) == []
