"""Answers in the shape of Anthropic's Messages API: one object, or the events of a stream."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from moa.backends.base import Usage
from moa.serve.answer import Answered, Asked, Fresh, breakdown, finish_reason
from moa.serve.chat_reply import tool_calls
from moa.serve.refusal import Refusal
from moa.serve.stream import named
from moa.serve.voice import Voice

Json = dict[str, Any]
_STOPS = {"length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}


class MessagesReply(Voice):
    """Writes one request's answer: a block of text, then one for each tool that is to be used.

    Args:
        asked: what was asked.
        id: the request's id.
        nodes: whether the caller wants to know what every node did.
        detailed: whether nodes say what went wrong behind them.
    """

    def __init__(self, asked: Asked, id: str, *, nodes: bool, detailed: bool) -> None:
        self._asked = asked
        self._id = id
        self._nodes = nodes
        self._detailed = detailed
        self._open = False
        """Whether the block of text has begun."""

    def whole(self, answered: Answered) -> Json:
        """The answer as one object."""
        [result] = answered.answers
        tools = [_use(call) for call in tool_calls(result.tool_calls)]
        text = [{"type": "text", "text": result.text}] if result.text or not tools else []
        more = {"moa": breakdown(answered.reply, detailed=self._detailed)} if self._nodes else {}
        return {
            **self._about(),
            "content": text + tools,
            "stop_reason": self._stop(answered),
            "usage": _usage(answered.reply.usage),
            **more,
        }

    def first(self) -> bytes:
        """The message begins; what it cost is not known yet."""
        return named([{"type": "message_start", "message": {**self._about(), "usage": _usage(Usage())}}])

    def piece(self, fresh: Fresh) -> bytes:
        """A piece of the text, which the first one opens."""
        return named(self._pieces(fresh.text))

    def last(self, answered: Answered) -> bytes:
        """The rest of the text, the tools, why it ended and what it cost."""
        return named(self._ends(answered))

    def broken(self, refusal: Refusal) -> bytes:
        """An error in the place of what was to come."""
        return named([refusal.to_anthropic(self._id)])

    def _pieces(self, text: str) -> Iterator[Json]:
        if not self._open:
            self._open = True
            yield _block("start", 0, content_block={"type": "text", "text": ""})
        yield _block("delta", 0, delta={"type": "text_delta", "text": text})

    def _ends(self, answered: Answered) -> Iterator[Json]:
        whole, [rest] = self.whole(answered), answered.rests
        if rest:
            yield from self._pieces(rest)
        if self._open:
            yield _block("stop", 0)
        for index, block in enumerate(whole["content"]):
            if block["type"] == "tool_use":
                written = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
                yield _block("start", index, content_block=block | {"input": {}})
                yield _block("delta", index, delta=written)
                yield _block("stop", index)
        stop = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
        more = {"moa": whole["moa"]} if self._nodes else {}
        yield {"type": "message_delta", "delta": stop, "usage": whole["usage"], **more}
        yield {"type": "message_stop"}

    def _stop(self, answered: Answered) -> str:
        [result] = answered.answers
        return _STOPS.get(finish_reason(self._asked, answered.reply, result), "end_turn")

    def _about(self) -> Json:
        return {
            "id": f"msg_{self._id.removeprefix('req_')}",
            "type": "message",
            "role": "assistant",
            "model": self._asked.served.id,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
        }


def _block(what: str, index: int, **more: Any) -> Json:
    return {"type": f"content_block_{what}", "index": index, **more}


def _use(call: Json) -> Json:
    try:
        arguments = json.loads(call["function"]["arguments"])
    except ValueError:
        arguments = None
    # A model's own JSON may be broken: the API wants an object in any case, so it is handed on as it was written.
    given = arguments if isinstance(arguments, dict) else {"arguments": call["function"]["arguments"]}
    return {"type": "tool_use", "id": call["id"], "name": call["function"]["name"], "input": given}


def _usage(usage: Usage) -> Json:
    return {
        "input_tokens": usage.input_tokens - usage.cached_tokens,
        "cache_read_input_tokens": usage.cached_tokens,
        "cache_creation_input_tokens": 0,
        "output_tokens": usage.output_tokens,
    }
