"""From vLLM's outputs to the samples of a completion, and to pieces of text as they come."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import JsonValue

from moa.backends.base import Choice, Delta, Usage
from moa.backends.vllm.reasoning import Reasoning
from moa.errors import ServerFailedError

FINISH = {"stop": "stop", "length": "length", "repetition": "stop"}


class Gathering:
    """The outputs of one request with `n` samples: whole ones (`FINAL_ONLY`) or pieces (`DELTA`).

    `reasoning` tells a model's notes to itself from its answers.
    """

    def __init__(self, n: int, reasoning: Reasoning | None = None) -> None:
        self.reasoning = reasoning
        self.texts = [""] * n
        self.tokens: list[list[int]] = [[] for _ in range(n)]
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
            self.tokens[index] += piece.token_ids
            self.logprobs[index] += zip(piece.token_ids, piece.logprobs or (), strict=False)
            self.finish[index] = piece.finish_reason or self.finish[index]
            deltas.append(self._delta(index, piece))
        return [delta for delta in deltas if delta.text or delta.reasoning]

    def choices(self, name: str) -> tuple[Choice, ...]:
        """The samples; raises `ServerFailedError` where one of them did not end."""
        return tuple(self._choice(name, index) for index in range(len(self.texts)))

    def _delta(self, index: int, piece: Any) -> Delta:
        if self.reasoning is None:
            return Delta(index, piece.text)
        reasoning, text = self.reasoning.feed(index, piece.text, piece.token_ids)
        return Delta(index, text, reasoning=reasoning)

    def _choice(self, name: str, index: int) -> Choice:
        finish = self.finish[index]
        if finish not in FINISH:
            raise ServerFailedError(f"{name}: vLLM ended a reply with {finish or 'nothing'!r}")
        prompt, cached = (self.prompt_tokens, self.cached_tokens) if index == 0 else (0, 0)
        text, tokens = self.texts[index], self.tokens[index]
        if self.reasoning is None:
            usage = Usage(prompt, len(tokens), cached)
            return Choice(text, FINISH[finish], None, self._logprobs_of(index), None, usage)
        notes, text = self.reasoning.split(text)
        usage = Usage(prompt, len(tokens), cached, self.reasoning.count(tokens))
        return Choice(text, FINISH[finish], notes or None, self._logprobs_of(index), None, usage)

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
