"""A file of an experiment that grows item by item, in order, and is whole at any moment."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import IO, Generic, NamedTuple, Self, TypeVar

from moa.errors import UsageError
from moa.evaluate.folder import line_of, read_line
from moa.evaluate.records import Answer, Verdict

R = TypeVar("R", Answer, Verdict)


class _Line(NamedTuple, Generic[R]):
    """A record, its line's number and where that begins."""

    record: R
    number: int
    start: int


class Journal(Generic[R]):
    """The answers or verdicts of one entrant: what was recorded before, item by item, then what is added.

    With `anew` everything is written into a draft beside the file, which takes its place at the end: so
    lines in the middle can change, and whoever is killed meanwhile loses nothing.
    """

    def __init__(self, path: Path, kind: type[R], *, anew: bool = False) -> None:
        self.path = path
        self._kind: type[R] = kind
        self._anew = anew
        self._draft = path.with_name(f".{path.name}.draft")
        self._number = 0
        self._ahead: _Line[R] | None = None
        self._reader: IO[bytes] | None = None
        self._writer: IO[bytes]

    def __enter__(self) -> Self:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._draft.unlink(missing_ok=True)
            self._reader = os.fdopen(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
            self._writer = self._draft.open("wb") if self._anew else self.path.open("ab")
        except OSError as error:
            raise UsageError(f"cannot write {self.path}: {error.strerror}") from None
        try:
            drop_torn_line(self._reader)
            self._ahead = self._next_line()
        except UsageError:
            self._close_reader()
            self._writer.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()
        self._close_reader()
        if self._anew and error is None:
            self._draft.replace(self.path)
        else:
            self._draft.unlink(missing_ok=True)

    def recorded(self, item: str) -> tuple[R, ...]:
        """What is recorded about the next item; nothing once the file has come to its end.

        Call it for every item, in order, before anything is written about the first that has nothing.
        Raises `UsageError` where the file is about other items.
        """
        first = self._ahead
        if first is None:
            return ()
        if first.record.item != item:
            raise UsageError(
                f"{self.path}:{first.number}: is about the item {first.record.item!r} where {item!r} is due: "
                "the folder was changed by hand; choose another --out"
            )
        found, following = [first.record], self._next_line()
        while following is not None and following.record.item == item:
            found.append(following.record)
            following = self._next_line()
        self._ahead = following
        if len(found) < getattr(found[0], "of", 1):
            self._cut(first.start)
            return ()
        return tuple(found)

    def write(self, records: tuple[R, ...], *, known: bool) -> None:
        """Add what there is about an item; `known` says that the file has it already."""
        if self._anew or not known:
            self._writer.write(b"".join(map(line_of, records)))
            self._writer.flush()

    def _next_line(self) -> _Line[R] | None:
        if self._reader is None:
            return None
        start = self._reader.tell()
        line = self._reader.readline()
        if not line:
            self._close_reader()
            return None
        self._number += 1
        return _Line(read_line(line, self._kind, self.path, self._number), self._number, start)

    def _cut(self, start: int) -> None:
        """Forget the last item, of which not everything was written."""
        os.truncate(self.path, start)

    def _close_reader(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None


def drop_torn_line(file: IO[bytes]) -> None:
    """Cut off a last line of an open file that does not end, and go back to the start."""
    end = file.seek(0, os.SEEK_END)
    whole = end
    while whole:
        start = max(0, whole - 65536)
        file.seek(start)
        found = file.read(whole - start).rfind(b"\n")
        if found >= 0:
            whole = start + found + 1
            break
        whole = start
    if whole < end:
        file.truncate(whole)
    file.seek(0)
