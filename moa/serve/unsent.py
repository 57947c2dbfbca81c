"""What of a streamed text may go out now, when the text may begin anew."""

from __future__ import annotations


class Diverged(Exception):
    """The text began anew and is not the one whose beginning was sent."""


class Unsent:
    """Holds the text of one answer against what was sent of it.

    White space at either end is no part of an answer, so what may be the end is held back. A text that begins anew
    (the connection to its model was lost) is sent from where the first one broke off, as long as it says the same;
    where it does not, what was sent cannot be taken back, and `Diverged` is raised.
    """

    def __init__(self) -> None:
        self._sent: list[str] = []
        self._held = ""
        """White space that goes out with the next word."""
        self._again: str | None = None
        """The text that began anew, until it has caught up with what was sent."""

    def add(self, piece: str, restart: bool = False) -> str:
        """Take in a piece; what may be sent now."""
        if restart:
            self._held, self._again = "", ""
        if self._again is not None:
            return self._catch_up(piece)
        text = self._held + piece if self._sent else piece.lstrip()
        ready = text.rstrip()
        self._held = text[len(ready) :]
        if ready:
            self._sent.append(ready)
        return ready

    def finish(self, text: str) -> str:
        """The rest of the whole text."""
        sent, whole = "".join(self._sent), text.strip()
        if not whole.startswith(sent):
            raise Diverged
        self._sent = [whole]
        return whole[len(sent) :]

    def _catch_up(self, piece: str) -> str:
        assert self._again is not None
        self._again += piece
        sent, ready = "".join(self._sent), self._again.strip()
        if len(ready) <= len(sent):
            if not sent.startswith(ready):
                raise Diverged
            return ""
        if not ready.startswith(sent):
            raise Diverged
        self._held = self._again[len(self._again.rstrip()) :]
        self._sent, self._again = [ready], None
        return ready[len(sent) :]
