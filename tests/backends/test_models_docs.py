"""Every models.yaml in the documentation is read, and every model in it can be connected."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from moa.backends.openai import OpenAICompatible
from moa.backends.providers import PRESETS
from moa.backends.resolve import connect, identity, is_http, model_spec
from moa.spec.loader import read_models

PAGE = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.M | re.S)


@pytest.mark.parametrize("block", BLOCKS, ids=[block.split("\n")[1].strip(" :") for block in BLOCKS])
async def test_every_example_is_read(block: str, tmp_path: Path) -> None:
    path = tmp_path / "models.yaml"
    path.write_text(block, encoding="utf-8")
    spec = read_models(path).spec
    bound = [name for names in spec.slots.values() for name in ([names] if isinstance(names, str) else names)]
    assert all(model_spec(name, spec.models).name == name for name in bound)
    for name in spec.models:
        model = model_spec(name, spec.models)
        assert identity(model)
        if is_http(model):
            assert isinstance(connect(model), OpenAICompatible)


def test_every_common_server_has_an_example() -> None:
    headings = re.findall(r"^### (.*)$", PAGE, re.M)
    assert {"OpenAI", "OpenRouter", "Together", "Ollama", "vLLM", "llama.cpp", "LM Studio"} <= set(headings)
    assert len(BLOCKS) == len(headings) + 1


def test_every_provider_is_named() -> None:
    assert [name for name in PRESETS if f"`{name}:" not in PAGE] == []
