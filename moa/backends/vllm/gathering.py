"""From vLLM's outputs to the samples of a completion, and to pieces of text as they come."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pydantic import JsonValue

from moa.backends.base import Choice, Delta, Usage
from moa.errors import ServerFailedError

FINISH = {"stop": "stop", "length": "length", "repetition": "stop"}
Reason = Callable[[str], tuple[str | None, str]]
"""Splits a whole text into a model's notes to itself and its answer."""


class Gathering:
    """The outputs of one request with `n` samples: whole ones (`FINAL_ONLY`) or pieces (`DELTA`)."""

    def __init__(self, n: int) -> None:
        self.texts = [""] * n
        self.tokens = [0] * n
        self.finish: list[str | None] = [None] * n
        self.logprobs: list[list[Any]] = [[] for _ in range(n)]
        self.prompt_tokens = 0
        self.cached_tokens = 0
        self.prompt_logprobs: list[Any] | None = None

    def add(self, output: Any, first: int = 0) -> list[Delta]:
        """Take in a `RequestOutput` whose samples are those from `first` on; the pieces of text in it."""
        self.prompt_tokens = len(output.prompt_token_ids or ()) or self.prompt_tokens
        self.cached_tokens = max(self.cached_tokens, output.num_cached_tokens or 0)
        if output.prompt_logprobs is not None:
            self.prompt_logprobs = output.prompt_logprobs
        deltas = []
        for piece in output.outputs:
            index = first + piece.index
            self.texts[index] += piece.text
            self.tokens[index] += len(piece.token_ids)
            self.logprobs[index] += zip(piece.token_ids, piece.logprobs or (), strict=False)
            self.finish[index] = piece.finish_reason or self.finish[index]
            if piece.text:
                deltas.append(Delta(index, piece.text))
        return deltas

    def choices(self, name: str, reason: Reason) -> tuple[Choice, ...]:
        """The samples; raises `ServerFailedError` where one of them did not end."""
        return tuple(self._choice(name, index, reason) for index in range(len(self.texts)))

    def _choice(self, name: str, index: int, reason: Reason) -> Choice:
        finish = self.finish[index]
        if finish not in FINISH:
            raise ServerFailedError(f"{name}: vLLM ended a reply with {finish or 'nothing'!r}")
        first = index == 0
        reasoning, text = reason(self.texts[index])
        return Choice(
            text,
            FINISH[finish],
            reasoning,
            self._logprobs_of(index),
            None,
            Usage(self.prompt_tokens * first, self.tokens[index], self.cached_tokens * first),
        )

    def _logprobs_of(self, index: int) -> JsonValue:
        told: dict[str, JsonValue] = {}
        if self.logprobs[index]:
            told["content"] = [told_token(token, place) for token, place in self.logprobs[index]]
        if self.prompt_logprobs is not None:
            told["prompt"] = list(told_prompt(self.prompt_logprobs))
        return told or None


def told_token(token: int, place: Mapping[int, Any]) -> JsonValue:
    """A token that was written, in the chat API's shape: the alternatives from the most probable on."""
    ranked = sorted(place.items(), key=lambda item: -item[1].logprob)
    alternatives: list[JsonValue] = [_told(other) for _, other in ranked]
    return {**_told(place[token]), "top_logprobs": alternatives}


def told_prompt(places: Iterable[Mapping[int, Any] | None]) -> Iterable[JsonValue]:
    """The prompt's tokens with the log-probability that each had where it stands; the first has none.

    vLLM lists the token that is there first, then the most probable ones.
    """
    for place in places:
        token = next(iter(place.values()), None) if place else None
        yield None if token is None else _told(token)


def _told(token: Any) -> dict[str, JsonValue]:
    text = token.decoded_token or ""
    return {"token": text, "logprob": float(token.logprob), "bytes": list(text.encode())}


def plain(text: str) -> tuple[None, str]:
    """A text without notes."""
    return None, text
