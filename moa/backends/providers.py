"""The services and servers that are known by name: where they are and which variable holds their key."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit, urlunsplit

from moa.errors import UsageError
from moa.spec.model import ModelSpec

LOOPBACK = {"localhost", "127.0.0.1", "::1"}


class Preset(NamedTuple):
    """A provider with an OpenAI-compatible API."""

    base_url: str
    key_env: str | None = None
    """The variable that holds the key."""
    base_env: str | None = None
    """The variable that moves the API elsewhere; without a path it keeps the preset's path."""
    needs_key: bool = True
    most: int | None = None
    """The largest `n` that one request may ask for, where it is documented."""
    check: str | None = None
    """A path that wants the key, where the list of models does not."""
    listing_headers: Mapping[str, str] = {}
    """What else GET /models wants; `{key}` stands for the key."""
    seed_field: str = "seed"
    length_field: str = "max_tokens"


PRESETS: Mapping[str, Preset] = {
    "anthropic": Preset(
        "https://api.anthropic.com/v1",
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_BASE_URL",
        most=1,
        listing_headers={"x-api-key": "{key}", "anthropic-version": "2023-06-01"},
    ),
    "cerebras": Preset("https://api.cerebras.ai/v1", "CEREBRAS_API_KEY", "CEREBRAS_BASE_URL"),
    "deepinfra": Preset("https://api.deepinfra.com/v1/openai", "DEEPINFRA_API_KEY", "DEEPINFRA_BASE_URL"),
    "deepseek": Preset("https://api.deepseek.com/v1", "DEEPSEEK_API_KEY", "DEEPSEEK_BASE_URL", most=1),
    "fireworks": Preset("https://api.fireworks.ai/inference/v1", "FIREWORKS_API_KEY", "FIREWORKS_BASE_URL"),
    "gemini": Preset(
        "https://generativelanguage.googleapis.com/v1beta/openai", "GEMINI_API_KEY", "GEMINI_BASE_URL"
    ),
    "groq": Preset("https://api.groq.com/openai/v1", "GROQ_API_KEY", "GROQ_BASE_URL", most=1),
    "huggingface": Preset("https://router.huggingface.co/v1", "HF_TOKEN", "HUGGINGFACE_BASE_URL"),
    "lmstudio": Preset("http://127.0.0.1:1234/v1", None, "LMSTUDIO_BASE_URL", needs_key=False),
    "mistral": Preset(
        "https://api.mistral.ai/v1", "MISTRAL_API_KEY", "MISTRAL_BASE_URL", seed_field="random_seed"
    ),
    "nvidia": Preset("https://integrate.api.nvidia.com/v1", "NVIDIA_API_KEY", "NVIDIA_BASE_URL"),
    "ollama": Preset("http://127.0.0.1:11434/v1", "OLLAMA_API_KEY", "OLLAMA_HOST", needs_key=False, most=1),
    "openai": Preset(
        "https://api.openai.com/v1",
        "OPENAI_API_KEY",
        "OPENAI_BASE_URL",
        length_field="max_completion_tokens",
    ),
    "openrouter": Preset(
        "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY", "OPENROUTER_BASE_URL", check="key"
    ),
    "together": Preset("https://api.together.xyz/v1", "TOGETHER_API_KEY", "TOGETHER_BASE_URL"),
    "xai": Preset("https://api.x.ai/v1", "XAI_API_KEY", "XAI_BASE_URL"),
}


class Endpoint(NamedTuple):
    """Where one model is asked, and how its key is found; never the key itself."""

    base_url: str
    key_env: str | None
    needs_key: bool
    preset: Preset


def endpoint(spec: ModelSpec, environ: Mapping[str, str] = os.environ) -> Endpoint:
    """Where `spec` is asked: its own `base_url`, else the provider's, which a variable may move."""
    preset = PRESETS.get(spec.provider or "") or Preset("", needs_key=False)
    base_url = normal_url(spec.base_url) if spec.base_url else provider_url(spec.provider or "", environ)
    return Endpoint(
        base_url, spec.key_env or preset.key_env, preset.needs_key or spec.key_env is not None, preset
    )


def provider_url(provider: str, environ: Mapping[str, str] = os.environ) -> str:
    """The root of a provider's API, moved where its variable says so."""
    preset = PRESETS.get(provider)
    if preset is None:
        raise UsageError(f"the provider {provider!r} needs a `base_url`; known: {', '.join(sorted(PRESETS))}")
    moved = environ.get(preset.base_env, "").strip() if preset.base_env else ""
    if not moved:
        return preset.base_url
    return normal_url(_with_defaults(moved, urlsplit(preset.base_url)))


def _with_defaults(moved: str, preset: SplitResult) -> str:
    """Ollama's short forms: a bare host or `host:port`, and `0.0.0.0` for "this machine"."""
    if "://" not in moved:
        host, _, port = moved.partition(":")
        moved = f"{preset.scheme}://{host}:{port or preset.port or 443}"
    parts = urlsplit(moved.replace("://0.0.0.0", "://127.0.0.1", 1))
    return urlunsplit(parts if parts.path.strip("/") else parts._replace(path=preset.path))


def normal_url(url: str) -> str:
    """One spelling for each address: lower-case host, no default port, no slash at the end.

    Raises:
        UsageError: for an address that is not HTTP, or that carries a user name or a password.
    """
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError as error:
        raise UsageError(f"not an address: {url!r} ({error})") from None
    if parts.username is not None or parts.password is not None:
        raise UsageError(
            f"an address must not hold a user name or a password (at {parts.hostname}): "
            "put the key into an environment variable and name it with `key_env` in models.yaml"
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"not an HTTP address: {url!r}; expected one such as http://127.0.0.1:8000/v1")
    host = "127.0.0.1" if parts.hostname == "localhost" else parts.hostname
    host = f"[{host}]" if ":" in host else host
    default = {"http": 80, "https": 443}[parts.scheme]
    netloc = host if port in (None, default) else f"{host}:{port}"
    return urlunsplit((parts.scheme, netloc, parts.path.rstrip("/"), parts.query, ""))
