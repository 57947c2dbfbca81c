"""What can be asked from here is really checked, and what cannot says what to do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from moa.backends import discover as discovery
from moa.backends.discover import Finding, discover_all, with_key, without_key
from moa.backends.providers import PRESETS
from moa.spec.model import ModelSpec
from tests.support.faults import Exchange, FaultServer, status

KEY = "sk-proj-abcDEF123456ghiJKL789"


@pytest.fixture(autouse=True)
def only_what_the_test_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """No server of this machine counts, but those of the environment."""
    monkeypatch.setattr(discovery, "_at", lambda url: ModelSpec(name=url, base_url="http://127.0.0.1:9/v1"))


def away(**environ: str) -> Mapping[str, str]:
    return {
        "OLLAMA_HOST": "127.0.0.1:9",
        "LMSTUDIO_BASE_URL": "http://127.0.0.1:9",
        "XDG_STATE_HOME": "/nonexistent",
    } | environ


async def found(
    models: Mapping[str, ModelSpec] | None = None, environ: Mapping[str, str] | None = None
) -> dict[str, Finding]:
    findings = await discover_all(models or {}, environ or away())
    assert all("\n" not in (finding.remedy or "") for finding in findings)
    assert all(finding.ready or finding.remedy for finding in findings)
    assert KEY not in repr(findings)
    return {finding.name: finding for finding in findings}


async def test_servers_that_are_not_running_say_how_to_start_them() -> None:
    findings = await found()
    assert list(findings) == ["embedded", "vLLM", "llama.cpp", "Ollama", "LM Studio"]
    assert findings["vLLM"].remedy == "not running; start it with `vllm serve MODEL`"
    assert not findings["Ollama"].ready


async def test_a_server_lists_names_that_can_be_used() -> None:
    async with FaultServer(models=["llama3.1", "qwen3:8b"]) as server:
        findings = await found(environ=away(OLLAMA_HOST=server.root))
    assert findings["Ollama"] == Finding("Ollama", server.url, True, ("ollama:llama3.1", "ollama:qwen3:8b"))


async def test_a_server_without_models_says_how_to_get_one() -> None:
    async with FaultServer(models=[]) as server:
        finding = (await found(environ=away(OLLAMA_HOST=server.root)))["Ollama"]
    assert finding.ready and "ollama pull" in (finding.remedy or "")


async def test_something_else_on_the_port_is_not_taken_for_a_server() -> None:
    async with FaultServer() as server:
        finding = (await found(environ=away(OLLAMA_HOST=f"{server.root}/other")))["Ollama"]
    assert not finding.ready and "not as Ollama" in (finding.remedy or "")


async def test_a_silent_server_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "SECONDS", 0.1)

    async def silent(self: FaultServer, exchange: Exchange) -> None:
        import asyncio

        await asyncio.sleep(60)

    monkeypatch.setattr(FaultServer, "_other", silent)
    async with FaultServer() as server:
        environ = away(OLLAMA_HOST=server.root, OPENAI_BASE_URL=server.url, OPENAI_API_KEY=KEY)
        findings = await found({"mine": ModelSpec(base_url=server.url)}, environ)
    assert all("no answer" in (findings[name].remedy or "") for name in ("Ollama", "openai", "mine"))


async def test_providers_whose_key_is_set_are_asked_with_it() -> None:
    async with FaultServer(models=["gpt-9"]) as server:
        findings = await found(environ=away(OPENAI_BASE_URL=server.url, OPENAI_API_KEY=KEY))
        assert findings["openai"].models == ("openai:gpt-9",)
        assert server.others[0].headers["authorization"] == f"Bearer {KEY}"


async def test_anthropic_wants_headers_of_its_own() -> None:
    async with FaultServer() as server:
        findings = await found(environ=away(ANTHROPIC_BASE_URL=server.root, ANTHROPIC_API_KEY=KEY))
        assert findings["anthropic"].ready
        assert server.others[0].headers["x-api-key"] == KEY


async def test_a_wrong_key_is_found_even_where_the_list_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = FaultServer._other

    async def closed(self: FaultServer, exchange: Exchange) -> None:
        if exchange.seen.path == "/v1/key":
            return await status(401, f"No auth for {KEY}")(exchange)
        return await answer(self, exchange)

    monkeypatch.setattr(FaultServer, "_other", closed)
    async with FaultServer() as server:
        findings = await found(environ=away(OPENROUTER_BASE_URL=server.url, OPENROUTER_API_KEY=KEY))
    assert not findings["openrouter"].ready
    assert "OPENROUTER_API_KEY" in (findings["openrouter"].remedy or "")


async def test_entries_are_checked_one_by_one(tmp_path: Path) -> None:
    recording = tmp_path / "a.jsonl"
    recording.write_text("")
    async with FaultServer(models=["real-model"]) as server:
        models = {
            "good": ModelSpec(base_url=server.url, model="real-model"),
            "typo": ModelSpec(base_url=server.url, model="reel-model"),
            "keyless": ModelSpec(base_url=server.url, key_env="NO_SUCH_KEY", model="real-model"),
            "gone": ModelSpec(base_url="http://127.0.0.1:9/v1", model="x"),
            "acme": ModelSpec(provider="acme", model="x"),
            "odd": ModelSpec(base_url=server.url, options={"stal": 1}),
            "weights": ModelSpec(provider="local", file=str(tmp_path / "none.gguf")),
        }
        findings = await found(models)
    assert findings["good"] == Finding("good", server.url, True, ("good",))
    words = {
        "typo": "does not list 'reel-model'; it has real-model",
        "keyless": "NO_SUCH_KEY",
        "gone": "is the server running",
        "acme": "base_url",
        "odd": "stal",
        "weights": "none.gguf",
    }
    for name, said in words.items():
        assert not findings[name].ready and said in (findings[name].remedy or ""), findings[name]


async def test_nothing_is_downloaded_to_find_out(tmp_path: Path) -> None:
    environ = away(MOA_SMOLLM2_135M_PATH=str(tmp_path / "none.gguf"), XDG_CACHE_HOME=str(tmp_path))
    finding = (await found(environ=environ))["embedded"]
    assert not finding.ready and "none.gguf" in (finding.remedy or "")


def test_every_hosted_provider_is_with_or_without_a_key() -> None:
    environ = {"OPENAI_API_KEY": KEY, "GROQ_API_KEY": "  "}
    assert with_key(environ) == ["openai"]
    missing = without_key(environ)
    assert missing["groq"] == "GROQ_API_KEY" and "ollama" not in missing
    assert {"openai", *missing} == {name for name, preset in PRESETS.items() if preset.needs_key}
