"""What a models.yaml may say about a model that vLLM runs: ours, and the engine's own arguments."""

from __future__ import annotations

import json
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Literal, NamedTuple

from pydantic import JsonValue

from moa.backends.options import read_options
from moa.errors import UsageError
from moa.spec.agent import Spec
from moa.spec.model import ModelSpec


class VllmOptions(Spec):
    """`options` of a vLLM model that are ours; all others are arguments of the engine."""

    lora: str | None = None
    """The folder of a LoRA adapter. Models with the same `model` and engine options share one engine."""
    sleep: Literal[1, 2] | None = None
    """The level of vLLM's sleep mode in which the engine rests while another model of its device is asked; without
    it, an engine that has to rest is stopped and started anew."""
    chat_template: str | None = None
    """A chat template in the place of the model's own: a file, or the template itself."""


INCIDENTAL = frozenset(
    {
        "async_scheduling",
        "cpu_offload_gb",
        "data_parallel_size",
        "device_ids",
        "disable_log_stats",
        "distributed_executor_backend",
        "download_dir",
        "enable_log_requests",
        "enable_prefix_caching",
        "enable_sleep_mode",
        "gpu_memory_utilization",
        "kv_cache_memory_bytes",
        "max_cpu_loras",
        "max_loras",
        "max_num_batched_tokens",
        "max_num_seqs",
        "pipeline_parallel_size",
        "scheduling_policy",
        "sleep",
        "tensor_parallel_size",
    }
)
"""Options that say how a model is run and not what it answers: the store knows the model without them."""
OURS = {
    "model": "give it as the model's `model`",
    "task": "only models that write text are asked here",
    "runner": "only models that write text are asked here",
    "headless": "the engine runs in this process",
}
"""Arguments of the engine that are not set among the options, and what to do instead."""


class Settings(NamedTuple):
    """What makes one engine different from another; equal settings share one."""

    model: str
    arguments: str
    """The engine's arguments as JSON, sorted."""


def read_settings(spec: ModelSpec, runner: str | None = None) -> tuple[VllmOptions, Settings]:
    """A model's own options and the settings of its engine; raises `UsageError` for a mistake in ours."""
    own = {name: value for name, value in spec.options.items() if name in VllmOptions.model_fields}
    options = read_options(VllmOptions, spec.model_copy(update={"options": own}))
    arguments = {name: value for name, value in spec.options.items() if name not in own}
    for name in arguments.keys() & OURS.keys():
        raise UsageError(f"{spec.name}: options: `{name}` cannot be set here: {OURS[name]}")
    implied = _implied(spec, options, arguments) | ({"runner": runner} if runner else {})
    return options, Settings(spec.model, json.dumps(implied, sort_keys=True))


def _implied(
    spec: ModelSpec, options: VllmOptions, arguments: Mapping[str, JsonValue]
) -> dict[str, JsonValue]:
    """The arguments with those that the rest of the spec stands for."""
    implied: dict[str, JsonValue] = {}
    if spec.context is not None:
        implied["max_model_len"] = spec.context
    if spec.tokenizer is not None:
        implied["tokenizer"] = spec.tokenizer
    if options.lora is not None:
        implied["enable_lora"] = True
    if options.sleep is not None:
        implied["enable_sleep_mode"] = True
    return implied | dict(arguments)


def check_arguments(name: str, arguments: Mapping[str, Any], known: frozenset[str]) -> None:
    """Refuse arguments that the engine does not have, with the nearest that it has."""
    for argument in arguments:
        if argument not in known:
            near = get_close_matches(argument, [*known, *VllmOptions.model_fields], 1)
            hint = f" (did you mean `{near[0]}`?)" if near else ""
            raise UsageError(f"{name}: options: vLLM has no argument `{argument}`{hint}")


def on_cpu(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments that vLLM's CPU build needs, where the user did not choose.

    Compilation takes minutes and gains nothing there. A chunked prompt with a seed ends the engine
    ("CPU Generator does not use offset"), so prompts are read whole.
    """
    return {"enforce_eager": True, "enable_chunked_prefill": False} | dict(arguments)
