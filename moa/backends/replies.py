"""From the API's objects to a `Completion`; a stream is gathered into the object it stands for first."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pydantic import JsonValue
from pydantic_core import from_json

from moa.backends.base import Choice, Completion, Delta, Emit, Message, Usage
from moa.backends.failures import Refused, read_error_object, status_of
from moa.backends.sse import EventSplitter

CHARACTERS_PER_TOKEN = 4
_UNKNOWN = Usage()
MOST_CALLS = 1000
"""Tool calls of one reply; a larger number in a stream is nonsense, and would cost memory to believe."""
_FINISH = {
    "eos": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_length": "length",
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "content_filter",
}
"""Words that some servers use for the API's own."""


class Malformed(Exception):
    """A reply that breaks the protocol."""


def parse(raw: bytes) -> Any:
    """The JSON value of a body or an event; raises `Malformed` for anything else."""
    try:
        return from_json(raw)
    except ValueError:
        return _parse_slowly(raw)


def _parse_slowly(raw: bytes) -> Any:
    """What the fast parser refuses: halves of escaped characters, deep nesting, and what is no JSON at all."""
    try:
        return json.loads(str(raw, "utf-8"))
    except UnicodeDecodeError:
        raise Malformed("the reply is not UTF-8") from None
    except (ValueError, RecursionError):
        what = "is empty" if not raw.strip() else "is not whole JSON"
        raise Malformed(f"the reply {what}") from None


def read_completion(payload: Any, n: int, messages: Sequence[Message]) -> Completion:
    """A completion of at most `n` choices; `messages` are for estimates where usage is missing.

    Raises:
        Malformed: for a reply without choices.
        Refused: for an error in place of an answer.
    """
    try:
        return _completion(payload, n, messages)
    except (AttributeError, TypeError, KeyError) as error:
        raise Malformed(f"the reply has a field of the wrong kind: {error}") from None


def _completion(payload: Any, n: int, messages: Sequence[Message]) -> Completion:
    if type(payload) is not dict:
        raise Malformed("the reply is not an object")
    found = payload.get("choices")
    if not found or type(found) is not list:
        if payload.get("error"):
            raise refused(payload)
        raise Malformed("the reply has no choices")
    if n > 1 and len(found) > 1:
        found = sorted(found, key=_index)
    model, known_as = payload.get("model") or "", payload.get("id")
    told = _usage(payload.get("usage"))
    if n == 1:
        choice = _choice(found[0], told or _UNKNOWN)
        if told is None:
            choice = replace(choice, usage=_estimates((choice,), messages)[0])
        if payload.get("prompt_logprobs"):
            choice = replace(choice, logprobs=_with_prompt(choice.logprobs, payload["prompt_logprobs"]))
        return Completion((choice,), model, known_as)
    choices = [_choice(one, _UNKNOWN) for one in found[:n]]
    usages = _estimates(choices, messages) if told is None else _split(told, choices)
    return Completion(tuple(map(_counted, choices, usages)), model, known_as)


def _counted(choice: Choice, usage: Usage) -> Choice:
    return replace(choice, usage=usage)


def _with_prompt(logprobs: Any, places: Sequence[Any]) -> JsonValue:
    """Log-probabilities with those of the prompt's tokens, of which vLLM lists the one that is there first."""
    told: list[JsonValue] = []
    for place in places:
        token = next(iter(place.values()), None) if place else None
        told.append(token and {"token": token.get("decoded_token") or "", "logprob": float(token["logprob"])})
    return {**(logprobs or {}), "prompt": told}


def refused(payload: Any) -> Refused:
    """An error object inside a 200 or a stream."""
    told = read_error_object(payload)
    return Refused(status_of(told), told, {})


def _index(choice: Any) -> int:
    index = choice.get("index") if isinstance(choice, dict) else None
    return index if isinstance(index, int) else 0


