"""A stand-in for vLLM, found by the processes that a test starts."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.vllm_server import install

Faulty = Callable[..., Mapping[str, str]]


@pytest.fixture
def standin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Faulty:
    """Makes the environment of engines with faults by name: `standin(a={"dies": True})`."""
    found = install(tmp_path / "packages")
    lives = tmp_path / "lives"
    lives.mkdir()
    for name, given in {**found, "XDG_STATE_HOME": str(tmp_path / "state")}.items():
        monkeypatch.setenv(name, given)

    def environ(**faults: Any) -> Mapping[str, str]:
        return {**os.environ, "STANDIN": json.dumps(faults), "STANDIN_LIVES": str(lives)}

    return environ
