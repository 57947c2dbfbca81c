"""The page about models without a server: what it shows can be read, and what it lists is all there is."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from moa.backends.embedded import EmbeddedOptions
from moa.backends.options import read_options
from moa.backends.replay import ReplayOptions
from moa.backends.resolve import connect, model_spec
from moa.backends.simulated import SimulatedOptions
from moa.backends.weights import KNOWN, variable
from moa.spec.agent import Spec
from moa.spec.loader import read_models

PAGE = Path(__file__).parents[2] / "docs" / "local.md"
TEXT = PAGE.read_text(encoding="utf-8")
KINDS: dict[str | None, type[Spec]] = {
    "local": EmbeddedOptions,
    "replay": ReplayOptions,
    "sim": SimulatedOptions,
}


def snippets(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)


def commands() -> list[list[str]]:
    return [shlex.split(line) for shown in snippets("sh") for line in shown.splitlines()]


@pytest.mark.parametrize("shown", snippets("yaml"))
def test_every_models_file_is_valid(shown: str, tmp_path: Path) -> None:
    path = tmp_path / "models.yaml"
    path.write_text(shown, encoding="utf-8")
    for spec in read_models(path).spec.models.values():
        read_options(KINDS[spec.provider], spec)


def test_every_model_that_is_bound_has_a_backend() -> None:
    bound = [words[words.index("-m") + 1] for words in commands() if "-m" in words]
    assert len(bound) >= 4
    for name in bound:
        assert connect(model_spec(name))


def test_the_way_to_the_weights_is_the_one_that_errors_name() -> None:
    known = KNOWN["smollm2-135m"]
    assert known.remedy.split() in commands()
    assert variable("smollm2-135m") in TEXT
    assert f"{known.size / 1e6:.0f} MB" in TEXT and known.licence in TEXT


@pytest.mark.parametrize("kind", KINDS.values())
def test_every_option_is_on_the_page(kind: type[Spec]) -> None:
    assert [name for name in kind.model_fields if f"`{name}`" not in TEXT and f"{name}:" not in TEXT] == []
