"""Answers in the shape of the Responses API: one object, or the events of a stream."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from moa.backends.base import Usage
from moa.serve.answer import Answered, Asked, Fresh, breakdown, finish_reason
from moa.serve.chat_reply import tool_calls
from moa.serve.refusal import Refusal
from moa.serve.responses_request import ResponsesRequest
from moa.serve.stream import named
from moa.serve.voice import Voice

Json = dict[str, Any]
_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


class ResponsesReply(Voice):
    """Writes one request's answer; the message is the first item of the output, calls follow it.

    Args:
        wanted: what was asked, parts of which the answer repeats.
        asked: the same in the engine's terms.
        id: the request's id, of which the others are made.
        created: seconds since the epoch.
        nodes: whether the caller wants to know what every node did.
        detailed: whether nodes say what went wrong behind them.
    """

    def __init__(
        self, wanted: ResponsesRequest, asked: Asked, id: str, created: int, *, nodes: bool, detailed: bool
    ) -> None:
        self._wanted = wanted
        self._asked = asked
        self._word = id.removeprefix("req_")
        self._created = created
        self._nodes = nodes
        self._detailed = detailed
        self._number = 0
        self._text: str | None = None
        """What was sent of the message; None before it has begun."""

    def whole(self, answered: Answered) -> Json:
        """The answer as one object."""
        [result] = answered.answers
        calls = [self._call(n, call) for n, call in enumerate(tool_calls(result.tool_calls))]
        message = [self._message(result.text)] if result.text or not calls else []
        reason = _INCOMPLETE.get(finish_reason(self._asked, answered.reply, result))
        more = {"moa": breakdown(answered.reply, detailed=self._detailed)} if self._nodes else {}
        return {
            **self._about("incomplete" if reason else "completed", message + calls),
            "incomplete_details": {"reason": reason} if reason else None,
            "usage": usage_of(answered.reply.usage),
            **more,
        }

    def first(self) -> bytes:
        """The response exists and is under way."""
        about = self._about("in_progress", [])
        return self._events(
            {"type": f"response.{state}", "response": about} for state in ("created", "in_progress")
        )

    def piece(self, fresh: Fresh) -> bytes:
        """A piece of the message, which the first one opens."""
        return self._events(self._pieces(fresh.text))

    def last(self, answered: Answered) -> bytes:
        """The rest of the message, the calls, and the whole response once more."""
        return self._events(self._ends(answered))

    def broken(self, refusal: Refusal) -> bytes:
        """The response has failed."""
        code = "rate_limit_exceeded" if refusal.status == 429 else "server_error"
        failed = self._about("failed", []) | {"error": {"code": code, "message": refusal.message}}
        return self._events([{"type": "response.failed", "response": failed}])

    def _pieces(self, text: str) -> Iterator[Json]:
        if self._text is None:
            self._text = ""
            yield self._item("added", 0, self._message("", "in_progress") | {"content": []})
            yield self._part("added", "")
        self._text += text
        yield self._within("response.output_text.delta", delta=text, logprobs=[])

    def _ends(self, answered: Answered) -> Iterator[Json]:
        whole, [rest] = self.whole(answered), answered.rests
        if rest or (self._text is None and whole["output"][0]["type"] == "message"):
            yield from self._pieces(rest)
        if self._text is not None:
            yield self._within("response.output_text.done", text=self._text, logprobs=[])
            yield self._part("done", self._text)
        for index, item in enumerate(whole["output"]):
            if item["type"] == "function_call":
                about = {"output_index": index, "item_id": item["id"]}
                said = {"arguments": item["arguments"], "name": item["name"]}
                yield self._item("added", index, item | {"arguments": "", "status": "in_progress"})
                yield {"type": "response.function_call_arguments.delta", **about, "delta": item["arguments"]}
                yield {"type": "response.function_call_arguments.done", **about, **said}
            yield self._item("done", index, item)
        yield {"type": f"response.{whole['status']}", "response": whole}

    def _events(self, values: Any) -> bytes:
        numbered = []
        for value in values:
            numbered.append({**value, "sequence_number": self._number})
            self._number += 1
        return named(numbered)

    def _item(self, what: str, index: int, item: Json) -> Json:
        return {"type": f"response.output_item.{what}", "output_index": index, "item": item}

    def _part(self, what: str, text: str) -> Json:
        return self._within(f"response.content_part.{what}", part=_text(text))

    def _within(self, kind: str, **more: Any) -> Json:
        """An event of the message's only part."""
        return {"type": kind, "item_id": f"msg_{self._word}", "output_index": 0, "content_index": 0, **more}

    def _message(self, text: str, status: str = "completed") -> Json:
        about = {"id": f"msg_{self._word}", "type": "message", "role": "assistant", "status": status}
        return {**about, "content": [_text(text)]}

    def _call(self, number: int, call: Json) -> Json:
        return {
            "id": f"fc_{self._word}_{number}",
            "type": "function_call",
            "status": "completed",
            "call_id": call["id"],
            **call["function"],
        }

    def _about(self, status: str, output: list[Json]) -> Json:
        wanted, sampling = self._wanted, self._asked.sampling
        return {
            "id": f"resp_{self._word}",
            "object": "response",
            "created_at": self._created,
            "status": status,
            "model": wanted.model,
            "output": output,
            "error": None,
            "incomplete_details": None,
            "instructions": wanted.instructions,
            "max_output_tokens": wanted.max_output_tokens,
            "metadata": wanted.metadata or {},
            "parallel_tool_calls": wanted.parallel_tool_calls is not False,
            "previous_response_id": None,
            "store": False,
            "temperature": sampling.temperature,
            "text": {"format": (wanted.text and wanted.text.format) or {"type": "text"}},
            "tool_choice": wanted.tool_choice or "auto",
            "tools": wanted.tools or [],
            "top_p": sampling.top_p,
            "usage": None,
        }


def _text(text: str) -> Json:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def usage_of(usage: Usage) -> Json:
    """The tokens of all calls that the answer rests on, as the newer APIs name them."""
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.total_tokens,
    }
