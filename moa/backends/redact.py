"""Keeping keys out of messages: some servers repeat the key they refuse."""

from __future__ import annotations

import re

MASK = "[key]"
SHORTEST = 8
"""A piece of a key of this many characters is masked as well; servers like to quote a part of it."""

_LOOKS_SECRET = re.compile(
    r"\b(?:(?:sk|gsk|xai|hf|nvapi|pk|rk|tgp|fw)[-_]|AIza)[A-Za-z0-9_-]{16,}|(?<=Bearer )[^\s\"',;]+"
)


class Secret:
    """A key that shows itself only where it is sent."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The key itself."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({MASK})"

    __str__ = __repr__


def redact(text: str, secret: Secret | None = None) -> str:
    """`text` without `secret`, without longer pieces of it, and without what looks like another key."""
    if secret is not None and secret.reveal():
        text = _without(text, secret.reveal())
    return _LOOKS_SECRET.sub(MASK, text)


def _without(text: str, key: str) -> str:
    if len(key) < SHORTEST:
        # Words such as `EMPTY` stand in for keys of servers that want none.
        return text.replace(key, MASK) if len(key) > 3 else text
    pieces = {key[start : start + SHORTEST] for start in range(len(key) - SHORTEST + 1)}
    hidden = [False] * len(text)
    for start in range(len(text) - SHORTEST + 1):
        if text[start : start + SHORTEST] in pieces:
            hidden[start : start + SHORTEST] = [True] * SHORTEST
    shown = (
        MASK if secret and not before else "" if secret else char
        for char, secret, before in _runs(text, hidden)
    )
    return "".join(shown)


def _runs(text: str, hidden: list[bool]) -> zip[tuple[str, bool, bool]]:
    return zip(text, hidden, [False, *hidden], strict=False)
