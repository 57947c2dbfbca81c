"""A folder in which the blocks of a page are run one after another, as a reader would."""

from __future__ import annotations

import ast
import asyncio
import inspect
import io
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from contextlib import ExitStack
from doctest import ELLIPSIS, NORMALIZE_WHITESPACE, OutputChecker
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from moa.backends.providers import PRESETS
from moa.cli import main
from moa.spec.registry import BACKENDS, SELECTORS
from tests.support.background import in_background
from tests.support.faults import FaultServer
from tests.support.snippets import ROOT, Call, Snippet, calls
from tests.support.standins import stand_ins

OTHERS = frozenset({"export", "git", "make", "pip", "pipx", "pre-commit", "python", "sqlite3", "."})
"""Commands that pages show beside `moa`, and that are not run."""
DATA = frozenset({"jsonl", "csv", "text"})
SHELL = frozenset("|<>;&`$=")
WIDTH = "100"
_TIME = re.compile(r"\b\d[\d.,]* m?s\b")
_RULE = re.compile("─+")
"""As wide as the table above it, in which times stand."""


class Ran(NamedTuple):
    """How a command ended, and what it wrote: first to standard error, then to standard output."""

    code: int
    output: str


class Workplace:
    """Runs blocks in `folder`; what one leaves there, the next one finds."""

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.folder = folder
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        self._names: dict[str, Any] = {"__name__": "snippet"}
        for variable in filter(None, (name for p in PRESETS.values() for name in (p.key_env, p.base_env))):
            monkeypatch.delenv(variable, raising=False)
        for variable, value in {"COLUMNS": WIDTH, "HF_HUB_OFFLINE": "1", "MOA_STORE": "moa.sqlite"}.items():
            monkeypatch.setenv(variable, value)
        monkeypatch.chdir(folder)
        monkeypatch.setattr(SELECTORS, "_registered", dict(SELECTORS._registered))
        monkeypatch.setattr(BACKENDS, "_registered", dict(BACKENDS._registered))
        monkeypatch.setattr(sys, "path", [str(folder), *sys.path])

    def simulate(self) -> None:
        """Let simulated models answer in the place of all that need a key, a server or weights."""
        for name, backend in stand_ins().items():
            BACKENDS.register(name, backend)

    def run(self, snippet: Snippet) -> list[str]:
        """Run one block; what is wrong with it, in words."""
        with ExitStack() as stack:
            if address := snippet.notes.get("server"):
                server = stack.enter_context(in_background(FaultServer()))
                snippet = snippet._replace(text=snippet.text.replace(address, server.url))
            if snippet.file:
                path = self.folder / snippet.file
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(snippet.text, encoding="utf-8")
            return self._run(snippet)

    def _run(self, snippet: Snippet) -> list[str]:
        match snippet.language:
            case "python":
                return self._python(snippet)
            case "sh" | "console":
                return [wrong for call in calls(snippet) for wrong in self._shell(snippet, call)]
            case "yaml":
                return self._yaml(snippet)
            case "toml":
                tomllib.loads(snippet.text)
            case "json":
                json.loads(snippet.text)
            case language if language not in DATA:
                return [f"{snippet}: nobody knows how to check a block of {language!r}"]
        return []

    def _python(self, snippet: Snippet) -> list[str]:
        """Run a block, with `await` at the top level; names live on for the page's next blocks."""
        source = "\n" * snippet.line + snippet.text
        try:
            code = compile(source, str(snippet), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            result = eval(code, self._names)
            if inspect.iscoroutine(result):
                asyncio.run(_awaited(result))
        except Exception as error:  # noqa: BLE001  whatever a page's code raises is that page's mistake
            return [f"{snippet}: {type(error).__name__}: {error}"]
        return []

    def _yaml(self, snippet: Snippet) -> list[str]:
        """Validate a file of ours; what is shown of another program's file need only be YAML."""
        path = self.folder / (snippet.file or "shown.yaml")
        path.write_text(snippet.text, encoding="utf-8")
        ran = self.moa("validate", str(path))
        return [f"{snippet}: {ran.output}"] if ran.code else []

    def _shell(self, snippet: Snippet, call: Call) -> list[str]:
        words = shlex.split(call.text, comments=True)
        program = next((word for word in words if "=" not in word), "")
        place = f"{snippet.page.relative_to(ROOT)}:{call.line}"
        if program != "moa" and " moa " not in call.text:
            return [] if program in OTHERS else [f"{place}: {program!r} is neither moa nor a known command"]
        ran = self._in_shell(call.text) if SHELL & set(_unquoted(call.text)) else self.moa(*words[1:])
        expected = int(snippet.notes.get("exit", 0))
        if ran.code != expected:
            return [f"{place}: left with {ran.code}, not {expected}: {ran.output}"]
        if call.shown and snippet.notes.get("output") != "varies" and not _alike(call.shown, ran.output):
            return [f"{place}: the page shows\n{call.shown}\nand this came:\n{ran.output}"]
        return []

    def moa(self, *arguments: str) -> Ran:
        """Call `moa` in this process, with nothing on standard input."""
        self._capsys.readouterr()
        self._monkeypatch.setattr(sys, "argv", ["moa", *arguments])
        self._monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
        with pytest.raises(SystemExit) as left:
            main()
            sys.exit(0)
        out, err = self._capsys.readouterr()
        return Ran(int(left.value.code or 0), err + out)

    def _in_shell(self, command: str) -> Ran:
        """Call `moa` by a shell, for what only a shell can do: pipes, redirections, variables."""
        programs = self.folder / ".programs"
        programs.mkdir(exist_ok=True)
        shim = programs / "moa"
        shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tests.support.standins "$@"\n')
        shim.chmod(0o755)
        paths = {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            env=os.environ | paths,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=60,
            check=False,
        )
        return Ran(done.returncode, done.stderr + done.stdout)


async def _awaited(result: Any) -> None:
    await result


def _unquoted(command: str) -> str:
    """The parts of a command that a shell reads itself: outside of quotes and before a comment."""
    lexer = shlex.shlex(command, posix=False, punctuation_chars=True)
    lexer.whitespace_split = True
    bare = [token for token in lexer if token[:1] not in "\"'"]
    # An option's own `a=MODEL` is not an assignment.
    return " ".join(bare[:1] + [token.replace("=", "") for token in bare[1:]])


def _alike(shown: str, output: str) -> bool:
    """Whether an output is the one on the page, where `...` stands for anything and times may differ."""
    shown, output = (_TIME.sub("TIME", _RULE.sub("─", text)) for text in (shown, output))
    return OutputChecker().check_output(shown, output, ELLIPSIS | NORMALIZE_WHITESPACE)
