"""The file that a batch writes: in the order of the input, whole at any moment, and resumed by the next run."""

from __future__ import annotations

import json
import os
import sys
from array import array
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple, Self

from moa.errors import UsageError
from moa.run.records import Entry

OTHERS = (".csv", ".tsv", ".parquet", ".gz", ".xlsx")
"""Endings of files that would not hold what they promise."""


class Layout(NamedTuple):
    """What stands before, between and after the answers, one of which takes one line."""

    head: bytes
    between: bytes
    tail: bytes


LINES = Layout(b"", b"\n", b"\n")
LIST = Layout(b"[\n", b",\n", b"\n]\n")


class Output:
    """The answers of a batch: JSON lines, or a JSON list where the name ends in `.json`; one writer at a time.

    Opening it reads which questions are answered already; a last line that was cut short is removed.
    Lines that belong to another graph, other models or another seed are refused with `UsageError`.
    """

    def __init__(self, path: Path, fingerprint: str) -> None:
        self.path = path
        self.fingerprint = fingerprint
        self._layout = LIST if path.suffix.lower() == ".json" else LINES
        self._marks = array("Q")
        """For each question a mark of its instruction; 0 where it has no answer yet."""
        self._starts = array("Q")
        """Where its line begins."""
        self._end = 0
        """Where the last answer ends; `tail` follows."""
        self._latest = -1
        self._sorted = True
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        self._file = self._open()
        try:
            lock(self._file, self.path)
            self._read_answers(self._file)
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def has(self, entry: Entry) -> bool:
        """Whether the question is answered; refuses a file that answers another one at its place."""
        known = self._marks[entry.number] if entry.number < len(self._marks) else 0
        if known and known != _mark(entry.instruction):
            raise UsageError(
                f"{self.path} answers another question at index {entry.number}: it belongs to a different input; "
                "choose another --out"
            )
        return bool(known)

    def write(self, entry: Entry, fields: Mapping[str, Any]) -> None:
        """Append the answer of one question and hand it to the operating system."""
        assert self._file is not None
        line = dumped({**entry.extra, "index": entry.number, "instruction": entry.instruction, **fields})
        before = self._layout.between if self._end else self._layout.head
        self._file.seek(self._end)
        self._file.write(before + line + self._layout.tail)
        self._file.flush()
        self._note(entry.number, entry.instruction, self._end + len(before))
        self._end += len(before) + len(line)

    def sort(self) -> None:
        """Bring the answers into the order of the input, where questions were answered only later."""
        if self._sorted or self._file is None:
            return
        draft = self.path.with_name(f".{self.path.name}.sorting")
        with draft.open("wb") as file:
            for number, line in enumerate(self._lines_in_order(self._file)):
                file.write((self._layout.between if number else self._layout.head) + line)
            file.write(self._layout.tail)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.path)
        self._file.close()
        self._file = None

    def _lines_in_order(self, file: IO[bytes]) -> Iterator[bytes]:
        for mark, start in zip(self._marks, self._starts, strict=True):
            if mark:
                file.seek(start)
                yield _stripped(file.readline())

    def _open(self) -> IO[bytes]:
        if self.path.suffix.lower() in OTHERS:
            raise UsageError(f"{self.path}: write .jsonl (a JSON object a line) or .json (a list of them)")
        if self.path.exists() and not self.path.is_file():
            raise UsageError(f"{self.path} is not a file that can be resumed; choose another --out")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            return os.fdopen(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
        except OSError as error:
            raise UsageError(f"cannot write {self.path}: {error.strerror}") from None

    def _read_answers(self, file: IO[bytes]) -> None:
        """Note every whole line, and cut off what follows the last of them."""
        start = 0
        for number, line in enumerate(file, 1):
            answer = _stripped(line)
            if answer not in (b"", b"["):
                self._read_answer(answer, line, number, start)
            start += len(line)
        file.truncate(self._end)
        file.seek(self._end)
        if self._end or self._layout.head:
            file.write(self._layout.tail if self._end else self._layout.head + self._layout.tail)
            file.flush()

    def _read_answer(self, answer: bytes, line: bytes, number: int, start: int) -> None:
        """Note one line, unless it was cut short, which only the last one can be."""
        cut_short = answer.startswith(b"{") and not line.endswith(b"\n")
        try:
            entry = json.loads(answer)
            index, instruction, fingerprint = entry["index"], entry["instruction"], entry["fingerprint"]
        except (ValueError, KeyError, TypeError) as error:
            if cut_short and isinstance(error, ValueError):
                return
            raise self._foreign(number) from None
        if fingerprint != self.fingerprint:
            raise UsageError(
                f"{self.path}:{number}: answered by another graph, other models, sampling or seed; "
                "choose another --out or remove the file"
            )
        if not isinstance(index, int) or index < 0 or not isinstance(instruction, str):
            raise self._foreign(number)
        self._note(index, instruction, start)
        self._end = start + len(answer)

    def _foreign(self, number: int) -> UsageError:
        return UsageError(f"{self.path}:{number}: not written by `moa batch`; choose another --out")

    def _note(self, index: int, instruction: str, start: int) -> None:
        missing = index + 1 - len(self._marks)
        if missing > 0:
            self._marks.extend([0] * missing)
            self._starts.extend([0] * missing)
        self._marks[index] = _mark(instruction)
        self._starts[index] = start
        self._sorted = self._sorted and index > self._latest
        self._latest = max(self._latest, index)


def dumped(fields: Mapping[str, Any]) -> bytes:
    """One line of JSON, whatever a table held; half a surrogate pair, which has no UTF-8, is escaped."""
    text = json.dumps(fields, ensure_ascii=False, default=str)
    try:
        return text.encode()
    except UnicodeEncodeError:
        return json.dumps(fields, default=str).encode()


def _stripped(line: bytes) -> bytes:
    """An answer without what stands between answers: every one ends in a brace."""
    return line.strip().rstrip(b",]")


def lock(file: IO[bytes], path: Path) -> None:
    """One writer at a time; the system drops the lock even when the process is killed."""
    if sys.platform == "win32":
        return
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise UsageError(f"another process is writing {path}; wait for it or choose another --out") from None
    if not os.path.samestat(os.fstat(file.fileno()), path.stat()):
        raise UsageError(f"another process has just rewritten {path}; run the same command again")


def _mark(text: str) -> int:
    """A 64-bit mark of a text, never 0."""
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big") or 1
