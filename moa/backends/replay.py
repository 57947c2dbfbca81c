"""Recorded outputs as a model: `replay:FILE` answers each instruction with what was recorded for it."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from moa.backends.base import Choice, Completion, Delta, Emit, Message, Request, Usage
from moa.backends.counting import estimate
from moa.backends.options import read_options
from moa.backends.replies import CHARACTERS_PER_TOKEN, text_of
from moa.errors import BadRequestError, UsageError
from moa.spec.agent import Spec
from moa.spec.model import ModelSpec

SHOWN = 60
"""Characters of an instruction that an error shows."""
_TABLES = ("instructions.jsonl", "instructions.jsonl.gz", "instructions.json")


class ReplayOptions(Spec):
    """`options` of a `replay` model."""

    instructions: str | None = None
    """A file with `index` and `instruction`, for recordings that name instructions by `index` only."""
    generator: str | None = None
    """Take only the outputs of this generator, where a file holds several."""


@dataclass(frozen=True, slots=True)
class Recording:
    """The outputs of one file by instruction, in the order of the file."""

    outputs: Mapping[str, Sequence[str]]
    generator: str = ""


class _Row(NamedTuple):
    fields: Mapping[str, Any]
    place: str


class Replay:
    """A model that says what was recorded.

    The file holds AlpacaEval outputs (`instruction`, `output`, `generator`), which is also what
    `moa batch` writes, or `index` and `output` beside a table of instructions; JSON or JSONL, gzip
    or not. The latest user turn is looked up, word for word but for space at its ends. Several
    recordings of one instruction are its samples, taken by seed; after the last comes the first again.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self.options = read_options(ReplayOptions, spec)
        if spec.file is None and not spec.model:
            raise UsageError(f"{spec.name or 'replay'} names no file: write replay:FILE, or `file: FILE`")
        self.path = Path(spec.file or spec.model).expanduser()
        self.name = spec.name or f"replay:{self.path}"
        self._recording: Recording | None = None
        self._short: set[str] = set()

    async def complete(self, request: Request, emit: Emit | None = None) -> Completion:
        """The recorded outputs of the latest user turn; usage is estimated.

        Raises:
            BadRequestError: for a question that was not recorded.
            UsageError: when the file is not there or cannot be read.
        """
        recording = self._load()
        question = latest_turn(request.messages)
        outputs = recording.outputs.get(question)
        if not outputs:
            raise BadRequestError(f"{self.name}: {self.path.name} holds no output for {_shortened(question)}")
        if len(outputs) < request.n:
            self._short.add(question)
        texts = [outputs[((request.seed or 0) + index) % len(outputs)] for index in range(request.n)]
        if emit is not None:
            for index, text in enumerate(texts):
                emit(Delta(index, text))
        prompt = estimate(request.messages)
        return Completion(
            tuple(_choice(text, 0 if index else prompt) for index, text in enumerate(texts)),
            recording.generator or self.name,
        )

    def notes(self) -> tuple[str, ...]:
        """What the user should know: questions that were asked for more samples than there are."""
        if not self._short:
            return ()
        return (f"{self.name} has too few recordings of {len(self._short)} question(s); they repeat",)

    async def context_length(self) -> int | None:
        """What the spec says; recordings have no window."""
        return self.spec.context

    async def aclose(self) -> None:
        """Forget the recording."""
        self._recording = None

    def _load(self) -> Recording:
        if self._recording is None:
            table = Path(self.options.instructions).expanduser() if self.options.instructions else None
            self._recording = read_recording(self.path, table, self.options.generator)
        return self._recording


def latest_turn(messages: Sequence[Message]) -> str:
    """The text of the last user message, without space at its ends."""
    turns = [message for message in messages if message.get("role") == "user"]
    return text_of(turns[-1].get("content")).strip() if turns else ""


