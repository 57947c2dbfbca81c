"""`moa validate` shows every mistake in every file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from moa.spec.catalogue import KINDS, entries
from tests.cli.calling import Caller

AGENT = "{system: 'Join {{ refs }}', inputs: {refs: 1+}}"


@pytest.fixture
def moa(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Caller:
    monkeypatch.chdir(tmp_path)
    return Caller(monkeypatch, capsys)


def test_good_files_are_named_on_stderr(moa: Caller, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("system: Hi\n")
    (tmp_path / "m.yaml").write_text("models: {a: {provider: openai}}\n")
    assert moa("validate", "a.yaml", "m.yaml") == (0, "", "a.yaml: ok\nm.yaml: ok\n")


def test_everything_shipped_is_valid(moa: Caller) -> None:
    paths = [str(entry.path) for kind in KINDS for entry in entries(kind)]
    called = moa("validate", *paths)
    assert called == (0, "", "".join(f"{path}: ok\n" for path in paths))


def test_all_mistakes_in_all_files(moa: Caller, tmp_path: Path) -> None:
    (tmp_path / "agent.yaml").write_text("sytem: Hi\nreads: chioce\n")
    (tmp_path / "good.yaml").write_text("system: Hi\n")
    (tmp_path / "models.yaml").write_text("models:\n  a: {provider: openai, api_key: hunter2}\n")
    (tmp_path / "syntax.yaml").write_text("name: a: b\n")
    called = moa("validate", "agent.yaml", "good.yaml", "models.yaml", "syntax.yaml", "missing.yaml")
    assert (called.code, called.out) == (2, "")
    assert called.err.splitlines() == [
        "good.yaml: ok",
        "agent.yaml:1:1: unknown key `sytem`; did you mean `system`?",
        "agent.yaml:2:8: expected one of text, choice, score, ranking, json, preference; not `chioce`; did you mean `choice`?",
        "models.yaml:2:25: a key never goes into a file: instead of `api_key` write `key_env: NAME_OF_VARIABLE`",
        "syntax.yaml:1:8: a `:` that does not belong here: quote the text, or mend the indentation",
        "cannot read missing.yaml: no such file or directory",
    ]


GRAPHS = [
    ("answer: {agent: %s, model: x, inputs: b}\n  b: {agent: %s, model: x, inputs: answer}", "circle"),
    (
        "answer: {agent: %s, model: x, inputs: [drafts, drfts]}\n  drafts: {agent: proposer, model: x}",
        "did you mean `drafts`?",
    ),
    ("a: {agent: propser, model: x}", "unknown agent 'propser'; did you mean `proposer`?"),
    (
        "a: {select: majorty, inputs: b}\n  b: {agent: proposer, model: x, samples: 3}",
        "did you mean `majority`?",
    ),
    ("a: {agent: %s, model: x}", "needs `refs`"),
    ("answer: {agent: proposer, model: x}\n  lost: {agent: proposer, model: x}", "never reaches the answer"),
]


@pytest.mark.parametrize(("nodes", "message"), GRAPHS)
def test_wiring(moa: Caller, tmp_path: Path, nodes: str, message: str) -> None:
    (tmp_path / "g.yaml").write_text(f"nodes:\n  {nodes.replace('%s', AGENT)}\n")
    called = moa("validate", "g.yaml")
    assert called.code == 2
    assert message in called.err
    assert all(line.startswith(("g.yaml:2:", "g.yaml:3:")) for line in called.err.splitlines())


def test_options_of_a_selector_have_positions(moa: Caller, tmp_path: Path) -> None:
    text = "nodes:\n  b: {agent: proposer, model: x, samples: 3}\n  answer: {select: {majority: {xyzzy: 3}}, inputs: b}\n"
    (tmp_path / "g.yaml").write_text(text)
    called = moa("validate", "g.yaml")
    assert called.err.startswith("g.yaml:3:3")
    assert "unknown key `xyzzy`" in called.err


def test_mistakes_of_keys_and_of_wiring_together(moa: Caller, tmp_path: Path) -> None:
    text = (
        "descripton: x\nnodes:\n  drafts: {agent: proposer, modle: x, sampling: {temperature: 9}}\n"
        f"  answer: {{agent: {AGENT}, model: x, inputs: drfts}}\n"
    )
    (tmp_path / "g.yaml").write_text(text)
    assert [line.split(":")[1] for line in moa("validate", "g.yaml").err.splitlines()] == [
        "1",
        "3",
        "3",
        "4",
    ]


def test_names_are_checked_even_where_the_wiring_cannot_be(moa: Caller, tmp_path: Path) -> None:
    text = (
        "nodes:\n  drafts: {agent: propser, model: x}\n"
        f"  answer: {{agent: {AGENT}, model: x, inputs: draft, windw: {{size: 3}}}}\n"
    )
    (tmp_path / "g.yaml").write_text(text)
    called = moa("validate", "g.yaml").err
    assert "unknown agent 'propser'" in called and "no node is called `draft`" in called


def test_wiring_is_not_blamed_for_what_could_not_be_read(moa: Caller, tmp_path: Path) -> None:
    text = f"nodes:\n  drafts: {{agent: proposer, model: x}}\n  answer: {{agent: {AGENT}, model: x, hears: drafts}}\n"
    (tmp_path / "g.yaml").write_text(text)
    (line,) = moa("validate", "g.yaml").err.splitlines()
    assert "unknown key `hears`" in line


def test_unknown_name_in_a_template_is_reported_once(moa: Caller, tmp_path: Path) -> None:
    (tmp_path / "g.yaml").write_text(
        "nodes:\n  a:\n    model: x\n    agent:\n      system: |\n        {{ nobody }}\n"
    )
    assert moa("validate", "g.yaml").err == "g.yaml:6:12: template: unknown name `nobody`; known: question\n"


def test_agents_beside_the_graph_are_found(moa: Caller, tmp_path: Path) -> None:
    (tmp_path / "study" / "agents").mkdir(parents=True)
    (tmp_path / "study" / "agents" / "mine.yaml").write_text("system: Hi\n")
    (tmp_path / "study" / "g.yaml").write_text("nodes: {a: {agent: mine, model: x}}\n")
    assert moa("validate", "study/g.yaml").code == 0


def test_json(moa: Caller, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("\nsytem: Hi\n")
    called = moa("validate", "a.yaml", "--json")
    message = "unknown key `sytem`; did you mean `system`?"
    assert (called.code, called.err) == (2, "")
    assert json.loads(called.out) == [{"message": message, "source": "a.yaml", "line": 2, "column": 1}]


def test_json_of_good_files(moa: Caller, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("system: Hi\n")
    assert moa("validate", "a.yaml", "--json") == (0, "[]\n", "")
