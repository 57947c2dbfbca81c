"""The documentation holds: its blocks run, its links lead somewhere, and it names what there is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.core import TyperGroup, TyperOption

import moa
from moa import errors
from moa.cli import app
from moa.nodes import selector
from moa.run import telemetry
from tests.support.snippets import PAGES, ROOT, Snippet, snippets
from tests.support.workplace import Workplace

DOCS = ROOT / "docs"
SKIPPED = [snippet for page in PAGES for snippet in snippets(page) if snippet.skipped]


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture
def workplace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Workplace:
    return Workplace(tmp_path, monkeypatch, capsys)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_block_runs(page: Path, workplace: Workplace) -> None:
    workplace.simulate()
    assert workplace.moa("run", "single", "What is this?").code == 0
    blocks = [snippet for snippet in snippets(page) if not snippet.skipped and "models" not in snippet.notes]
    wrong = [line for snippet in blocks for line in workplace.run(snippet)]
    assert not wrong, "\n".join(wrong)


def test_no_block_is_skipped_without_a_reason() -> None:
    for snippet in SKIPPED:
        print(f"{snippet}: not run: {snippet.skipped}")
    assert all(snippet.skipped for snippet in SKIPPED)


def test_a_block_that_does_not_hold_is_found(workplace: Workplace) -> None:
    def wrong(language: str, text: str, **notes: str) -> list[str]:
        return workplace.run(Snippet(ROOT / "README.md", 1, language, text, notes))

    workplace.simulate()
    assert not wrong("python", "import moa\nawait moa.load('single').run('Why?')\n")
    assert "ZeroDivisionError" in wrong("python", "1 / 0\n")[0]
    assert "unknown option" in wrong("sh", "moa list --jsn\n")[0].lower().replace("no such", "unknown")
    assert "known command" in wrong("sh", "mao list\n")[0]
    assert "left with 0, not 2" in wrong("sh", "moa list\n", exit="2")[0]
    assert "this came" in wrong("console", "$ moa --version\nmoa 999\n")[0]
    assert not wrong("console", "$ moa --version\nmoa ...\n")
    assert "left with 2" in wrong("sh", "moa list nothing | cat\n")[0]
    assert "unknown key" in wrong("yaml", "nodes: {answer: {agent: proposer, modl: a}}\n")[0]
    assert "cobol" in wrong("cobol", "STOP RUN.\n")[0]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = [link for link in _links(page) if not _leads_somewhere(page, link)]
    assert not broken


def test_the_index_leads_to_every_page() -> None:
    reached = {(DOCS / link.partition("#")[0]).resolve() for link in _links(DOCS / "index.md")}
    assert {page for page in PAGES if page.name != "index.md"} <= reached


def _links(page: Path) -> list[str]:
    """The targets of a page's links, but those to the web."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if not link.startswith("http")]


def _leads_somewhere(page: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    return target.exists() and (not anchor or anchor in set(_anchors(target)))


def _anchors(page: Path) -> Iterator[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    for heading in re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE):
        yield re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _commands() -> Iterator[tuple[str, Any]]:
    """Every command by its full name."""
    for called, command in typer.main.get_group(app).commands.items():
        if isinstance(command, TyperGroup):
            yield from ((f"{called} {inner}", found) for inner, found in command.commands.items())
        else:
            yield called, command


def _section(command: str) -> str:
    """What the page says of a command: the part whose heading names it."""
    word = command.split()[0]
    parts = re.split(r"^## ", (DOCS / "cli.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    [section] = [part for part in parts if re.match(rf".*\bmoa {word}\b", part.partition("\n")[0])]
    return section


@pytest.mark.parametrize("command", dict(_commands()))
def test_the_command_line_page_has_every_option(command: str) -> None:
    section = _section(command)
    options = {
        option
        for parameter in dict(_commands())[command].params
        if isinstance(parameter, TyperOption)
        for option in parameter.opts
        if option.startswith("--") and option != "--help"
    }
    assert {option for option in options if f"`{option}" not in section} == set()


def test_the_command_line_page_has_no_option_that_is_not_there() -> None:
    page = (DOCS / "cli.md").read_text(encoding="utf-8")
    root = typer.main.get_command(app)
    options = {
        option
        for command in (root, *dict(_commands()).values())
        for parameter in command.params
        for option in parameter.opts
    }
    shown = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", page)) - {"--help"}
    assert shown - options == set()


def test_the_python_page_names_everything_public() -> None:
    page = (DOCS / "python.md").read_text(encoding="utf-8")
    public = [public for public in dir(moa) if not public.startswith("__")]
    assert [public for public in public if not re.search(rf"\b{public}\b", page)] == []


def test_the_python_page_names_every_error() -> None:
    page = (DOCS / "python.md").read_text(encoding="utf-8")
    known = [
        error
        for error, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, errors.MoaError)
    ]
    assert [error for error in known if error not in page] == []


def test_the_telemetry_page_names_every_attribute() -> None:
    page = (DOCS / "telemetry.md").read_text(encoding="utf-8")
    source = Path(telemetry.__file__).read_text(encoding="utf-8")
    attributes = set(re.findall(r'"((?:gen_ai|moa|error)\.[a-z_.]+)"', source))
    assert len(attributes) > 10
    assert attributes == set(re.findall(r"`((?:gen_ai|moa\.node|error)\.[a-z_.]+)`", page))


def test_the_plugins_page_names_what_a_selector_may_override() -> None:
    pages = "".join((DOCS / page).read_text(encoding="utf-8") for page in ("plugins.md", "selectors.md"))
    methods = [
        method for method in vars(selector.Selector) if method in ("select", "kept", "calls", "needs_agent")
    ]
    assert len(methods) == 4
    assert [method for method in methods if method not in pages] == []
