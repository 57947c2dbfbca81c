"""Many questions through one graph, into a file that can be resumed and that AlpacaEval reads."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from array import array
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple, Self

from moa.errors import UsageError
from moa.graph.plan import Plan
from moa.run.records import Entry
from moa.run.reply import Reply
from moa.run.runner import IN_FLIGHT, Runner

LOOKAHEAD = 2048
"""Questions that may be answered ahead of the slowest one; their answers wait in memory to be in order."""


@dataclass(slots=True)
class Progress:
    """How far a batch is: `reused` were in the file already."""

    reused: int = 0
    answered: int = 0
    failed: int = 0
    warned: int = 0
    tokens: int = 0
    cost: float | None = 0.0

    def count(self, reply: Reply) -> None:
        """Add one reply."""
        self.answered += reply.ok
        self.failed += not reply.ok
        self.warned += bool(reply.warnings)
        self.tokens += reply.usage.total_tokens
        cost = reply.cost
        self.cost = None if self.cost is None or cost is None else self.cost + cost


class _Line(NamedTuple):
    """A finished question: its line for the output, or None where it failed."""

    text: str | None


class Output:
    """The output file: lines in the order of the input, whole at any moment, one writer at a time.

    Opening it reads which questions are answered already; a last line that was cut short is removed.
    Lines that belong to another graph, other models or another seed are refused.
    """

    def __init__(self, path: Path, fingerprint: str) -> None:
        self.path = path
        self.fingerprint = fingerprint
        self._done = array("Q")
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("a+b")
        except OSError as error:
            raise UsageError(f"cannot write {self.path}: {error.strerror}") from None
        try:
            _lock(self._file, self.path)
            self._read_done(self._file)
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def has(self, record: Entry) -> bool:
        """Whether the question is answered; refuses a file that answers another one at its place."""
        known = self._done[record.number] if record.number < len(self._done) else 0
        if known and known != _digest(record.instruction):
            raise UsageError(
                f"{self.path} answers another question at index {record.number}: it belongs to a different input; "
                "choose another --out"
            )
        return bool(known)

    def write(self, text: str) -> None:
        """Append one line and hand it to the operating system."""
        assert self._file is not None
        self._file.write(text.encode() + b"\n")
        self._file.flush()

    def _read_done(self, file: IO[bytes]) -> None:
        file.seek(0)
        whole = 0
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                break
            self._note(line, number)
            whole += len(line)
        file.truncate(whole)
        file.seek(0, os.SEEK_END)

    def _note(self, line: bytes, number: int) -> None:
        try:
            entry = json.loads(line)
            index, instruction, fingerprint = entry["index"], entry["instruction"], entry["fingerprint"]
        except (ValueError, KeyError, TypeError):
            raise UsageError(
                f"{self.path}:{number}: not written by `moa batch`; choose another --out"
            ) from None
        if fingerprint != self.fingerprint:
            raise UsageError(
                f"{self.path}:{number}: answered by another graph, other models, sampling or seed; "
                "choose another --out or remove the file"
            )
        if index >= len(self._done):
            self._done.extend([0] * (index + 1 - len(self._done)))
        self._done[index] = _digest(instruction)


@dataclass(slots=True)
class Batch:
    """Runs the records of one input through one graph into one output."""

    runner: Runner
    plan: Plan
    output: Output
    generator: str
    in_flight: int = IN_FLIGHT
    progress: Progress = field(default_factory=Progress)
    report: Callable[[Progress], None] | None = None
    _next: int = 0
    _waiting: dict[int, _Line] = field(default_factory=dict)
    _moved: asyncio.Event = field(default_factory=asyncio.Event)
    _lines: list[str] = field(default_factory=list)
    """Lines in order that are ready to be written."""
    _finished: asyncio.Event = field(default_factory=asyncio.Event)
    _ended: bool = False

    async def run(self, records: Iterator[Entry]) -> Progress:
        """Answer everything that the output does not have yet; failures go to `<output>.errors.jsonl`."""
        errors = Failures(self.output.path)
        writing = asyncio.create_task(self._write_lines())
        try:
            answers = self.runner.map(self.plan, self._open(records), in_flight=self.in_flight)
            async with aclosing(answers):
                async for item, reply in answers:
                    record: Entry = item["record"]
                    self.progress.count(reply)
                    if reply.error is not None:
                        errors.write(record, reply)
                    self._finish(record.number, self._line(record, reply) if reply.ok else None)
                    if self.report:
                        self.report(self.progress)
                    if writing.done():
                        break
        finally:
            errors.close()
            self._ended = True
            self._finished.set()
            await writing
        return self.progress

    async def _write_lines(self) -> None:
        """Write finished lines, each once the store holds all that its answer rests on."""
        while not self._ended or self._lines:
            await self._finished.wait()
            self._finished.clear()
            lines, self._lines = self._lines, []
            if self.runner.store is not None:
                await self.runner.store.flush()
            for line in lines:
                self.output.write(line)

    async def _open(self, records: Iterator[Entry]) -> AsyncIterator[Mapping[str, Any]]:
        """The questions still to be answered, no further ahead of the slowest than memory should hold."""
        for record in records:
            if self.output.has(record):
                self.progress.reused += 1
                self._finish(record.number, None)
                continue
            while record.number - self._next >= LOOKAHEAD:
                self._moved.clear()
                await self._moved.wait()
            yield {"prompt": record.question, "record": record}

    def _finish(self, index: int, text: str | None) -> None:
        self._waiting[index] = _Line(text)
        while (line := self._waiting.pop(self._next, None)) is not None:
            if line.text is not None:
                self._lines.append(line.text)
                self._finished.set()
            self._next += 1
        self._moved.set()

    def _line(self, record: Entry, reply: Reply) -> str:
        line = {
            **record.extra,
            "index": record.number,
            "instruction": record.instruction,
            "output": reply.text,
            "generator": self.generator,
            "fingerprint": self.output.fingerprint,
            **({"warnings": list(reply.warnings)} if reply.warnings else {}),
        }
        return json.dumps(line, ensure_ascii=False, default=str)


class Failures:
    """Questions that failed, one JSON line each, beside the output; there is no file where none failed."""

    def __init__(self, output: Path) -> None:
        self.path = self.path_of(output)
        self.path.unlink(missing_ok=True)
        self._file: IO[str] | None = None

    @staticmethod
    def path_of(output: Path) -> Path:
        """Where the failures of a batch into `output` are listed."""
        return output.with_name(output.name + ".errors.jsonl")

    def write(self, record: Entry, reply: Reply) -> None:
        """Append one failure, with what each node did."""
        if self._file is None:
            self._file = self.path.open("w", encoding="utf-8")
        entry = {"index": record.number, "instruction": record.instruction, **reply.to_json()}
        self._file.write(json.dumps(entry, ensure_ascii=False, default=str) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file, if anything was written."""
        if self._file is not None:
            self._file.close()


def _lock(file: IO[bytes], path: Path) -> None:
    """One writer at a time; the system drops the lock even when the process is killed."""
    if sys.platform == "win32":
        return
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise UsageError(f"another process is writing {path}; wait for it or choose another --out") from None


def _digest(text: str) -> int:
    """A 64-bit mark of a text, never 0."""
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big") or 1
