"""The models.yaml of running engines: the user's own, with an address where vLLM stood."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from moa.backends.vllm.options import INCIDENTAL
from moa.spec.model import ModelSpec, ModelsSpec
from moa.up.launch import Launch

BESIDE = INCIDENTAL | {"enable_lora", "max_lora_rank"}
"""Arguments of an engine that do not decide what it answers."""


def running_models(models: ModelsSpec, launches: Sequence[Launch]) -> dict[str, Any]:
    """`models` as plain data, each vLLM entry asked over HTTP; every other entry and all names as they were."""
    served = {name: launch for launch in launches for name in (*launch.engine.names, *launch.engine.adapters)}
    entries = {
        name: _over_http(name, spec, served[name]) if name in served else _plain(spec)
        for name, spec in models.models.items()
    }
    told: dict[str, Any] = {"models": entries}
    if models.slots:
        told["slots"] = {
            slot: bound if isinstance(bound, str) else list(bound) for slot, bound in models.slots.items()
        }
    return told


def write_models(path: Path, told: Mapping[str, Any]) -> None:
    """Write a models.yaml; readers see the old file or the new one."""
    import yaml

    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.new")
    text = yaml.safe_dump(dict(told), sort_keys=False, allow_unicode=True)
    draft.write_text(f"# Written by `moa up`: it holds while that runs.\n{text}", encoding="utf-8")
    draft.replace(path)


def _plain(spec: ModelSpec) -> dict[str, Any]:
    return {**spec.model_dump(mode="json", exclude_unset=True, exclude={"name"}), "model": spec.model}


def _over_http(name: str, spec: ModelSpec, launch: Launch) -> dict[str, Any]:
    """An entry for the running engine, free unless the user gave a price."""
    kept = _plain(spec)
    for gone in ("provider", "options"):
        kept.pop(gone, None)
    options: dict[str, Any] = {"priority": True, "known_as": _known_as(name, launch)}
    if launch.sleep is not None:
        options["sleep"] = launch.sleep
    free = {"price": {"input": 0.0, "output": 0.0}} if spec.price is None else {}
    return {"base_url": f"{launch.root}/v1", **kept, "model": name, **free, "options": options}


def _known_as(name: str, launch: Launch) -> str:
    """What decides the answers: the model, its adapter, and its engine's arguments; the port does not."""
    engine = launch.engine
    deciding = {key: given for key, given in engine.arguments.items() if key not in BESIDE}
    parts = {"model": engine.model, **deciding}
    if (lora := engine.adapters.get(name)) is not None:
        parts["lora"] = lora
    if engine.chat_template is not None:
        parts["chat_template"] = engine.chat_template
    return f"vllm {json.dumps(parts, sort_keys=True)}"
