"""Token counts without a tokenizer: an estimate, and a bound that is never too low."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from moa.backends.base import Message

PER_MESSAGE = 8
"""Tokens that a chat template spends on one message, at most in the common templates."""


def texts_of(message: Message) -> Iterator[str]:
    """The pieces of text in a message, whichever of the API's shapes its content has."""
    content = message.get("content")
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        for part in content:
            text = part.get("text") if isinstance(part, dict) else None
            if isinstance(text, str):
                yield text


def estimate_tokens(messages: Sequence[Message]) -> int:
    """About how many tokens the prompt has: four characters a token."""
    characters = sum(len(text) for message in messages for text in texts_of(message))
    return characters // 4 + PER_MESSAGE * len(messages)


def token_bound(messages: Sequence[Message]) -> int:
    """More tokens than the prompt can have: byte-level tokenizers use at most one a byte."""
    size = sum(
        len(text) if text.isascii() else len(text.encode())
        for message in messages
        for text in texts_of(message)
    )
    return size + PER_MESSAGE * len(messages)
