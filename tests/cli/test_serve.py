"""`moa serve`: mistakes before anything listens, and a server that starts, answers and leaves."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.cli.calling import Caller

KEY = "sk-moa-0123456789abcdef"


@pytest.fixture
def moa(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Caller:
    return Caller(monkeypatch, capsys)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["--host", "0.0.0.0"], "needs keys: add --api-key-file", id="open to all"),
        pytest.param(["--host", ""], "needs keys", id="open to all by no name"),
        pytest.param(["--api-key-file", "none"], "cannot be read", id="no keys"),
        pytest.param(["--budget-usd-per-key", "0"], "above 0", id="no budget"),
        pytest.param(["--budget-usd-per-key", "1", "-m", "a=openai:x"], "needs the price", id="no price"),
        pytest.param(["-m", "z=sim:"], "no graph has a slot `z`; their slots: a", id="unknown slot"),
        pytest.param(["single"], "already; rename one", id="twice"),
        pytest.param(["nowhere"], "nowhere", id="unknown graph"),
        pytest.param(["--no-store", "--store", "x"], "exclude each other", id="two stores"),
    ],
)
def test_a_mistake_is_told_before_anything_listens(moa: Caller, arguments: list[str], said: str) -> None:
    called = moa("serve", "single", *arguments)
    assert called.code == 2 and said in called.err and "Traceback" not in called.err


def start(folder: Path, *arguments: str) -> tuple[subprocess.Popen[str], str]:
    """A server on a free port, and its address."""
    line = [sys.executable, "-m", "moa", "serve", *arguments, "--port", "0"]
    environment = {**os.environ, "MOA_STORE": str(folder / "store.sqlite")}
    server = subprocess.Popen(
        line, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert server.stderr is not None
    for told in server.stderr:
        if found := re.search(r"http://\S+(?=/v1)", told):
            return server, found[0]
    raise AssertionError("it did not start")


def ask(address: str, path: str, body: Any = None) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    headers = {"content-type": "application/json", "authorization": f"Bearer {KEY}"}
    request = urllib.request.Request(f"{address}{path}", data, headers)
    with urllib.request.urlopen(request, timeout=30) as response:
        return response.status, json.load(response)


def test_a_server_starts_answers_and_leaves(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"ann {KEY}\n")
    models = ["-m", "a=sim:skill=0.9", "-m", "sim:skill=0.5", "--models-too"]
    server, address = start(tmp_path, "single", "moa-lite", *models, "--api-key-file", "keys")
    try:
        _, listed = ask(address, "/v1/models")
        messages = [{"role": "user", "content": "Why?"}]
        asked = {"model": "moa-lite", "messages": messages, "max_tokens": 20}
        status, reply = ask(address, "/v1/chat/completions", asked)
        _, plain = ask(address, "/v1/chat/completions", asked | {"model": "sim:skill=0.9"})
    finally:
        server.send_signal(signal.SIGTERM)
        out, err = server.communicate(timeout=30)
    assert [model["id"] for model in listed["data"]] == [
        "single",
        "moa-lite",
        "sim:skill=0.9",
        "sim:skill=0.5",
    ]
    assert status == 200 and reply["choices"][0]["message"]["content"]
    assert plain["usage"]["completion_tokens"] < reply["usage"]["completion_tokens"]
    lines = [json.loads(line) for line in out.splitlines()]
    assert server.returncode == 0 and [line["key"] for line in lines] == ["ann"] * 3
    assert KEY not in out + err and "Traceback" not in err
