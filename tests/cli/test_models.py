"""`moa models` shows what can be asked from here, and never a key."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from moa.backends.providers import PRESETS
from tests.cli.calling import Caller
from tests.support.background import in_background
from tests.support.faults import FaultServer

KEY = "sk-proj-abcDEF123456ghiJKL789"


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with in_background(FaultServer(models=["one", "two", "three", "four", "five"])) as server:
        yield server


@pytest.fixture
def moa(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, server: FaultServer
) -> Caller:
    """One provider's key is set, and it and Ollama are at `server`."""
    for preset in PRESETS.values():
        monkeypatch.delenv(preset.key_env or "", raising=False)
    monkeypatch.setenv("GROQ_API_KEY", KEY)
    monkeypatch.setenv("GROQ_BASE_URL", server.url)
    monkeypatch.setenv("OLLAMA_HOST", server.root)
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.chdir(tmp_path)
    return Caller(monkeypatch, capsys)


def test_lines_for_other_programs(moa: Caller, server: FaultServer) -> None:
    called = moa("models")
    rows = {fields[0]: fields[1:] for fields in (line.split("\t") for line in called.out.splitlines())}
    assert called.code == 0
    assert rows["groq"] == [
        "ready",
        server.url,
        "groq:one, groq:two, groq:three, and 2 more (--json lists them)",
        "",
    ]
    assert rows["Ollama"][0] == "ready"
    assert rows["LM Studio"][0] in ("ready", "failed")
    assert "OPENAI_API_KEY (openai)" in called.err and "GROQ_API_KEY" not in called.err
    assert KEY not in called.out + called.err


def test_a_table_for_people(moa: Caller, server: FaultServer) -> None:
    called = moa("models", terminal=True)
    assert called.code == 0
    assert server.url in called.out and "groq:one" in called.out
    assert "OPENAI_API_KEY (openai)" in called.out
    assert KEY not in called.out + called.err


def test_json_holds_everything(moa: Caller, server: FaultServer) -> None:
    called = moa("models", "--json")
    told = json.loads(called.out)
    found = {finding["name"]: finding for finding in told["found"]}
    assert found["groq"] == {
        "name": "groq",
        "where": server.url,
        "ready": True,
        "models": ["groq:one", "groq:two", "groq:three", "groq:four", "groq:five"],
        "remedy": None,
    }
    assert told["without_key"]["openai"] == "OPENAI_API_KEY" and "groq" not in told["without_key"]
    assert KEY not in called.out


def test_entries_of_a_file_are_checked(moa: Caller, server: FaultServer, tmp_path: Path) -> None:
    path = tmp_path / "models.yaml"
    path.write_text(f"models:\n  one:\n    base_url: {server.url}\n  six:\n    base_url: {server.url}\n")
    called = moa("models", "--models", str(path), "--json")
    found = {finding["name"]: finding for finding in json.loads(called.out)["found"]}
    assert called.code == 0
    assert found["one"]["models"] == ["one"]
    assert "does not list 'six'" in found["six"]["remedy"]


def test_a_mistake_in_the_file_has_its_place(moa: Caller, tmp_path: Path) -> None:
    path = tmp_path / "models.yaml"
    path.write_text("models:\n  one:\n    base_ur: http://h/v1\n")
    called = moa("models", "--models", str(path))
    assert called.code == 2 and called.out == ""
    assert f"{path}:3:5" in called.err
