"""Answers in the shape of the chat completions API: one object, or the chunks of a stream."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any

from moa.backends.base import Usage
from moa.run.reply import NodeResult
from moa.serve.answer import Answered, Asked, Fresh, breakdown, finish_reason
from moa.serve.refusal import Refusal
from moa.serve.stream import DONE, HOLE, Template, event, events
from moa.serve.voice import Voice

Json = dict[str, Any]
LEAST = -9999.0


def usage_of(usage: Usage) -> Json:
    """The tokens of all calls that the answer rests on."""
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


class ChatReply(Voice):
    """Writes one request's answers.

    Args:
        asked: what was asked.
        id: the request's id, of which the completion's is made.
        created: seconds since the epoch.
        nodes: whether the caller wants to know what every node did.
        usage: whether a stream ends with the usage.
        detailed: whether nodes say what went wrong behind them.
    """

    def __init__(
        self, asked: Asked, id: str, created: int, *, nodes: bool, usage: bool = False, detailed: bool = True
    ) -> None:
        self._asked = asked
        self._nodes = nodes
        self._usage = usage
        self._detailed = detailed
        self._pieces: dict[int, Template] = {}
        self._about = {
            "id": f"chatcmpl-{id.removeprefix('req_')}",
            "created": created,
            "model": asked.served.id,
            "system_fingerprint": asked.served.fingerprint,
        }

    def whole(self, answered: Answered) -> Json:
        """The answer as one object."""
        return {
            **self._about,
            "object": "chat.completion",
            "choices": [self._choice(answered, index) for index in range(len(answered.answers))],
            "usage": usage_of(answered.reply.usage),
            **self._more(answered),
        }

    def first(self) -> bytes:
        """Chunks that say who speaks."""
        start = {"role": "assistant", "content": ""}
        return events(self._chunk(index, start) for index in range(self._asked.count))

    def piece(self, fresh: Fresh) -> bytes:
        """A piece of an answer."""
        template = self._pieces.get(fresh.choice)
        if template is None:
            template = self._pieces[fresh.choice] = Template(self._chunk(fresh.choice, {"content": HOLE}))
        return event(template(fresh.text))

    def last(self, answered: Answered) -> bytes:
        """What is left of each answer, its tool calls, why it ended, and the usage where it is wanted."""
        return events(self._ends(answered)) + DONE

    def broken(self, refusal: Refusal) -> bytes:
        """An error in the place of what was to come."""
        return events([refusal.to_json()])

    def _ends(self, answered: Answered) -> Iterator[Json]:
        for index, (result, rest) in enumerate(zip(answered.answers, answered.rests, strict=True)):
            if rest:
                yield self._chunk(index, {"content": rest})
            if told := self._logprobs(result):
                # They are read whole from the model's reply, and so come after its text.
                yield self._chunk(index, {}, logprobs=told)
            if calls := tool_calls(result.tool_calls):
                yield self._chunk(
                    index, {"tool_calls": [{"index": n, **call} for n, call in enumerate(calls)]}
                )
            yield self._chunk(index, {}, finish_reason(self._asked, answered.reply, result))
        more = self._more(answered)
        if self._usage:
            more |= {"usage": usage_of(answered.reply.usage)}
        if more:
            yield {**self._about, "object": "chat.completion.chunk", "choices": [], **more}

    def _choice(self, answered: Answered, index: int) -> Json:
        result = answered.answers[index]
        calls = tool_calls(result.tool_calls)
        message: Json = {"role": "assistant", "content": result.text or None, "refusal": None}
        if calls:
            message["tool_calls"] = calls
        return {
            "index": index,
            "message": message,
            "logprobs": self._logprobs(result),
            "finish_reason": finish_reason(self._asked, answered.reply, result),
        }

    def _logprobs(self, result: NodeResult) -> Any:
        return finite(result.logprobs) if self._asked.sampling.logprobs else None

    def _chunk(self, index: int, delta: Json, finish: str | None = None, logprobs: Any = None) -> Json:
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        usage = {"usage": None} if self._usage else {}
        return {**self._about, "object": "chat.completion.chunk", "choices": [choice], **usage}

    def _more(self, answered: Answered) -> Json:
        return {"moa": breakdown(answered.reply, detailed=self._detailed)} if self._nodes else {}


def finite(value: Any) -> Any:
    """Log-probabilities without infinities, which JSON does not have; the API writes `-9999.0` for what is all but impossible."""
    if isinstance(value, float):
        return value if isfinite(value) else LEAST
    if isinstance(value, list):
        return [finite(each) for each in value]
    return {name: finite(each) for name, each in value.items()} if isinstance(value, dict) else value


def tool_calls(calls: Any) -> list[Json]:
    """The calls that a model wants made, without what only its server knows."""
    return [
        {
            "id": str(call.get("id") or f"call_{number}"),
            "type": "function",
            "function": _function(call.get("function") or {}),
        }
        for number, call in enumerate(calls or ())
        if isinstance(call, Mapping)
    ]


def _function(function: Mapping[str, Any]) -> Json:
    return {"name": str(function.get("name", "")), "arguments": str(function.get("arguments") or "{}")}
