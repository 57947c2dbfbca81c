"""The user's turns of a row, and the conversation before them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moa.errors import UsageError
from moa.evaluate.tasks.rows import Row, as_list, paths
from moa.run.conversation import read_conversation


def turns_of(row: Row) -> tuple[str, ...]:
    """The user's turns: `turns`, or the last of `messages`, or `prompt`."""
    turns = as_list(row.get("turns"))
    if turns is not None:
        return _several(turns, row)
    messages = row.get("messages")
    text = _conversation(messages, row)[-1]["content"] if messages is not None else row.get("prompt")
    if text is None:
        wanted = ", ".join(
            f"`{path}`" for path in (*paths(row.source, "prompt"), *paths(row.source, "turns"))
        )
        raise row.refuse(f"has no instruction: expected one of {wanted}; it has {', '.join(row.fields)}")
    if not isinstance(text, str):
        raise row.refuse(f"its instruction must be text, not {type(text).__name__}")
    if not text.strip():
        raise row.refuse("its instruction is empty")
    return (text,)


def history_of(row: Row, system: str | None) -> tuple[dict[str, Any], ...]:
    """What is said before the first turn: the evaluation's system message, then the row's own messages."""
    messages = row.get("messages") if row.get("turns") is None else None
    before = _conversation(messages, row)[:-1] if messages is not None else []
    return tuple([{"role": "system", "content": system}, *before] if system else before)


def _several(turns: Any, row: Row) -> tuple[str, ...]:
    texts = [turns] if isinstance(turns, str) else turns
    if not isinstance(texts, list) or not texts:
        raise row.refuse("its turns must be a list of texts")
    for number, text in enumerate(texts, 1):
        if not isinstance(text, str) or not text.strip():
            raise row.refuse(f"its turn {number} is empty or no text")
    return tuple(texts)


def _conversation(messages: Any, row: Row) -> list[dict[str, Any]]:
    """Role and content of each message; what else a data set notes about it is not sent."""
    found = as_list(messages)
    if not isinstance(found, list):
        raise row.refuse("its messages must be a list of messages")
    plain = [
        {key: message[key] for key in ("role", "content") if key in message}
        if isinstance(message, Mapping)
        else message
        for message in found
    ]
    try:
        read = read_conversation(plain)
    except UsageError as error:
        raise row.refuse(str(error)) from None
    return [dict(message) for message in read]
