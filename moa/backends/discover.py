"""What can be asked from here, each really checked: the embedded model, local servers, providers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from moa.backends.openai import OpenAICompatible
from moa.backends.providers import PRESETS, endpoint, provider_url
from moa.backends.resolve import connect, is_http, model_spec
from moa.backends.upheld import Upheld, upheld
from moa.backends.wire import open_session
from moa.errors import ConnectionFailedError, MissingExtraError, MoaError, UsageError
from moa.spec.model import ModelSpec

if TYPE_CHECKING:
    from aiohttp import ClientSession

SECONDS = 3.0
"""How long a server may take to list its models."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One place where models may be, and what was found there."""

    name: str
    where: str
    ready: bool
    models: tuple[str, ...] = ()
    """Names as `-m` takes them."""
    remedy: str | None = None
    """What to do, where something is missing."""


class _Server(NamedTuple):
    name: str
    spec: ModelSpec
    start: str
    """How to start it, or to fill it."""


def discover(models: Mapping[str, ModelSpec] = {}, environ: Mapping[str, str] = os.environ) -> list[Finding]:
    """Check everything, at once; takes a few seconds at most.

    Args:
        models: The entries of a models.yaml.
        environ: Where keys and addresses are looked up.
    """
    return asyncio.run(discover_all(models, environ))


async def discover_all(
    models: Mapping[str, ModelSpec] = {}, environ: Mapping[str, str] = os.environ
) -> list[Finding]:
    """`discover`, inside a running loop."""
    async with open_session() as session, asyncio.TaskGroup() as group:
        tasks = [group.create_task(asyncio.to_thread(_embedded, environ))]
        tasks += [group.create_task(_server(one, environ, session)) for one in _servers(environ)]
        tasks += [group.create_task(_upheld(one, environ, session)) for one in upheld(environ)]
        tasks += [group.create_task(_provider(name, environ, session)) for name in with_key(environ)]
        tasks += [
            group.create_task(_entry(name, model_spec(name, models), environ, session)) for name in models
        ]
    return [task.result() for task in tasks]


def with_key(environ: Mapping[str, str] = os.environ) -> list[str]:
    """Hosted providers whose key is set."""
    return [name for name, preset in _hosted() if environ.get(preset, "").strip()]


