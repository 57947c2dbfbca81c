"""What a store certainly does not hold: a Bloom filter over the requests that it does (Bloom 1970), of one hash.

A new question's requests are not stored, and asking SQLite to say so costs more than everything else the
store does for them, because each statement hands the interpreter's lock to the writer's thread and back.
"""

from __future__ import annotations

from collections.abc import Iterable

BITS = 1 << 25
"""Four megabytes: at 100,000 requests one look-up in 335 is in vain, at a million one in 34."""
MOST = 200_000
"""Stored requests up to which the filter is filled when a store is first asked (0.2 seconds)."""

_MASK = BITS - 1
_PREFIX = 7
"""Hexadecimal digits of a key that its position in the filter is made of."""


class Absence:
    """Holds the bases of requests; `maybe` is wrong only when it says yes."""

    __slots__ = ("_bits",)

    def __init__(self, bases: Iterable[str] = ()) -> None:
        self._bits = bytearray(BITS // 8)
        for base in bases:
            self.add(base)

    def add(self, base: str) -> None:
        """Take in the base of a request, or a key that begins with it."""
        position = int(base[:_PREFIX], 16) & _MASK
        self._bits[position >> 3] |= 1 << (position & 7)

    def maybe(self, key: str) -> bool:
        """Whether the request of this key may be there."""
        position = int(key[:_PREFIX], 16) & _MASK
        return bool(self._bits[position >> 3] & (1 << (position & 7)))
