"""What a models.yaml says about a vLLM model, and what is known of it before anything starts."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from moa.backends.base import Backend, Request
from moa.backends.resolve import connect, identity, model_spec
from moa.backends.transformers import TransformersOptions
from moa.backends.vllm.backend import Vllm
from moa.backends.vllm.options import VllmOptions, check_arguments, on_cpu, read_settings
from moa.backends.vllm.sampling import CHAT, OPTIONAL
from moa.backends.vllm.window import stated_window
from moa.errors import MissingExtraError, UsageError
from moa.spec.agent import Sampling, Spec
from moa.spec.model import ModelSpec


def spec(**fields: Any) -> ModelSpec:
    return ModelSpec(**{"name": "small", "provider": "vllm", "model": "org/model"} | fields)


def arguments(**fields: Any) -> dict[str, Any]:
    return dict(json.loads(read_settings(spec(**fields))[1].arguments))


def test_a_name_on_the_command_line_is_enough() -> None:
    found = model_spec("vllm:org/model")
    assert (found.provider, found.model) == ("vllm", "org/model")
    backend = connect(found)
    assert isinstance(backend, Vllm) and isinstance(backend, Backend)
    assert found.known_price is not None and found.known_price.of(1000, 1000) == 0


def test_options_are_the_arguments_of_the_engine() -> None:
    options = {"dtype": "float32", "speculative_config": {"method": "ngram"}}
    assert arguments(options=options) == options


def test_the_rest_of_the_spec_stands_for_arguments() -> None:
    assert arguments(context=4096, tokenizer="org/other") == {"max_model_len": 4096, "tokenizer": "org/other"}
    assert arguments(context=4096, options={"max_model_len": 8192}) == {"max_model_len": 8192}
    assert arguments(options={"lora": "adapter"}) == {"enable_lora": True}


def test_models_with_the_same_arguments_share_an_engine() -> None:
    options = {"enable_lora": True, "dtype": "float32"}
    plain = read_settings(spec(name="plain", options=options))[1]
    tuned = read_settings(spec(name="tuned", options={"lora": "x", "dtype": "float32"}))[1]
    assert plain == tuned
    assert plain != read_settings(spec(options={"dtype": "float32"}))[1]


def test_how_a_model_is_run_does_not_change_what_the_store_knows_it_by() -> None:
    plain = identity(spec(options={"dtype": "float32"}))
    assert plain == identity(spec(options={"dtype": "float32", "gpu_memory_utilization": 0.4, "sleep": 1}))
    assert plain != identity(spec(options={"dtype": "bfloat16"}))
    assert plain != identity(spec(options={"dtype": "float32", "lora": "x"}))


def test_a_folder_is_known_by_where_it_is_and_what_it_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = set()
    for name in ("one", "two"):
        (tmp_path / name / "m").mkdir(parents=True)
        monkeypatch.chdir(tmp_path / name)
        seen.add(identity(spec(model="m")))
    assert identity(spec(model=str(tmp_path / "two" / "m"))) in seen
    (tmp_path / "two" / "m" / "model.safetensors").write_bytes(b"weights")
    seen.add(identity(spec(model="m")))
    assert len(seen) == 3


def test_an_argument_that_does_not_exist_is_refused_with_the_nearest() -> None:
    known = frozenset({"gpu_memory_utilization", "dtype"})
    check_arguments("small", {"dtype": "auto"}, known)
    with pytest.raises(
        UsageError, match=r"vLLM has no argument `gpu_memory_utilisation`.*`gpu_memory_utilization`"
    ):
        check_arguments("small", {"gpu_memory_utilisation": 0.5}, known)


def test_the_model_is_no_option() -> None:
    with pytest.raises(
        UsageError, match="small: options: `model` cannot be set here: give it as the model's `model`"
    ):
        connect(spec(options={"model": "other"}))


def test_what_the_processor_needs_gives_way_to_what_the_user_wants() -> None:
    assert on_cpu({}) == {"enforce_eager": True, "enable_chunked_prefill": False}
    assert on_cpu({"enforce_eager": False})["enforce_eager"] is False


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vLLM is installed")
async def test_without_vllm_one_line_names_the_extra() -> None:
    backend = connect(spec(context=100))
    with pytest.raises(MissingExtraError, match=r"^`small` needs the extra `vllm`: pip install '\.\[vllm\]'"):
        await backend.complete(Request(({"role": "user", "content": "hi"},)))
    await backend.aclose()


def test_nothing_of_vllm_is_imported_before_the_first_request() -> None:
    code = (
        "import sys\n"
        "from moa.backends.resolve import connect, identity, model_spec\n"
        "connect(model_spec('vllm:org/model')); connect(model_spec('transformers:org/model'))\n"
        "print(sorted({'vllm', 'torch', 'transformers'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def write(folder: Path, config: dict[str, Any], tokenizer: dict[str, Any] | None = None) -> str:
    (folder / "config.json").write_text(json.dumps(config))
    if tokenizer is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    return str(folder)


@pytest.mark.parametrize(
    ("config", "tokenizer", "window"),
    [
        ({"max_position_embeddings": 8192}, None, 8192),
        ({"max_position_embeddings": 8192}, {"model_max_length": 2048}, 2048),
        ({"max_position_embeddings": 8192}, {"model_max_length": 1e30}, 8192),
        ({"text_config": {"max_position_embeddings": 4096}}, None, 4096),
        ({"n_positions": 1024}, None, 1024),
        ({"max_position_embeddings": 8192, "rope_scaling": {"rope_type": "llama3"}}, None, 8192),
        ({"max_position_embeddings": 8192, "rope_scaling": {"type": "yarn", "factor": 4}}, None, None),
        ({"rope_parameters": {"rope_type": "default"}, "max_position_embeddings": 512}, None, 512),
        ({}, None, None),
    ],
)
def test_the_window_is_read_from_the_folder(
    tmp_path: Path, config: dict[str, Any], tokenizer: dict[str, Any] | None, window: int | None
) -> None:
    assert stated_window(write(tmp_path, config, tokenizer)) == window


def test_no_window_without_a_readable_configuration(tmp_path: Path) -> None:
    assert stated_window(str(tmp_path)) is None
    (tmp_path / "config.json").write_text("{")
    assert stated_window(str(tmp_path)) is None


async def test_the_window_needs_no_engine(tmp_path: Path) -> None:
    folder = write(tmp_path, {"max_position_embeddings": 8192})
    assert await Vllm(spec(model=folder)).context_length() == 8192
    assert await Vllm(spec(model=folder, options={"max_model_len": 100})).context_length() == 100
    assert await Vllm(spec(model=folder, context=50)).context_length() == 50


PAGE = (Path(__file__).parents[2] / "docs" / "vllm.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", [VllmOptions, TransformersOptions])
def test_every_option_is_on_the_page(kind: type[Spec]) -> None:
    assert [name for name in kind.model_fields if f"| `{name}` |" not in PAGE] == []


def test_every_field_of_the_engine_is_on_the_page() -> None:
    fields = CHAT | OPTIONAL | {"structured_outputs", "cache_salt", "logit_bias"}
    usual = {*Sampling.model_fields, "logprob_token_ids", "add_generation_prompt"}
    assert [name for name in sorted(fields - usual) if f"`{name}" not in PAGE] == []