def _choice(found: Any, usage: Usage) -> Choice:
    message = found.get("message") if isinstance(found, dict) else None
    if type(message) is not dict:
        raise Malformed("the reply has a choice without a message")
    content = message.get("content")
    finish = found.get("finish_reason")
    if finish == "error" or found.get("error"):
        raise refused(found)
    reasoning = message.get("reasoning") or message.get("reasoning_content")
    if content.__class__ is not str:
        reasoning = reasoning or _thinking(content)
        content = text_of(content) or message.get("refusal") or ""
    return Choice(
        content if content.isascii() else mend(content),
        _FINISH.get(finish, finish),
        reasoning if isinstance(reasoning, str) else None,
        found.get("logprobs"),
        message.get("tool_calls") or None,
        usage,
    )


def text_of(content: Any) -> str:
    """The text of a message's content: a string, or a list of parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    parts = (part.get("text") for part in content if isinstance(part, dict))
    return "".join(part for part in parts if isinstance(part, str))


def _thinking(content: Any) -> str | None:
    """Reasoning that comes as a part of the content, as Mistral sends it."""
    parts = content if isinstance(content, list) else ()
    found = (text_of(part.get("thinking")) for part in parts if isinstance(part, dict))
    return "".join(found) or None


def mend(text: str) -> str:
    """`text` with halves of characters put together: some servers escape the two in separate pieces."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _usage(counted: Any) -> Usage | None:
    """What the server counted, of all choices together; None where it did not."""
    if type(counted) is not dict:
        return None
    prompt, output = counted.get("prompt_tokens"), counted.get("completion_tokens")
    if type(prompt) is not int or type(output) is not int or (not output and not prompt):
        return None
    details = counted.get("prompt_tokens_details")
    cached = _detail(details, "cached_tokens") if details else 0
    if not cached and type(elsewhere := counted.get("prompt_cache_hit_tokens")) is int:
        cached = elsewhere
    details = counted.get("completion_tokens_details")
    reasoning = _detail(details, "reasoning_tokens") if details else 0
    return Usage(prompt, output, cached, reasoning)


def _split(told: Usage, choices: Sequence[Choice]) -> list[Usage]:
    """Usage by choice: the prompt on the first, the reply's tokens by the length of the texts."""
    lengths = [_length(choice) for choice in choices]
    shares = zip(shared(told.output_tokens, lengths), shared(told.reasoning_tokens, lengths), strict=True)
    return [
        Usage(0 if at else told.input_tokens, out, 0 if at else told.cached_tokens, thought)
        for at, (out, thought) in enumerate(shares)
    ]


def _detail(details: Any, name: str) -> int:
    value = details.get(name) if type(details) is dict else None
    return value if type(value) is int else 0


def _length(choice: Choice) -> int:
    calls = len(json.dumps(choice.tool_calls)) if choice.tool_calls else 0
    return len(choice.text) + len(choice.reasoning or "") + calls


def shared(total: int, weights: Sequence[int]) -> list[int]:
    """`total` in whole parts that are proportional to `weights` and sum to it exactly."""
    whole = sum(weights)
    if not whole:
        weights, whole = [1] * len(weights), len(weights)
    parts, before, upto = [], 0, 0
    for weight in weights:
        upto += weight
        after = total * upto // whole
        parts.append(after - before)
        before = after
    return parts


def _estimates(choices: Sequence[Choice], messages: Sequence[Message]) -> list[Usage]:
    prompt = _tokens(sum(len(text_of(message.get("content"))) for message in messages))
    return [
        Usage(0 if at else prompt, _tokens(_length(choice)), estimated=True)
        for at, choice in enumerate(choices)
    ]


