"""Many questions through one graph, into a file that can be resumed and that AlpacaEval reads."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NamedTuple

from moa.graph.plan import Plan
from moa.run.flow import LOOKAHEAD, InOrder
from moa.run.output import Output, dumped
from moa.run.records import Entry
from moa.run.reply import Reply
from moa.run.runner import Runner


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
    """A question that is answered, and what goes into its line."""

    entry: Entry
    fields: Mapping[str, Any]


@dataclass(slots=True)
class Batch:
    """Runs the records of one input through one graph into one output."""

    runner: Runner
    plan: Plan
    output: Output
    generator: str
    in_flight: int | None = None
    progress: Progress = field(default_factory=Progress)
    report: Callable[[Progress], None] | None = None

    async def run(self, entries: Iterator[Entry]) -> Progress:
        """Answer everything that the output does not have yet; failures go to `<output>.errors.jsonl`."""
        errors = Failures(self.output.path)
        try:
            async with InOrder(self._write, self.runner.store, lookahead=LOOKAHEAD, gaps=True) as lines:
                answers = self.runner.map(self.plan, self._open(entries, lines), in_flight=self.in_flight)
                async with aclosing(answers):
                    async for item, reply in answers:
                        self._take(item["entry"], reply, lines, errors)
                        if lines.broken:
                            break
        finally:
            errors.close()
            self.output.sort()
        return self.progress

    async def _open(
        self, entries: Iterator[Entry], lines: InOrder[_Line]
    ) -> AsyncIterator[Mapping[str, Any]]:
        """The questions still to be answered."""
        for entry in entries:
            if self.output.has(entry):
                self.progress.reused += 1
                lines.done(entry.number, None)
                continue
            await lines.room(entry.number)
            yield {"prompt": entry.question, "entry": entry}

    def _take(self, entry: Entry, reply: Reply, lines: InOrder[_Line], errors: Failures) -> None:
        self.progress.count(reply)
        if reply.error is not None:
            errors.write(entry, reply)
        lines.done(entry.number, _Line(entry, self._fields(reply)) if reply.ok else None)
        if self.report:
            self.report(self.progress)

    def _write(self, line: _Line) -> None:
        self.output.write(line.entry, line.fields)

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
