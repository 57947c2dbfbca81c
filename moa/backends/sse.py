"""Server-sent events from bytes, however the network cuts them."""

from __future__ import annotations


class EventSplitter:
    """Finds the data of events in a stream of bytes.

    Lines end in CR, LF or CRLF; the `data` lines of an event are joined by a newline; comments and
    other fields are passed over. Bytes are split before they are decoded, so a character that lies
    across two chunks is whole again, and each byte is looked at once, however long a line is.
    """

    def __init__(self) -> None:
        self._line: list[bytes] = []
        """The pieces of a line whose end has not come yet."""
        self._data: list[bytes] = []
        self._after_cr = False
        self._first = True

    def feed(self, chunk: bytes) -> list[bytes]:
        """The data of the events that `chunk` completes."""
        if not chunk:
            return []
        if self._after_cr and chunk.startswith(b"\n"):
            chunk = chunk[1:]
        self._after_cr = chunk.endswith(b"\r") if chunk else False
        if not (self._first or self._line or self._data) and _is_one(chunk):
            return [chunk[6:-2]]
        events: list[bytes] = []
        for line in chunk.splitlines(keepends=True):
            content = line.rstrip(b"\r\n")
            self._line.append(content)
            if len(content) < len(line):
                self._end_line(events)
        return events

    def close(self) -> bytes:
        """What is left at the end of the stream: the data of an event without its blank line."""
        if self._line:
            self._end_line([])
        left, self._data = b"\n".join(self._data), []
        return left

    def _end_line(self, events: list[bytes]) -> None:
        line = self._line[0] if len(self._line) == 1 else b"".join(self._line)
        self._line.clear()
        if self._first:
            line, self._first = line.removeprefix(b"\xef\xbb\xbf"), False
        if line.startswith(b"data:"):
            self._data.append(line[6:] if line[5:6] == b" " else line[5:])
        elif line == b"data":
            self._data.append(b"")
        elif not line and self._data:
            events.append(b"\n".join(self._data))
            self._data.clear()


def _is_one(chunk: bytes) -> bool:
    """Whether it is one whole event of one line, as nearly all are that come word by word."""
    return (
        chunk.startswith(b"data: ")
        and chunk.find(b"\n") == len(chunk) - 2
        and chunk.endswith(b"\n\n")
        and b"\r" not in chunk
    )
