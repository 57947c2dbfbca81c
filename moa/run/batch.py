"""Many questions through one graph, into a file that can be resumed and that AlpacaEval reads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NamedTuple

from moa.graph.plan import Plan
from moa.run.output import Output, dumped
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


class _Finished(NamedTuple):
    """A question that is done: what goes into its line, or None where there is nothing to write."""

    entry: Entry
    fields: Mapping[str, Any] | None


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
    _waiting: dict[int, _Finished] = field(default_factory=dict)
    _moved: asyncio.Event = field(default_factory=asyncio.Event)
    _lines: list[_Finished] = field(default_factory=list)
    """Answers in order that are ready to be written."""
    _ready: asyncio.Event = field(default_factory=asyncio.Event)
    _ended: bool = False

    async def run(self, entries: Iterator[Entry]) -> Progress:
        """Answer everything that the output does not have yet; failures go to `<output>.errors.jsonl`."""
        errors = Failures(self.output.path)
        writing = asyncio.create_task(self._write_lines())
        try:
            answers = self.runner.map(self.plan, self._open(entries), in_flight=self.in_flight)
            async with aclosing(answers):
                async for item, reply in answers:
                    self._take(item["entry"], reply, errors)
                    if writing.done():
                        break
        finally:
            errors.close()
            self._release_waiting()
            self._ended = True
            self._ready.set()
            await writing
            self.output.sort()
        return self.progress

    def _take(self, entry: Entry, reply: Reply, errors: Failures) -> None:
        self.progress.count(reply)
        if reply.error is not None:
            errors.write(entry, reply)
        self._finish(_Finished(entry, self._fields(reply) if reply.ok else None))
        if self.report:
            self.report(self.progress)

    async def _write_lines(self) -> None:
        """Write finished lines, each once the store holds all that its answer rests on."""
        while not self._ended or self._lines:
            await self._ready.wait()
            self._ready.clear()
            lines, self._lines = self._lines, []
            if self.runner.store is not None:
                await self.runner.store.flush()
            for line in lines:
                assert line.fields is not None
                self.output.write(line.entry, line.fields)

    async def _open(self, entries: Iterator[Entry]) -> AsyncIterator[Mapping[str, Any]]:
        """The questions still to be answered, no further ahead of the slowest than memory should hold."""
        for entry in entries:
            if self.output.has(entry):
                self.progress.reused += 1
                self._finish(_Finished(entry, None))
                continue
            while entry.number - self._next >= LOOKAHEAD:
                self._moved.clear()
                await self._moved.wait()
            yield {"prompt": entry.question, "entry": entry}

    def _finish(self, finished: _Finished) -> None:
        self._waiting[finished.entry.number] = finished
        while (line := self._waiting.pop(self._next, None)) is not None:
            if line.fields is not None:
                self._lines.append(line)
                self._ready.set()
            self._next += 1
        self._moved.set()

    def _release_waiting(self) -> None:
        """Let go of answers that wait for slower ones, which will not come any more where a run ends early."""
        rest = sorted(self._waiting.items())
        self._waiting.clear()
        self._lines += [line for _, line in rest if line.fields is not None]

    def _fields(self, reply: Reply) -> dict[str, Any]:
        return {
            "output": reply.text,
            "generator": self.generator,
            "fingerprint": self.output.fingerprint,
            **({"warnings": list(reply.warnings)} if reply.warnings else {}),
        }


class Failures:
    """Questions that failed, one JSON line each, beside the output; there is no file where none failed."""

    def __init__(self, output: Path) -> None:
        self.path = self.path_of(output)
        self.path.unlink(missing_ok=True)
        self._file: IO[bytes] | None = None

    @staticmethod
    def path_of(output: Path) -> Path:
        """Where the failures of a batch into `output` are listed."""
        return Path(f"{output}.errors.jsonl")

    def write(self, entry: Entry, reply: Reply) -> None:
        """Append one failure, with what each node did."""
        if self._file is None:
            self._file = self.path.open("wb")
        line = dumped({"index": entry.number, "instruction": entry.instruction, **reply.to_json()})
        self._file.write(line + b"\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file, if anything was written."""
        if self._file is not None:
            self._file.close()