def read_recording(path: Path, table: Path | None = None, generator: str | None = None) -> Recording:
    """The recording in `path`.

    Args:
        path: JSON or JSONL, gzip or not.
        table: Instructions by index; looked for beside the file and one folder up by default.
        generator: Take only its outputs.

    Raises:
        UsageError: for a file that is missing, damaged, or of another kind; names the row.
    """
    gathering = _Gathering(path, table)
    for row in _rows(path):
        if generator is None or row.fields.get("generator") == generator:
            gathering.add(row)
    if not gathering.outputs:
        whose = f" of generator {generator!r}" if generator else ""
        raise UsageError(f"{path} holds no outputs{whose}")
    return Recording(gathering.outputs, " + ".join(gathering.generators))


@dataclass(slots=True)
class _Gathering:
    path: Path
    table: Path | None
    outputs: dict[str, list[str]] = field(default_factory=dict)
    generators: dict[str, None] = field(default_factory=dict)
    _instructions: dict[int, str] | None = None

    def add(self, row: _Row) -> None:
        fields, place = row
        output = fields.get("output")
        if output is None and "output" in fields:
            return  # The run that wrote this had no answer here; asking for it is an error.
        if not isinstance(output, str):
            raise UsageError(f"{place}: expected a text in `output` (an AlpacaEval outputs file has one)")
        self.outputs.setdefault(self._instruction(fields, place).strip(), []).append(output)
        if isinstance(named := fields.get("generator"), str):
            self.generators[named] = None

    def _instruction(self, fields: Mapping[str, Any], place: str) -> str:
        found = fields.get("instruction")
        if isinstance(found, str):
            return found
        if not isinstance(fields.get("index"), int):
            raise UsageError(f"{place}: expected `instruction`, or `index` beside a table of instructions")
        if self._instructions is None:
            self._instructions = _read_table(self.table or _neighbour(self.path))
        try:
            return self._instructions[fields["index"]]
        except KeyError:
            raise UsageError(f"{place}: the table of instructions has no index {fields['index']}") from None


def _neighbour(path: Path) -> Path:
    """The table of instructions that lies beside `path` or one folder up."""
    for folder in (path.parent, path.resolve().parent.parent):
        for name in _TABLES:
            if (folder / name).is_file():
                return folder / name
    raise UsageError(
        f"{path} names instructions by index: put {_TABLES[0]} beside it, or name it with "
        "`options: {instructions: FILE}` in models.yaml"
    )


def _read_table(path: Path) -> dict[int, str]:
    table = {}
    for fields, place in _rows(path):
        index, instruction = fields.get("index"), fields.get("instruction")
        if not isinstance(index, int) or not isinstance(instruction, str):
            raise UsageError(f"{place}: expected `index` and `instruction`")
        table[index] = instruction
    return table


def _rows(path: Path) -> Iterator[_Row]:
    """The objects of a JSON array or of JSON lines."""
    text = _read(path)
    if text.lstrip()[:1] == "[":
        found = [(f"{path}, item {number}", item) for number, item in enumerate(_json(text, str(path)), 1)]
    else:
        lines = ((f"{path}:{number}", line) for number, line in enumerate(text.split("\n"), 1))
        found = [(place, _json(line, place)) for place, line in lines if line.strip()]
    for place, item in found:
        if not isinstance(item, dict):
            raise UsageError(f'{place}: expected an object such as {{"instruction": …, "output": …}}')
        yield _Row(item, place)


def _read(path: Path) -> str:
    try:
        raw = path.read_bytes()
        return (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode("utf-8-sig")
    except FileNotFoundError:
        raise UsageError(f"there is no recording at {path}") from None
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {error}") from None


def _json(text: str, place: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise UsageError(f"{place}: not JSON: {error}") from None


def _choice(text: str, prompt: int) -> Choice:
    return Choice(text, "stop", usage=Usage(prompt, -(-len(text) // CHARACTERS_PER_TOKEN), estimated=True))


def _shortened(question: str) -> str:
    line = " ".join(question.split())
    return repr(line if len(line) <= SHOWN else f"{line[: SHOWN - 1]}…")
