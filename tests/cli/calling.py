"""Calling `moa` as a shell does: arguments in, exit code and both streams out."""

from __future__ import annotations

import sys
from typing import NamedTuple

import pytest

from moa.cli import main


class Called(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


class Caller:
    """Calls `moa` in this process; `terminal` lets it believe that a person watches standard output."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, *arguments: str, terminal: bool = False) -> Called:
        self._monkeypatch.setattr(sys, "argv", ["moa", *arguments])
        self._monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
        with pytest.raises(SystemExit) as left:
            main()
            sys.exit(0)
        out, err = self._capsys.readouterr()
        return Called(int(left.value.code or 0), out, err)
