"""Calling `moa` in a process of its own, as a shell does, and in this one where speed matters."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pytest

from moa.backends.providers import PRESETS
from moa.run.retry import RetryPolicy
from tests.cli.calling import Called, Caller


def clean_environment(folder: Path) -> dict[str, str]:
    """No provider's key, and a store in `folder`."""
    keys = {preset.key_env for preset in PRESETS.values()} | {preset.base_env for preset in PRESETS.values()}
    kept = {name: value for name, value in os.environ.items() if name not in keys}
    return {**kept, "MOA_STORE": str(folder / "store.sqlite"), "PYTHONUNBUFFERED": "1"}


class Shell:
    """Runs `python -m moa ...` in `folder`; any traceback fails the test."""

    def __init__(self, folder: Path, **environ: str) -> None:
        self.folder = folder
        self.environ: Mapping[str, str] = {**clean_environment(folder), **environ}

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """A process whose streams are pipes."""
        return subprocess.Popen(
            [sys.executable, "-m", "moa", *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            cwd=self.folder, env=self.environ,
        )  # fmt: skip

    def __call__(self, *arguments: str, stdin: str | bytes = "") -> Called:
        with self.start(*arguments) as process:
            out, err = process.communicate(stdin.encode() if isinstance(stdin, str) else stdin, timeout=60)
        called = Called(process.returncode, out.decode(), err.decode())
        assert "Traceback" not in called.err, called.err
        return called


class Here(Caller):
    """Calls `moa` in this process, in an empty folder, with retries that hardly wait."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path
    ) -> None:
        super().__init__(monkeypatch, capsys)
        for name in set(os.environ) - set(clean_environment(folder)):
            monkeypatch.delenv(name)
        monkeypatch.setenv("MOA_STORE", str(folder / "store.sqlite"))
        monkeypatch.setenv("COLUMNS", "200")
        monkeypatch.chdir(folder)
        monkeypatch.setattr("moa.run.retry.RetryPolicy", partial(RetryPolicy, base=0.001))
        self.folder = folder

    def typed(self, text: str | bytes, *arguments: str) -> Called:
        """A call with `text` on standard input."""
        content = text.encode() if isinstance(text, str) else text
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))
            return self(*arguments)


def one_line(called: Called, code: int) -> str:
    """The only line of a failed call, which says what went wrong; nothing was answered."""
    assert called.code == code, called
    assert called.out == ""
    assert called.err.count("\n") == 1, called.err
    return called.err.rstrip("\n")