def _tokens(characters: int) -> int:
    return -(-characters // CHARACTERS_PER_TOKEN)


class _Sample:
    """One choice of a stream so far."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.refusal: list[str] = []
        self.calls: list[dict[str, Any]] = []
        self.logprobs: dict[str, list[Any]] | None = None
        self.finish: str | None = None
        self.error: Any = None

    def add_calls(self, pieces: Sequence[dict[str, Any]]) -> None:
        """Pieces of tool calls: the first of a call names it, the others continue its arguments."""
        for piece in pieces:
            at = piece.get("index")
            at = at if isinstance(at, int) else len(self.calls) - (not piece.get("id") and bool(self.calls))
            if not 0 <= at <= MOST_CALLS:
                raise Malformed(f"the stream numbers a tool call {at}")
            while len(self.calls) <= at:
                self.calls.append({"id": None, "type": "function", "function": {"name": "", "arguments": ""}})
            call, told = self.calls[at], piece.get("function") or {}
            call.update({key: piece[key] for key in ("id", "type") if piece.get(key)})
            call["function"]["name"] = told.get("name") or call["function"]["name"]
            call["function"]["arguments"] += told.get("arguments") or ""

    def add_logprobs(self, piece: dict[str, Any]) -> None:
        self.logprobs = self.logprobs or {}
        for key, values in piece.items():
            if isinstance(values, list):
                self.logprobs.setdefault(key, []).extend(values)

    def whole(self, index: int) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": "".join(self.text) or None}
        if self.reasoning:
            message["reasoning"] = "".join(self.reasoning)
        if self.refusal:
            message["refusal"] = "".join(self.refusal)
        if self.calls:
            message["tool_calls"] = self.calls
        choice = {"index": index, "message": message, "finish_reason": self.finish, "logprobs": self.logprobs}
        return choice if self.error is None else choice | {"error": self.error}


class Gathering:
    """A stream as it arrives: tells `emit` of each piece, and ends as the whole object.

    Choices beyond the `n` that were asked for are passed over.
    """

    def __init__(self, n: int, emit: Emit) -> None:
        self.begun = False
        """Whether `emit` has been called."""
        self._n = n
        self._emit = emit
        self._splitter = EventSplitter()
        self._samples: dict[int, _Sample] = {}
        self._head: dict[str, Any] = {}
        self._done = False

    def feed(self, chunk: bytes) -> bool:
        """Take in some bytes; whether the stream has said that it is over."""
        for event in self._splitter.feed(chunk):
            self._take(event)
        return self._done

    def whole(self) -> dict[str, Any]:
        """The object that the stream stood for; raises `Malformed` when it broke off."""
        if left := self._splitter.close():
            self._take(left)
        finished = self._samples and all(sample.finish for sample in self._samples.values())
        if not self._done and not finished:
            raise Malformed("the stream ended before the reply was whole")
        choices = [sample.whole(index) for index, sample in sorted(self._samples.items())]
        return self._head | {"choices": choices}

    def _take(self, event: bytes) -> None:
        try:
            self._event(event)
        except (AttributeError, TypeError, KeyError) as error:
            raise Malformed(f"the stream has a field of the wrong kind: {error}") from None

    def _event(self, event: bytes) -> None:
        if self._done:
            return
        if event.strip() == b"[DONE]":
            self._done = True
            return
        chunk = parse(event)
        if not isinstance(chunk, dict):
            raise Malformed("the stream holds something other than objects")
        if chunk.get("error"):
            raise refused(chunk)
        for key in ("id", "model", "usage"):
            if chunk.get(key):
                self._head[key] = chunk[key]
        for choice in chunk.get("choices") or ():
            self._choice(choice)

    def _choice(self, choice: dict[str, Any]) -> None:
        index = _index(choice)
        if index >= self._n:
            return
        sample = self._samples.get(index)
        if sample is None:
            sample = self._samples[index] = _Sample()
        delta = choice.get("delta") or {}
        content = delta.get("content")
        text = text_of(content)
        refusal = delta.get("refusal") or ""
        reasoning = delta.get("reasoning") or delta.get("reasoning_content") or ""
        if not reasoning and isinstance(content, list):
            reasoning = _thinking(content) or ""
        if not isinstance(reasoning, str) or not isinstance(refusal, str):
            raise Malformed("the stream has reasoning that is not text")
        if text:
            sample.text.append(text)
        if refusal:
            sample.refusal.append(refusal)
        if reasoning:
            sample.reasoning.append(reasoning)
        if calls := delta.get("tool_calls"):
            sample.add_calls(calls)
        if choice.get("logprobs"):
            sample.add_logprobs(choice["logprobs"])
        sample.finish = choice.get("finish_reason") or sample.finish
        sample.error = choice.get("error") or sample.error
        if text or refusal or reasoning:
            self.begun = True
            self._emit(Delta(index, text or refusal, reasoning=reasoning))
