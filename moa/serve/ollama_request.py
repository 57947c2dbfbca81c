"""What a client may ask of Ollama's own API, as a chat."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field, StrictBool, StrictInt, StringConstraints, ValidationError

from moa.backends.base import Message
from moa.serve.body import Fields, refusal_for
from moa.serve.chat_request import (
    ChatRequest,
    MinP,
    Penalty,
    Repetition,
    Stop,
    Temperature,
    TopK,
    TopP,
    read_chat,
)
from moa.serve.refusal import bad

Json = dict[str, Any]

REFUSED: Mapping[str, str] = {
    "context": "send the conversation to /api/chat",
    "raw": "members have templates of their own",
    "suffix": "answers are not inserted into a text",
    "template": "members have templates of their own",
}
"""Fields of /api/generate that cannot be honoured, and what to do instead."""
_PICTURES = {"iVBOR": "png", "/9j/": "jpeg", "R0lG": "gif", "UklG": "webp"}
"""How pictures begin in base64."""


class Options(Fields):
    """`options` that mean something here; the others are about how a model is loaded."""

    temperature: Temperature | None = None
    top_p: TopP | None = None
    top_k: TopK | None = None
    min_p: MinP | None = None
    seed: StrictInt | None = None
    num_predict: StrictInt | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=16)] | None = None
    repeat_penalty: Repetition | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None


class OllamaRequest(Fields):
    """The fields of a request that mean something here."""

    model: Annotated[str, StringConstraints(strict=True, min_length=1)]
    messages: list[Json] | None = None
    prompt: str | None = None
    system: str | None = None
    images: list[str] | None = None
    stream: StrictBool | None = None
    """Unlike elsewhere, streaming is what happens when nothing is said."""
    format: str | Json | None = None
    options: Options = Field(default_factory=Options)
    tools: list[Json] | None = None


def read_ollama(body: Mapping[str, Any]) -> OllamaRequest:
    """A request; raises `Refusal` that names the first field that cannot be honoured."""
    for name, remedy in REFUSED.items():
        if body.get(name):
            raise bad(f"`{name}` is not supported: {remedy}", name, "unsupported_parameter")
    try:
        return OllamaRequest.model_validate({n: v for n, v in body.items() if v is not None})
    except ValidationError as error:
        raise refusal_for(error, body) from None


def as_chat(wanted: OllamaRequest, messages: Sequence[Message], model: str) -> ChatRequest:
    """The same request in the chat API's words, checked as such."""
    options = wanted.options
    longest = options.num_predict
    chat = {
        "model": model,
        "messages": list(messages),
        "temperature": options.temperature,
        "top_p": options.top_p,
        "top_k": options.top_k,
        "min_p": options.min_p,
        "seed": options.seed,
        "max_completion_tokens": longest if longest is not None and longest > 0 else None,
        "stop": options.stop,
        "repetition_penalty": options.repeat_penalty,
        "presence_penalty": options.presence_penalty,
        "frequency_penalty": options.frequency_penalty,
        "response_format": _format(wanted.format),
        "tools": wanted.tools or None,
    }
    return read_chat({name: value for name, value in chat.items() if value is not None})


def turns_of(wanted: OllamaRequest) -> Iterator[Message]:
    """The conversation of /api/chat; calls have no ids there, so their results are matched in order."""
    made = answered = 0
    for message in wanted.messages or ():
        content = "" if message.get("content") is None else message["content"]
        if not isinstance(content, str):
            raise bad("`messages`: the content must be a text", "messages")
        turn: Message = {"role": message.get("role"), "content": content}
        if (pictures := message.get("images")) not in (None, []):
            turn["content"] = _with_pictures(turn["content"], pictures)
        if isinstance(calls := message.get("tool_calls"), list):
            turn["tool_calls"] = [_call(call, made + n) for n, call in enumerate(calls)]
            made += len(calls)
        if turn["role"] == "tool":
            turn["tool_call_id"] = f"call_{answered}"
            answered += 1
        yield turn


def prompt_of(wanted: OllamaRequest) -> Iterator[Message]:
    """The conversation that /api/generate means."""
    if wanted.system:
        yield {"role": "system", "content": wanted.system}
    content = _with_pictures(wanted.prompt or "", wanted.images) if wanted.images else wanted.prompt
    yield {"role": "user", "content": content or ""}


def _with_pictures(text: str, pictures: Any) -> list[Json]:
    parts: list[Json] = [{"type": "text", "text": text}]
    if not isinstance(pictures, list):
        raise bad("`images` must be a list", "images")
    for data in pictures:
        kind = next((kind for start, kind in _PICTURES.items() if str(data).startswith(start)), None)
        if kind is None:
            raise bad("`images` must be PNG, JPEG, GIF or WebP in base64", "images")
        parts.append({"type": "image_url", "image_url": {"url": f"data:image/{kind};base64,{data}"}})
    return parts


def _call(call: Any, number: int) -> Json:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict):
        raise bad("`messages`: a call needs a `function`", "messages")
    arguments = json.dumps(function.get("arguments") or {})
    return {
        "id": f"call_{number}",
        "type": "function",
        "function": {"name": str(function.get("name", "")), "arguments": arguments},
    }


def _format(wanted: str | Json | None) -> Json | None:
    if not wanted:
        return None
    if isinstance(wanted, dict):
        return {"type": "json_schema", "json_schema": {"name": "answer", "schema": wanted}}
    if wanted != "json":
        raise bad("`format` must be `json` or a schema", "format")
    return {"type": "json_object"}
