"""Which engines entries need, what they share, and what is refused before anything starts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from moa.errors import UsageError
from moa.spec.model import ModelSpec
from moa.up.launch import flags, launch, probe
from moa.up.log import last_words
from moa.up.shares import plan_shares
from moa.up.wanted import Wanted, wanted_engines


def entry(model: str = "m", **fields: Any) -> ModelSpec:
    return ModelSpec.model_validate({"provider": "vllm", "model": model, **fields})


def engine(name: str, device: str | None = None, **arguments: Any) -> Wanted:
    return Wanted("m", arguments, (name,), device=device)


def test_equal_settings_share_an_engine_and_others_do_not() -> None:
    models = {
        "a": entry(context=1024),
        "b": entry(options={"max_model_len": 1024}),
        "c": entry(context=2048),
        "d": entry(context=1024, device="gpu1"),
        "e": ModelSpec(provider="openai", model="m"),
    }
    assert [engine.names for engine in wanted_engines(models)] == [("a", "b"), ("c",), ("d",)]


def test_adapters_ride_on_the_engine_of_their_base_model(tmp_path: Path) -> None:
    for adapter, rank in (("poet", 8), ("critic", 40)):
        (tmp_path / adapter).mkdir()
        (tmp_path / adapter / "adapter_config.json").write_text(json.dumps({"r": rank}))
    lora = {name: entry(options={"lora": str(tmp_path / name)}) for name in ("poet", "critic")}
    [one] = wanted_engines({"base": entry(), **lora})
    assert one.names == ("base",)
    assert one.adapters == {name: str(tmp_path / name) for name in ("poet", "critic")}
    command = launch(one, 8001, 0.9, python="python").command
    at = command.index("--lora-modules")
    assert command[at + 1 : at + 3] == (f"poet={tmp_path}/poet", f"critic={tmp_path}/critic")
    assert "--enable-lora" in command
    assert command[command.index("--max-loras") + 1] == "2"
    assert command[command.index("--max-lora-rank") + 1] == "64"
    [alone] = wanted_engines(lora)
    assert alone.name == "poet"
    assert "m" in launch(alone, 8001, 0.9, python="python").command


@pytest.mark.parametrize(
    ("models", "said"),
    [
        ({"a": ModelSpec(provider="openai", model="m")}, "no entry has `provider: vllm`"),
        ({"a": entry(options={"lora": "/nowhere"})}, "a: options: `lora`: there is no folder /nowhere"),
        ({"a": entry(device="gpu0", options={"tensor_parallel_size": 2})}, "write `device: gpu0,1`"),
        ({"a": entry(name="a", options={"runner": "pooling"})}, "a: options: `runner` cannot be set here"),
    ],
)
def test_mistakes_are_named(models: dict[str, ModelSpec], said: str) -> None:
    with pytest.raises(UsageError, match=said.replace("(", r"\(")):
        wanted_engines(models)


def test_arguments_become_flags() -> None:
    given = {
        "max_model_len": 9,
        "enforce_eager": True,
        "x_y": False,
        "hf": {"a": [1]},
        "l": ["p", 2],
        "n": None,
    }
    assert list(flags(given)) == [
        *("--max-model-len", "9", "--enforce-eager", "--no-x-y", "--hf", '{"a": [1]}', "--l", "p", "2")
    ]


def test_a_command_has_no_silent_defaults() -> None:
    ran = launch(engine("a", "gpu2,3", tensor_parallel_size=2), 8001, 0.45, python="py", sleep=True)
    line = " ".join(ran.command)
    assert line.startswith("py -m vllm.entrypoints.openai.api_server --model m --host 127.0.0.1 --port 8001")
    for part in (
        "--served-model-name a",
        "--generation-config vllm",
        "--scheduling-policy priority",
        "--enable-prompt-tokens-details",
        "--gpu-memory-utilization 0.45",
        "--enable-sleep-mode",
    ):
        assert part in line
    assert ran.variables["CUDA_VISIBLE_DEVICES"] == "2,3"
    assert ran.variables["VLLM_SERVER_DEV_MODE"] == "1"


def test_a_build_for_processors_reads_prompts_whole_and_keeps_the_users_memory() -> None:
    ran = launch(engine("a", "gpu0"), 1, 0.5, python="py", cpu=True, environ={"VLLM_CPU_KVCACHE_SPACE": "1"})
    assert "--no-enable-chunked-prefill" in ran.command
    assert "--gpu-memory-utilization" not in ran.command
    assert "CUDA_VISIBLE_DEVICES" not in ran.variables


def test_an_entry_may_say_how_deep_it_sleeps() -> None:
    [deep] = wanted_engines({"a": entry(options={"sleep": 2})})
    assert launch(deep, 1, 0.9, python="py", sleep=True).sleep == 2
    assert launch(engine("a"), 1, 0.9, python="py", sleep=True).sleep == 1
    assert launch(engine("a"), 1, 0.9, python="py").sleep is None


def test_options_of_the_server_that_are_ours_are_refused() -> None:
    with pytest.raises(UsageError, match="a: options: `port` cannot be set here: use --port"):
        launch(engine("a", port=1), 8001, None, python="py")


def test_a_python_without_vllm_is_told_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--python .*nothing does not run"):
        probe(str(tmp_path / "nothing"))
    with pytest.raises(UsageError, match=r"has no vLLM: pip install '\.\[vllm\]'"):
        probe(_bare(tmp_path))


def _bare(folder: Path) -> str:
    """A Python that finds nothing but its own library."""
    import sys

    script = folder / "python"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "$@"\n')
    script.chmod(0o755)
    return str(script)


def test_engines_of_a_device_divide_what_the_others_leave() -> None:
    assert plan_shares([engine("a", "gpu0"), engine("b", "gpu0"), engine("c", "gpu1")]) == [0.45, 0.45, 0.9]
    given = engine("b", "gpu0", gpu_memory_utilization=0.6)
    assert plan_shares([engine("a", "gpu0"), given]) == [pytest.approx(0.3), 0.6]
    wide = engine("w", "gpu0,1", tensor_parallel_size=2)
    assert plan_shares([engine("a", "gpu0"), wide]) == [0.45, 0.45]
    assert plan_shares([engine("a"), engine("b", "gpu0")]) == [0.45, 0.45]
    assert plan_shares([engine("a", kv_cache_memory_bytes=10**9), engine("b")]) == [None, 0.9]
    assert plan_shares([engine("a", "gpu0"), engine("b", "gpu1")], on_cpu=True) == [0.25, 0.25]


def test_sleeping_engines_may_each_take_all() -> None:
    several = [engine("a", "gpu0"), engine("b", "gpu0"), engine("c", "gpu0", gpu_memory_utilization=0.8)]
    assert plan_shares(several, sleep=True) == [0.9, 0.9, 0.8]


def test_shares_that_do_not_fit_are_refused_with_the_numbers() -> None:
    greedy = [engine(name, "gpu0", gpu_memory_utilization=0.5) for name in "ab"]
    with pytest.raises(
        UsageError, match=r"GPU 0 cannot hold .*: a 0\.50 \+ b 0\.50 = 1\.00 of its memory.*--sleep"
    ):
        plan_shares(greedy)
    with pytest.raises(UsageError, match="GPU 0 cannot hold"):
        plan_shares([engine("a", "gpu0", gpu_memory_utilization=0.9), engine("b", "gpu0")])
    with pytest.raises(UsageError, match=r"a: `gpu_memory_utilization: 1\.5` is not above 0"):
        plan_shares([engine("a", gpu_memory_utilization=1.5)], sleep=True)
    with pytest.raises(UsageError, match=r"takes a share such as 0\.45"):
        plan_shares([engine("a", gpu_memory_utilization="half")])


def test_the_last_words_of_a_log_are_its_cause(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert last_words(log) == ""
    log.write_text(
        "(APIServer pid=1) INFO 11-21 10:00:00 [a.py:1] hello\n"
        "(EngineCore pid=2) ERROR 11-21 10:00:01 [core.py:9] ValueError: no weights\n"
        "RuntimeError: Engine core initialization failed. See root cause above.\n\n"
    )
    assert last_words(log) == "ValueError: no weights"
    log.write_text("api_server.py: error: unrecognized arguments: --max-modl-len\n")
    assert last_words(log).endswith("--max-modl-len")
    log.write_text("only this\n")
    assert last_words(log) == "only this"
