"""Answers in the shape of Ollama's own API: one object, or one object a line."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from moa.serve.answer import Answered, Asked, Fresh, finish_reason
from moa.serve.chat_reply import tool_calls
from moa.serve.refusal import Refusal
from moa.serve.stream import encoded
from moa.serve.voice import Voice

Json = dict[str, Any]


class OllamaReply(Voice):
    """Writes one request's answer.

    Args:
        asked: what was asked.
        model: the name that it was asked by.
        clock: seconds since the epoch.
        chat: whether the answer is a message, as /api/chat has it, or a text, as /api/generate does.
    """

    kind = "application/x-ndjson"

    def __init__(self, asked: Asked, model: str, clock: Callable[[], float], *, chat: bool) -> None:
        self._asked = asked
        self._model = model
        self._clock = clock
        self._chat = chat

    def whole(self, answered: Answered, text: str | None = None) -> Json:
        """The answer as one object; `text` is what of it is to be said."""
        [result] = answered.answers
        said = self._said(result.text if text is None else text)
        if self._chat and (calls := tool_calls(result.tool_calls)):
            said["message"]["tool_calls"] = [{"function": _function(call)} for call in calls]
        reason = finish_reason(self._asked, answered.reply, result)
        usage, took = answered.reply.usage, int(answered.reply.latency * 1e9)
        return {
            **said,
            "done": True,
            "done_reason": "length" if reason == "length" else "stop",
            "total_duration": took,
            "load_duration": 0,
            "prompt_eval_count": usage.input_tokens,
            "prompt_eval_duration": 0,
            "eval_count": usage.output_tokens,
            "eval_duration": took,
        }

    def first(self) -> bytes:
        """Nothing: the first piece says who speaks."""
        return b""

    def piece(self, fresh: Fresh) -> bytes:
        """A piece of the answer."""
        return _line({**self._said(fresh.text), "done": False})

    def last(self, answered: Answered) -> bytes:
        """The rest of the answer, and what it cost."""
        return _line(self.whole(answered, answered.rests[0]))

    def broken(self, refusal: Refusal) -> bytes:
        """An error in the place of what was to come."""
        return _line(refusal.to_ollama())

    def idle(self) -> bytes:
        """A piece of nothing: this API has no comments."""
        return _line({**self._said(""), "done": False})

    def _said(self, text: str) -> Json:
        now = datetime.fromtimestamp(self._clock(), UTC).isoformat().replace("+00:00", "Z")
        words: Json = (
            {"message": {"role": "assistant", "content": text}} if self._chat else {"response": text}
        )
        return {"model": self._model, "created_at": now, **words}


def _function(call: Json) -> Json:
    """A call with its arguments as an object, as this API has them."""
    try:
        arguments = json.loads(call["function"]["arguments"])
    except ValueError:
        arguments = None
    written = {"arguments": call["function"]["arguments"]}
    return {
        "name": call["function"]["name"],
        "arguments": arguments if isinstance(arguments, dict) else written,
    }


def _line(value: Json) -> bytes:
    return f"{encoded(value)}\n".encode()
