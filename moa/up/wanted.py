"""Which engines the entries of a models.yaml need: entries with equal settings share one."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Any, Literal

from moa.backends.vllm.options import read_settings
from moa.errors import UsageError
from moa.spec.model import ModelSpec
from moa.values import value

PROVIDER = "vllm"
_GPUS = re.compile(r"gpu(\d+(?:,\d+)*)")


@value(frozen=True, slots=True)
class Wanted:
    """One engine that is to run, and the entries that it answers for."""

    model: str
    """A hub id or a folder."""
    arguments: Mapping[str, Any]
    """The engine's arguments, by vLLM's names."""
    names: tuple[str, ...]
    """Entries that ask the model itself."""
    adapters: Mapping[str, str] = field(default_factory=dict)
    """The folder of the LoRA adapter of each entry that asks one."""
    chat_template: str | None = None
    device: str | None = None
    sleep: Literal[1, 2] | None = None
    """The level of sleep mode in which it rests, where an entry says so."""

    @property
    def name(self) -> str:
        """What the engine is called: as the first entry that it answers for."""
        return (*self.names, *self.adapters)[0]

    @property
    def gpus(self) -> tuple[str, ...]:
        """The GPUs that it takes, or the label of another device; without a `device` the first ones."""
        if self.device is None:
            return tuple(map(str, range(parallel(self.arguments))))
        given = _GPUS.fullmatch(self.device)
        return tuple(given[1].split(",")) if given else (self.device,)

    @property
    def visible(self) -> str | None:
        """What `CUDA_VISIBLE_DEVICES` is set to; None leaves it as it is."""
        return ",".join(self.gpus) if self.device and _GPUS.fullmatch(self.device) else None


def wanted_engines(models: Mapping[str, ModelSpec]) -> list[Wanted]:
    """The engines for the entries whose provider is vLLM, in the order of the file.

    Adapters ride on the engine of their base model, whether or not an entry asks the base model itself.

    Raises:
        UsageError: where there is no such entry, or one has a wrong option or an adapter that is not there.
    """
    found: dict[str, Wanted] = {}
    for name, spec in models.items():
        if spec.provider == PROVIDER:
            key, engine = _one(name, spec)
            found[key] = _joined(found[key], engine) if key in found else engine
    if not found:
        raise UsageError("no entry has `provider: vllm`, so there is no engine to start")
    return list(found.values())


def parallel(arguments: Mapping[str, Any]) -> int:
    """How many GPUs these arguments spread one engine over."""
    sizes = (arguments.get(f"{kind}_parallel_size") for kind in ("tensor", "pipeline", "data"))
    product = 1
    for size in sizes:
        product *= size if isinstance(size, int) else 1
    return product


def _one(name: str, spec: ModelSpec) -> tuple[str, Wanted]:
    """The engine for one entry, and the key that entries of one engine share."""
    options, settings = read_settings(spec)
    arguments: dict[str, Any] = json.loads(settings.arguments)
    if options.sleep is not None:
        del arguments["enable_sleep_mode"]
    key = json.dumps(
        [
            settings.model,
            _without(arguments, "enable_lora"),
            options.chat_template,
            spec.device,
            options.sleep,
        ],
        sort_keys=True,
    )
    names, adapters = ((name,), {}) if options.lora is None else ((), {name: _folder(name, options.lora)})
    engine = Wanted(
        settings.model, arguments, names, adapters, options.chat_template, spec.device, options.sleep
    )
    if len(engine.gpus) < parallel(arguments):
        count = parallel(arguments)
        raise UsageError(
            f"{name}: the options spread it over {count} GPUs, and `device: {spec.device}` names "
            f"{len(engine.gpus)}: write `device: gpu{','.join(map(str, range(count)))}`"
        )
    return key, engine


def _joined(one: Wanted, other: Wanted) -> Wanted:
    return Wanted(
        one.model,
        {**one.arguments, **other.arguments},
        one.names + other.names,
        {**one.adapters, **other.adapters},
        one.chat_template,
        one.device,
        one.sleep,
    )


def _folder(name: str, lora: str) -> str:
    folder = Path(lora).expanduser()
    if not folder.is_dir():
        raise UsageError(f"{name}: options: `lora`: there is no folder {lora}")
    return str(folder.resolve())


def _without(arguments: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: given for key, given in arguments.items() if key != name}
