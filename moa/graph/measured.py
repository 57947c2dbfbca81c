"""What a selector asks models for besides words: vectors, scores, and how probable a text is."""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["embedding", "scoring", "likelihood"]


class Candidate(NamedTuple):
    """A response that a selector will choose from: its tokens, and the model that writes it."""

    tokens: int
    model: str | None


class Measured(NamedTuple):
    """Requests to one model for numbers, where all texts differ; several may travel together."""

    kind: Kind
    model: str
    calls: int
    prompt_tokens: int
    """Of all calls together."""
    output_tokens: int = 0
