"""From names to models, addresses, keys and identities."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from moa.backends.base import Completion, Emit, Request
from moa.backends.openai import OpenAICompatible
from moa.backends.providers import PRESETS, endpoint, normal_url, provider_url
from moa.backends.resolve import connect, identity, known_providers, model_spec, settle
from moa.errors import ModelNotFoundError, UsageError
from moa.spec.model import ModelSpec
from moa.spec.registry import BACKENDS
from tests.support.faults import FaultServer


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("openai:gpt-5-nano", {"provider": "openai", "model": "gpt-5-nano"}),
        ("openrouter:org/model:free", {"provider": "openrouter", "model": "org/model:free"}),
        ("ollama:llama3.1", {"provider": "ollama", "model": "llama3.1"}),
        ("local:smollm2-135m", {"provider": "local", "model": "smollm2-135m", "file": None}),
        ("local:/some/where/x.gguf", {"provider": "local", "model": "x", "file": "/some/where/x.gguf"}),
        ("replay:outputs.json", {"provider": "replay", "file": "outputs.json"}),
        ("sim:skill=0.8, name=a,fast=true", {"options": {"skill": 0.8, "name": "a", "fast": True}}),
        ("sim:", {"provider": "sim", "options": {}}),
        ("http://LocalHost:8000/v1/#a/b", {"base_url": "http://127.0.0.1:8000/v1", "model": "a/b"}),
        ("https://host:443/v1", {"base_url": "https://host/v1", "model": ""}),
    ],
)
def test_names(name: str, expected: dict[str, Any]) -> None:
    spec = model_spec(name)
    assert spec.name == name
    assert {field: getattr(spec, field) for field in expected} == expected


def test_an_entry_wins_over_a_provider_and_fills_in_its_name() -> None:
    models = {
        "openai:x": ModelSpec(base_url="http://h/v1"),
        "weights": ModelSpec(provider="local", file="a.gguf"),
    }
    assert model_spec("openai:x", models).name == "openai:x"
    assert model_spec("openai:x", models).model == "openai:x"
    assert model_spec("weights", models).model == ""


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gpt-5", ["unknown model 'gpt-5'", "openrouter", "http://host:port/v1#model-id"]),
        ("opnai:gpt-5", ["did you mean 'openai:gpt-5'?"]),
        ("mien", ["did you mean 'mine'?", "models.yaml has mine"]),
        ("openai:", ["names no model"]),
        ("http:", ["unknown model"]),
        ("sim:0.8", ["option=value"]),
        ("http://user:hunter2@host/v1#m", ["key_env"]),
        ("http://host:99999/v1", ["not an address"]),
        ("http://host/v1?api_key=hunter2#m", ["on host", "key_env"]),
        ("http:///v1", ["not an HTTP address"]),
    ],
)
def test_mistakes_say_what_to_do(name: str, words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        model_spec(name, {"mine": ModelSpec(provider="openai")})
    assert "\n" not in str(caught.value)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_preset_is_a_usable_address(name: str) -> None:
    preset = PRESETS[name]
    assert normal_url(preset.base_url) == preset.base_url
    local = urlsplit(preset.base_url).hostname == "127.0.0.1"
    assert preset.base_url.startswith("http://" if local else "https://")
    assert preset.needs_key is not local
    assert preset.key_env or not preset.needs_key
    assert name in known_providers()


@pytest.mark.parametrize(
    ("provider", "environ", "url"),
    [
        ("openai", {}, "https://api.openai.com/v1"),
        ("openai", {"OPENAI_BASE_URL": "http://proxy:1/v1/"}, "http://proxy:1/v1"),
        ("anthropic", {"ANTHROPIC_BASE_URL": "https://proxy"}, "https://proxy/v1"),
        ("groq", {"GROQ_BASE_URL": "https://proxy"}, "https://proxy/openai/v1"),
        ("ollama", {"OLLAMA_HOST": "0.0.0.0"}, "http://127.0.0.1:11434/v1"),
        ("ollama", {"OLLAMA_HOST": "box:7"}, "http://box:7/v1"),
        ("ollama", {"OLLAMA_HOST": "https://box"}, "https://box/v1"),
    ],
)
def test_variables_move_a_provider(provider: str, environ: dict[str, str], url: str) -> None:
    assert provider_url(provider, environ) == url


def test_a_provider_without_an_address_is_refused() -> None:
    with pytest.raises(UsageError, match="base_url"):
        provider_url("acme")


def test_an_address_of_ones_own_never_gets_a_providers_key() -> None:
    assert endpoint(model_spec("http://host/v1#m")).key_env is None
    assert endpoint(ModelSpec(base_url="http://host/v1", key_env="MINE")).key_env == "MINE"
    assert endpoint(ModelSpec(base_url="http://host/v1", key_env="MINE")).needs_key


class Plugin:
    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec

    async def complete(self, request: Request, emit: Emit | None = None) -> Completion:
        raise NotImplementedError

    async def aclose(self) -> None:
        pass


def test_a_simulated_member_takes_no_key_either() -> None:
    with pytest.raises(UsageError, match="a key never goes into a file") as caught:
        model_spec("sim:key=sk-1234567890abcdef")
    assert "sk-1234567890abcdef" not in str(caught.value)


async def test_connect_prefers_registered_backends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKENDS._registered, "acme", Plugin)
    backend = connect(model_spec("acme:rocket"))
    assert isinstance(backend, Plugin) and backend.spec.model == "rocket"
    assert isinstance(connect(model_spec("http://host/v1#m")), OpenAICompatible)
    assert isinstance(connect(model_spec("mistral:m")), OpenAICompatible)


def test_options_of_an_http_model_are_checked() -> None:
    with pytest.raises(UsageError, match="stal"):
        connect(ModelSpec(name="m", base_url="http://host/v1", options={"stal": 3}))


def test_two_names_of_one_model_have_one_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    assert identity(model_spec("openai:m")) == identity(model_spec("https://API.openai.com:443/v1/#m"))


def test_whatever_decides_the_answers_is_in_the_identity() -> None:
    base = ModelSpec(name="a", base_url="http://h/v1", model="m")
    others = [
        base.model_copy(update={"base_url": "http://h2/v1"}),
        base.model_copy(update={"model": "m2"}),
        base.model_copy(update={"body": {"x": 1}}),
        base.model_copy(update={"max_output": 5}),
        ModelSpec(provider="sim", options={"skill": 0.1}),
        ModelSpec(provider="sim", options={"skill": 0.2}),
        ModelSpec(provider="replay", file="a"),
        ModelSpec(provider="replay", file="b"),
    ]
    assert len({identity(spec) for spec in [base, *others]}) == len(others) + 1
    same = base.model_copy(update={"name": "b", "key_env": "K", "context": 5})
    assert identity(same) == identity(base)


def test_a_recording_that_changes_is_another_model(tmp_path: Path) -> None:
    first, second, weights = tmp_path / "a.json", tmp_path / "b.json", tmp_path / "w.gguf"
    first.write_text("[]")
    second.write_text("[]")
    weights.write_bytes(b"GGUF")
    before = identity(model_spec(f"replay:{first}"))
    assert before == identity(model_spec(f"replay:{second}"))
    first.write_text("[1]")
    assert before != identity(model_spec(f"replay:{first}"))
    old = identity(model_spec(f"local:{weights}"))
    weights.write_bytes(b"GGUF, requantised")
    assert old != identity(model_spec(f"local:{weights}"))


async def test_an_address_alone_means_the_only_model() -> None:
    async with FaultServer(models=["the/one"]) as server:
        spec = model_spec(server.url)
        with pytest.raises(UsageError, match="names no model"):
            identity(spec)
        settled = await settle(spec)
        assert settled.model == "the/one"
        assert identity(settled) == identity(model_spec(f"{server.url}#the/one"))


async def test_several_models_must_be_chosen_from() -> None:
    async with FaultServer(models=["a", "b"]) as server:
        with pytest.raises(ModelNotFoundError, match=r"2 models \(a, b\)"):
            await settle(model_spec(server.url))
