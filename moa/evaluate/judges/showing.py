"""Conversations and answers as a judge is shown them."""

from __future__ import annotations

from collections.abc import Sequence

from moa.backends.replies import text_of
from moa.evaluate.records import Item


def history_of(item: Item) -> list[dict[str, str]]:
    """The conversation before the item's first turn: a `role` and a `text` each."""
    return [
        {"role": str(message.get("role", "user")), "text": text_of(message.get("content"))}
        for message in item.history
    ]


def joined(texts: Sequence[str]) -> str:
    """One text as it is; several with their turns' numbers."""
    if len(texts) == 1:
        return texts[0]
    return "\n\n".join(f"Turn {number}:\n{text}" for number, text in enumerate(texts, 1))
