"""The code blocks of a page, and what the comment above each says about running it.

A comment `<!-- test: ... -->` directly above a block says how it differs from the rule:

- `skip because REASON`: the block is not run, and the reason is printed;
- `models=embedded`: the real model runs it, not simulated ones;
- `file=NAME`: the block is the content of that file;
- `server=ADDRESS`: a server started by the test stands at that address;
- `exit=N`: its commands leave with that code;
- `output=varies`: what the page shows after a command is one of many outputs.

Several of them stand between semicolons.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = (
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "docs" / "schemas" / "README.md",
)
NOTES = frozenset({"skip", "models", "file", "server", "exit", "output"})
_BLOCK = re.compile(
    r"^(?:<!-- test: (?P<notes>.*?) -->\n)?^(?P<fence>```+)(?P<language>\w*)\n(?P<text>.*?)^(?P=fence)$",
    re.DOTALL | re.MULTILINE,
)


class Snippet(NamedTuple):
    """A code block: where it stands, its language, its text, and the notes above it."""

    page: Path
    line: int
    language: str
    text: str
    notes: Mapping[str, str]

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def skipped(self) -> str | None:
        """Why the block is not run; None where it is."""
        return self.notes.get("skip")

    @property
    def file(self) -> str | None:
        """The file that the block is the content of: noted above it, or in its first line as a comment."""
        named = re.match(r"# (\S+\.(?:yaml|py|toml))\n", self.text)
        return self.notes.get("file") or (named[1] if named else None)


class Call(NamedTuple):
    """A command of a shell block, the line it stands in, and the output that the page shows after it."""

    line: int
    text: str
    shown: str


def snippets(page: Path) -> list[Snippet]:
    """The code blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _BLOCK.finditer(text):
        line = text[: match.start("fence")].count("\n") + 1
        found.append(Snippet(page, line, match["language"], match["text"], _notes(match["notes"])))
    return found


def _notes(text: str | None) -> dict[str, str]:
    notes: dict[str, str] = {}
    for part in (text or "").split(";"):
        words = part.strip()
        if words.startswith("skip"):
            notes["skip"] = words.removeprefix("skip").strip().removeprefix("because ")
        elif words:
            key, _, value = words.partition("=")
            notes[key] = value
    unknown = notes.keys() - NOTES
    assert not unknown, f"unknown notes above a block: {unknown}"
    return notes


def calls(snippet: Snippet) -> Iterator[Call]:
    """The commands of a shell block; in a `console` block they begin with `$ ` and their output follows."""
    prompt = "$ " if snippet.language == "console" else ""
    commands: list[tuple[int, str]] = []
    shown: list[list[str]] = []
    for number, line in enumerate(snippet.text.splitlines(), snippet.line + 1):
        if commands and commands[-1][1].endswith("\\"):
            commands[-1] = (commands[-1][0], commands[-1][1].removesuffix("\\") + line.strip())
        elif line.startswith(prompt) and line.strip() and not line.startswith("#"):
            commands.append((number, line.removeprefix(prompt)))
            shown.append([])
        elif commands and prompt:
            shown[-1].append(line)
    for (number, command), lines in zip(commands, shown, strict=True):
        yield Call(number, command, "".join(f"{line}\n" for line in lines))
