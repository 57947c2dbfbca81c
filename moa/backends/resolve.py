"""From a model's name to a backend: `provider:id`, an address, or an entry of models.yaml."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit, urlunsplit

from pydantic import JsonValue

from moa.backends.base import Backend
from moa.backends.providers import PRESETS, endpoint, normal_url
from moa.errors import SpecError, UsageError
from moa.spec.build import read_value, spec_from
from moa.spec.model import ModelSpec
from moa.spec.registry import BACKENDS

if TYPE_CHECKING:
    from aiohttp import ClientSession

IN_FOLDERS = frozenset({"transformers", "vllm"})
"""Providers whose `model` may be a folder."""
FORMS = "`provider:model` or `http://host:port/v1#model-id`"


def model_spec(name: str, models: Mapping[str, ModelSpec] = {}) -> ModelSpec:
    """The model that `name` means.

    Args:
        name: An entry of `models`, `provider:id`, or `http://host:port/v1#model-id` (without `#...`,
            the server's only model, which `settle` finds).
        models: The entries of a models.yaml.

    Raises:
        UsageError: for a name that means nothing; lists what is known.
    """
    if name in models:
        return _entry(name, models[name])
    if name.startswith(("http://", "https://")):
        return _address(name)
    provider, colon, rest = name.partition(":")
    if not colon or not (provider in PRESETS or (provider in BACKENDS and provider != "http")):
        raise UsageError(_unknown(name, provider, models))
    return _provided(name, provider, rest)


def _entry(name: str, spec: ModelSpec) -> ModelSpec:
    """An entry of models.yaml answers to its own name, and by default asks for a model of that name."""
    changes: dict[str, str] = {} if spec.name else {"name": name}
    if not spec.model and spec.file is None:
        changes["model"] = name
    return spec.model_copy(update=changes) if changes else spec


def _address(name: str) -> ModelSpec:
    parts = urlsplit(name)
    base_url = normal_url(urlunsplit(parts._replace(fragment="")))
    fields = {"name": name, "base_url": base_url, "model": parts.fragment}
    return _checked(f"the address of a model on {parts.hostname}", fields)


def _checked(what: str, fields: Mapping[str, object]) -> ModelSpec:
    """A spec from parts of a name; raises `UsageError`, one line that does not repeat them."""
    try:
        return spec_from(ModelSpec, dict(fields))
    except SpecError as error:
        mistakes = "; ".join(problem.message for problem in error.problems)
    raise UsageError(f"{what}: {mistakes}")


def _provided(name: str, provider: str, rest: str) -> ModelSpec:
    if provider == "sim":
        options = _options(name, rest)
        return _checked(
            "the options of a `sim:` model", {"name": name, "provider": provider, "options": options}
        )
    if not rest and provider != "echo":
        raise UsageError(f"{name!r} names no model: write `{provider}:MODEL`")
    if provider == "replay":
        return ModelSpec(name=name, provider=provider, file=rest)
    if provider == "local" and (rest.endswith(".gguf") or "/" in rest or "\\" in rest):
        return ModelSpec(name=name, provider=provider, model=Path(rest).stem, file=rest)
    return ModelSpec(name=name, provider=provider, model=rest)


def _options(name: str, text: str) -> dict[str, JsonValue]:
    """`skill=0.8,latency=0.1` as options; values are JSON where they read as JSON, else strings."""
    options: dict[str, JsonValue] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        key, equals, value = item.partition("=")
        if not equals:
            raise UsageError(f"{name!r}: expected `option=value`, not {item!r}, as in `sim:skill=0.8`")
        options[key.strip()] = read_value(value.strip())
    return options


def _unknown(name: str, provider: str, models: Mapping[str, ModelSpec]) -> str:
    providers = known_providers()
    near = get_close_matches(name, models, 1) or [
        f"{close}{name[len(provider) :]}" for close in get_close_matches(provider, providers, 1)
    ]
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    listed = f"; models.yaml has {', '.join(sorted(models))}" if models else ""
    return f"unknown model {name!r}{hint}: write {FORMS}; providers: {', '.join(providers)}{listed}"


def known_providers() -> list[str]:
    """All names that may stand before the colon, sorted."""
    return sorted({*PRESETS, *BACKENDS.names()} - {"http"})


def is_http(spec: ModelSpec) -> bool:
    """Whether `spec` is asked over HTTP by our own client, not by a registered backend."""
    return spec.provider in (None, "http") or spec.provider not in BACKENDS


def connect(spec: ModelSpec, *, session: ClientSession | None = None) -> Backend:
    """A backend for `spec`; nothing is sent before the first request.

    Args:
        spec: The model.
        session: Shared connections for HTTP models (see `moa.backends.wire.open_session`); the caller
            closes them. Without it the backend has its own.
    """
    if not is_http(spec):
        return cast(Backend, BACKENDS.get(spec.provider or "")(spec))
    from moa.backends.openai import OpenAICompatible

    return OpenAICompatible(spec, session=session)


async def settle(spec: ModelSpec, *, session: ClientSession | None = None) -> ModelSpec:
    """`spec` with its model's id: an address without `#model-id` means the server's only model.

    Call it before `identity`, or answers of whichever model a server had would share one key.
    """
    if spec.model or not is_http(spec):
        return spec
    from moa.backends.openai import OpenAICompatible

    backend = OpenAICompatible(spec, session=session)
    try:
        return spec.model_copy(update={"model": await backend.model_id()})
    finally:
        await backend.aclose()


def _content(path: Path, *, whole: bool) -> list[JsonValue]:
    """What tells a file from what it was before: a recording by its digest, weights by their size."""
    if not path.is_file():
        return [str(path.resolve())]
    if whole:
        with path.open("rb") as file:
            return [hashlib.file_digest(file, "sha256").hexdigest()]
    return [str(path.resolve()), path.stat().st_size]


def _files(folder: Path) -> list[JsonValue]:
    """What tells a folder of weights from what it was before: where it is, and the sizes of its files."""
    files = sorted(file for file in folder.iterdir() if file.is_file())
    sizes: dict[str, JsonValue] = {file.name: file.stat().st_size for file in files}
    return [str(folder.resolve()), sizes]


def identity(spec: ModelSpec) -> str:
    """What decides this model's answers, as one stable string for the store's key; never a key.

    Two names for one model (a preset and its address) have the same identity.

    Raises:
        UsageError: for an address without a model that was not settled: whatever model a server has
            today would share its key with tomorrow's.
    """
    if is_http(spec) and not spec.model:
        raise UsageError(
            f"{spec.name} names no model: write {spec.name}#MODEL; `moa models` lists what is there"
        )
    parts: dict[str, JsonValue] = {"model": spec.model}
    if is_http(spec):
        parts["at"] = spec.options.get("known_as") or endpoint(spec).base_url
    else:
        incidental: frozenset[str] = getattr(BACKENDS.get(spec.provider or ""), "INCIDENTAL", frozenset())
        options = {name: value for name, value in spec.options.items() if name not in incidental}
        parts |= {"at": spec.provider, "options": options}
        if spec.provider in IN_FOLDERS and (folder := Path(spec.model).expanduser()).is_dir():
            parts["model"] = _files(folder)
        if spec.file is not None:
            parts["file"] = _content(Path(spec.file).expanduser(), whole=spec.provider == "replay")
    if spec.body:
        parts["body"] = dict(spec.body)
    if spec.max_output is not None:
        parts["max_output"] = spec.max_output
    return json.dumps(parts, sort_keys=True, separators=(",", ":"))