def without_key(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables of hosted providers whose key is not set."""
    return {name: preset for name, preset in _hosted() if not environ.get(preset, "").strip()}


def _hosted() -> Iterator[tuple[str, str]]:
    for name, preset in sorted(PRESETS.items()):
        if preset.needs_key and preset.key_env is not None:
            yield name, preset.key_env


def _servers(environ: Mapping[str, str]) -> list[_Server]:
    ollama = provider_url("ollama", environ)
    return [
        _Server("vLLM", _at("http://127.0.0.1:8000/v1"), "start it with `vllm serve MODEL`"),
        _Server("llama.cpp", _at("http://127.0.0.1:8080/v1"), "start it with `llama-server -m FILE.gguf`"),
        _Server(
            "Ollama",
            ModelSpec(name=ollama, provider="ollama"),
            "start it with `ollama serve`, then `ollama pull llama3.1`",
        ),
        _Server(
            "LM Studio",
            ModelSpec(name="LM Studio", provider="lmstudio"),
            "start its server in its Developer tab",
        ),
    ]


def _at(url: str) -> ModelSpec:
    return ModelSpec(name=url, base_url=url)


def _embedded(environ: Mapping[str, str]) -> Finding:
    """The embedded model: its engine and its weights; nothing is downloaded to find out."""
    from moa.backends.weights import KNOWN

    ready, remedies = [], []
    if find_spec("xllamacpp") is None:
        remedies.append(str(MissingExtraError("the embedded model", "local")))
    for model in KNOWN:
        try:
            _weights(model, None, environ)
            ready.append(f"local:{model}")
        except UsageError as error:
            remedies.append(str(error))
    return Finding("embedded", "this process", not remedies, tuple(ready), "; ".join(remedies) or None)


def _weights(model: str, file: str | None, environ: Mapping[str, str]) -> Path:
    from moa.backends.weights import find

    return find(model, file, {**environ, "HF_HUB_OFFLINE": "1"}).path


async def _server(server: _Server, environ: Mapping[str, str], session: ClientSession) -> Finding:
    """A server of this machine; that it is not running is no mistake."""
    url = endpoint(server.spec, environ).base_url
    try:
        ids = await _ids(server.spec, environ, session)
    except ConnectionFailedError:
        return Finding(server.name, url, False, remedy=f"not running; {server.start}")
    except MoaError as error:
        return Finding(
            server.name, url, False, remedy=f"something answers here, but not as {server.name}: {error}"
        )
    except TimeoutError:
        return Finding(server.name, url, False, remedy=f"no answer within {SECONDS:g} s; is it busy?")
    return Finding(
        server.name, url, True, _names(server.spec, ids), None if ids else f"no model; {server.start}"
    )


async def _upheld(engine: Upheld, environ: Mapping[str, str], session: ClientSession) -> Finding:
    """An engine that a `moa up` of this machine keeps running."""
    called = f"moa up: {engine.name}"
    spec = ModelSpec(name=engine.base_url, base_url=engine.base_url)
    if engine.state not in ("ready", "asleep"):
        return Finding(called, engine.base_url, False, remedy=f"{engine.state}; `moa up` says more")
    found = await _asked(called, spec, environ, session)
    remedy = found.remedy if not found.ready else f"by their own names with --models {engine.models_file}"
    return replace(found, models=_names(spec, found.models), remedy=remedy)


async def _provider(name: str, environ: Mapping[str, str], session: ClientSession) -> Finding:
    spec = ModelSpec(name=name, provider=name)
    found = await _asked(name, spec, environ, session)
    return replace(found, models=_names(spec, found.models))


async def _entry(name: str, spec: ModelSpec, environ: Mapping[str, str], session: ClientSession) -> Finding:
    """An entry of models.yaml, which is one model."""
    if not is_http(spec):
        return await asyncio.to_thread(_in_process, name, spec, environ)
    found = await _asked(name, spec, environ, session)
    if not found.ready:
        return found
    if found.models and spec.model not in found.models:
        near = ", ".join(get_close_matches(spec.model, found.models, 3, 0.3) or found.models[:3])
        remedy = f"the server does not list {spec.model!r}; it has {near}: correct `model` in models.yaml"
        return replace(found, ready=False, models=(), remedy=remedy)
    return replace(found, models=(name,))


def _in_process(name: str, spec: ModelSpec, environ: Mapping[str, str]) -> Finding:
    where = spec.file or spec.provider or ""
    try:
        backend = connect(spec)
        if check := getattr(backend, "check_installed", None):
            check()
        if spec.provider == "local":
            where = str(_weights(spec.model, spec.file, environ))
    except MoaError as error:
        return Finding(name, where, False, remedy=str(error))
    if spec.provider == "replay" and spec.file is not None and not Path(spec.file).expanduser().is_file():
        return Finding(name, where, False, remedy=f"there is no file {spec.file}")
    return Finding(name, where, True, (name,))


async def _asked(name: str, spec: ModelSpec, environ: Mapping[str, str], session: ClientSession) -> Finding:
    """The ids that a server lists, or why it does not."""
    where = spec.base_url or spec.provider or ""
    try:
        where = endpoint(spec, environ).base_url
        ids = await _ids(spec, environ, session)
    except MoaError as error:
        return Finding(name, where, False, remedy=str(error))
    except TimeoutError:
        return Finding(name, where, False, remedy=f"no answer from {where} within {SECONDS:g} s")
    return Finding(name, where, True, tuple(ids))


async def _ids(spec: ModelSpec, environ: Mapping[str, str], session: ClientSession) -> list[str]:
    backend = OpenAICompatible(spec, session=session, environ=environ)
    try:
        async with asyncio.timeout(SECONDS):
            listed = await backend.models()
            await backend.check_key()
    finally:
        await backend.aclose()
    return [str(model["id"]) for model in listed if model.get("id")]


def _names(spec: ModelSpec, ids: Sequence[str]) -> tuple[str, ...]:
    """Ids as `-m` takes them."""
    prefix = f"{spec.provider}:" if spec.provider in PRESETS and spec.base_url is None else f"{spec.name}#"
    return tuple(f"{prefix}{model}" for model in ids)
