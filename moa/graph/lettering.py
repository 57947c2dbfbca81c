"""How wide a text is in a drawing, and how it is shortened to fit."""

from __future__ import annotations

from functools import lru_cache

from PIL import ImageFont

SAFETY = 1.12
"""A reader's browser may take a wider font than the one that measures here."""


@lru_cache(maxsize=32)
def font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own scalable font."""
    return ImageFont.load_default(size)


@lru_cache(maxsize=8192)
def width_of(text: str, size: float) -> float:
    """About how wide a line of text is, in the unit of `size`."""
    return font(100).getlength(text) * size / 100 * SAFETY


def fitted(text: str, size: float, room: float) -> str:
    """The text on one line, its middle replaced by an ellipsis where it is wider than `room`."""
    line = " ".join(text.split())
    if width_of(line, size) <= room:
        return line
    for kept in range(len(line) - 1, 1, -1):
        head = line[: (kept + 1) // 2].rstrip()
        tail = line[len(line) - kept // 2 :].lstrip() if kept // 2 else ""
        if width_of(f"{head}…{tail}", size) <= room:
            return f"{head}…{tail}"
    return "…"
