"""The command `moa up`: what it shows, what it refuses, and how it ends, however it is ended."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest
import yaml

from tests.cli.calling import Caller
from tests.support.vllm import ALONE, folder, needs_vllm
from tests.up.conftest import Faulty
from tests.up.test_fleet import alive

TWO = "models:\n  a: {provider: vllm, model: of/a, device: gpu0}\n  b: {provider: vllm, model: of/b, device: gpu1}\n"


@pytest.fixture
def moa(
    standin: Faulty, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Caller:
    (tmp_path / "models.yaml").write_text(TWO)
    monkeypatch.chdir(tmp_path)
    return Caller(monkeypatch, capsys)


@contextmanager
def supervisor(environ: Mapping[str, str], *options: str) -> Iterator[subprocess.Popen[str]]:
    """`moa up` in a process of its own, which writes `w.yaml`."""
    command = [sys.executable, "-m", "moa", "up", "models.yaml", "--write", "w.yaml", *options]
    process = subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def until(true: Callable[[], object], seconds: float = 40.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "this takes too long"
        time.sleep(0.03)


def processes(file: Path) -> list[int]:
    """The engines of a written file, and what they started."""
    found: list[int] = []
    for entry in yaml.safe_load(file.read_text())["models"].values():
        with urlopen(entry["base_url"].removesuffix("v1") + "told") as answer:
            told = json.load(answer)
        found += [told["pid"], told["child"]]
    return found


def test_a_dry_run_shows_commands_ports_and_shares_and_starts_nothing(moa: Caller, tmp_path: Path) -> None:
    called = moa("up", "models.yaml", "--dry-run", "--sleep")
    assert called.code == 0
    name, address, device, share, serves = called.out.splitlines()[0].split("\t")
    assert (name, device, share, serves) == ("a", "gpu0", "share 0.90", "a")
    assert f"--port {address.removesuffix('/v1').rpartition(':')[2]} " in called.out
    assert "env VLLM_NO_USAGE_STATS=1 CUDA_VISIBLE_DEVICES=0 VLLM_SERVER_DEV_MODE=1" in called.out
    assert not (tmp_path / "state").exists()


def test_mistakes_are_one_line(moa: Caller, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        called = moa("up", "models.yaml", "--dry-run", "--port", str(port))
    assert (called.code, called.err.count("\n")) == (2, 1)
    assert f"port {port} is in use" in called.err
    called = moa("up", "models.yaml", "--write", "models.yaml")
    assert called.code == 2 and "is the file that is read" in called.err
    called = moa("up", "models.yaml", "--write", "nowhere/w.yaml")
    assert called.code == 2 and "there is no folder" in called.err
    called = moa("up", "models.yaml", "--ready-timeout", "0")
    assert called.code == 2 and "--ready-timeout must be a number above 0" in called.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_everything(
    moa: Caller, tmp_path: Path, standin: Faulty, number: signal.Signals
) -> None:
    with supervisor(standin()) as process:
        until((tmp_path / "w.yaml").exists)
        started = processes(tmp_path / "w.yaml")
        process.send_signal(number)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 0
    assert f"ready: moa run GRAPH PROMPT --models {tmp_path / 'w.yaml'}" in said
    assert not any(map(alive, started))


def test_no_engine_outlives_a_supervisor_that_was_killed(
    moa: Caller, tmp_path: Path, standin: Faulty
) -> None:
    with supervisor(standin()) as process:
        until((tmp_path / "w.yaml").exists)
        started = processes(tmp_path / "w.yaml")
        assert all(map(alive, started))
        process.kill()
        until(lambda: not any(map(alive, started)))


def test_the_exit_code_tells_that_an_engine_failed(moa: Caller, tmp_path: Path, standin: Faulty) -> None:
    with supervisor(standin(a={"dies": True})) as process:
        until((tmp_path / "w.yaml").exists)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "a: ended before it was ready (exit code 1): ValueError: no weights in the folder" in said
    assert "Traceback" not in said


def test_nothing_is_called_ready_where_every_engine_failed(
    moa: Caller, tmp_path: Path, standin: Faulty
) -> None:
    with supervisor(standin(a={"dies": True}, b={"dies": True})) as process:
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "ready: moa run" not in said
    assert not (tmp_path / "w.yaml").exists()


@needs_vllm
def test_the_real_engine_answers_by_the_entrys_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = {"provider": "vllm", "model": folder(), "context": 1024, "options": {"dtype": "float32"}}
    (tmp_path / "models.yaml").write_text(json.dumps({"models": {"a": small, "b": small}}))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with supervisor({**os.environ, **ALONE}) as process:
        until((tmp_path / "w.yaml").exists, 200)
        moa = Caller(monkeypatch, capsys)
        called = moa("run", "single", "Say hello.", "-m", "b", "--models", "w.yaml", "--json", "--no-store")
        assert called.code == 0, called.err
        assert json.loads(called.out)["answer"]
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 0
