"""`moa graph`: text on standard output, pictures in files."""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import pytest
from PIL import Image

from moa.cli import main


class Drawn(NamedTuple):
    """What a command left behind; a picture is bytes."""

    code: int
    out: bytes
    err: str


class Draw:
    """Calls `moa graph` in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[bytes]) -> None:
        self._monkeypatch = monkeypatch
        self._capture = capture

    def __call__(self, *arguments: str, terminal: bool = False) -> Drawn:
        self._monkeypatch.setattr(sys, "argv", ["moa", "graph", *arguments])
        self._monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
        with pytest.raises(SystemExit) as left:
            main()
            sys.exit(0)
        out, err = self._capture.readouterr()
        return Drawn(int(left.value.code or 0), out, err.decode())


@pytest.fixture
def draw(monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes], tmp_path: Path) -> Draw:
    monkeypatch.chdir(tmp_path)
    return Draw(monkeypatch, capsysbinary)


def test_mermaid_is_the_default(draw: Draw) -> None:
    called = draw("self-moa")
    assert (called.code, called.err) == (0, "")
    assert called.out.startswith(b'---\ntitle: "self-moa"\n---\nflowchart TB\n')
    assert b"<small>proposer \xc2\xb7 a</small>" in called.out


def test_bound_slots_are_shown_by_their_models(draw: Draw) -> None:
    called = draw("self-moa", "--format", "dot", "-m", "sim:skill=0.8")
    assert b"proposer \xc2\xb7 sim:skill=0.8" in called.out


def test_the_ending_of_the_file_is_the_format(draw: Draw) -> None:
    for ending in ("svg", "png", "dot", "mmd"):
        called = draw("moa", "-o", f"g.{ending}")
        assert (called.code, called.out, called.err) == (0, b"", f"wrote g.{ending}\n")
    assert ElementTree.parse("g.svg").getroot().tag.endswith("svg")
    with Image.open("g.png") as image:
        assert image.format == "PNG"
    assert Path("g.dot").read_text().startswith('digraph "moa" {')
    assert "flowchart" in Path("g.mmd").read_text()


def test_a_png_goes_through_a_pipe_but_not_to_a_terminal(draw: Draw) -> None:
    piped = draw("single", "--format", "png")
    with Image.open(BytesIO(piped.out)) as image:
        assert image.width > 100
    shown = draw("single", "--format", "png", terminal=True)
    assert (shown.code, shown.out) == (2, b"")
    assert "add -o FILE.png" in shown.err


def test_a_file_that_cannot_be_written_is_one_line(draw: Draw) -> None:
    called = draw("single", "-o", "nowhere/g.svg")
    assert called.code == 2
    assert called.err == "cannot write nowhere/g.svg: no such file or directory\n"


def test_an_unknown_format_lists_the_known_ones(draw: Draw) -> None:
    called = draw("single", "--format", "jpeg")
    assert called.code == 2
    for known in ("mermaid", "dot", "svg", "png"):
        assert known in called.err


def test_an_unknown_graph_is_one_line(draw: Draw) -> None:
    called = draw("self-mao")
    assert called.code == 2
    assert "did you mean `self-moa`?" in called.err
