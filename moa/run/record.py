"""One stored sample, and how it becomes a row and comes back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pydantic import JsonValue

from moa.backends.base import Usage
from moa.values import value

COLUMNS = (
    "text, reasoning, finish_reason, extra, input_tokens, output_tokens, cached_tokens, reasoning_tokens, "
    "estimated, served_model, latency, created"
)
"""The columns of `responses` that hold a record."""


@value(frozen=True, slots=True)
class Record:
    """One stored sample.

    `model` is the one that the server says answered; `latency` is in seconds and `created` in seconds
    since the epoch.
    """

    text: str
    finish_reason: str | None
    reasoning: str | None
    logprobs: JsonValue
    tool_calls: JsonValue
    usage: Usage
    model: str
    latency: float
    created: float

    def to_row(self) -> tuple[Any, ...]:
        """The values of `COLUMNS`."""
        usage = self.usage
        return (
            storable(self.text),
            None if self.reasoning is None else storable(self.reasoning),
            self.finish_reason,
            self._extra(),
            usage.input_tokens,
            usage.output_tokens,
            usage.cached_tokens,
            usage.reasoning_tokens,
            int(usage.estimated),
            self.model,
            self.latency,
            self.created,
        )

    @classmethod
    def from_row(cls, row: Sequence[Any]) -> Record:
        """The record of the values of `COLUMNS`."""
        text, reasoning, finish_reason, extra, sent, received, cached, thought, estimated, model, *times = row
        more = json.loads(extra) if extra else {}
        return cls(
            readable(text),
            finish_reason,
            None if reasoning is None else readable(reasoning),
            more.get("logprobs"),
            more.get("tool_calls"),
            Usage(sent, received, cached, thought, bool(estimated)),
            model,
            *times,
        )

    def _extra(self) -> str | None:
        if self.logprobs is None and self.tool_calls is None:
            return None
        extra = {"logprobs": self.logprobs, "tool_calls": self.tool_calls}
        return storable_json(json.dumps(extra, ensure_ascii=False, separators=(",", ":")))


def storable(text: str) -> str | bytes:
    """The text as SQLite takes it: bytes where a lone surrogate keeps it from being UTF-8."""
    return text if _is_utf8(text) else text.encode("utf-8", "surrogatepass")


def storable_json(text: str) -> str:
    """The JSON text as SQLite takes it: escaped where a lone surrogate keeps it from being UTF-8."""
    return text if _is_utf8(text) else json.dumps(json.loads(text), separators=(",", ":"))


def _is_utf8(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def readable(stored: str | bytes) -> str:
    """The way back from `storable`."""
    return stored.decode("utf-8", "surrogatepass") if isinstance(stored, bytes) else stored
