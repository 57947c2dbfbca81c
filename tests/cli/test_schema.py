"""`moa schema` prints what editors read."""

from __future__ import annotations

import json

import pytest

from moa.spec.schema import FILES, schema
from tests.cli.calling import Caller


@pytest.fixture
def moa(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Caller:
    return Caller(monkeypatch, capsys)


@pytest.mark.parametrize("kind", FILES)
def test_schema(moa: Caller, kind: str) -> None:
    called = moa("schema", kind)
    assert (called.code, called.err) == (0, "")
    assert json.loads(called.out) == schema(kind)


def test_unknown_kind(moa: Caller) -> None:
    assert moa("schema", "agents") == (
        2,
        "",
        "no schema of 'agents': choose one of agent, graph, defence, models, eval\n",
    )
