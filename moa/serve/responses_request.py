"""What a client may ask of POST /v1/responses, as a chat: the stateless part of that API."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import Field, StrictBool, StringConstraints, ValidationError

from moa.backends.base import Message
from moa.serve.body import Fields, refusal_for
from moa.serve.chat_request import ChatRequest, Extras, Temperature, TopP, read_chat
from moa.serve.refusal import bad

Json = dict[str, Any]

REFUSED: Mapping[str, str] = {
    "background": "the answer comes with this request",
    "conversation": "nothing is remembered: send the whole conversation as `input`",
    "previous_response_id": "nothing is remembered: send the whole conversation as `input`",
    "prompt": "there are no stored prompts: write `instructions` and `input`",
}
"""Fields that need a memory, and what to do instead."""
_TEXTS = ("input_text", "output_text", "text")


class TextOptions(Fields):
    """`text`: the format of the answer."""

    format: Json | None = None
    verbosity: str | None = None


class Reasoning(Fields):
    """`reasoning`."""

    effort: str | None = None


class ResponsesRequest(Fields):
    """The fields of a request that mean something here."""

    model: Annotated[str, StringConstraints(strict=True, min_length=1)]
    input: Annotated[str, StringConstraints(strict=True)] | list[Json]
    instructions: str | None = None
    stream: StrictBool | None = None
    max_output_tokens: Annotated[int, Field(strict=True, ge=1)] | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    text: TextOptions | None = None
    reasoning: Reasoning | None = None
    tools: list[Json] | None = None
    tool_choice: Any = None
    parallel_tool_calls: StrictBool | None = None
    metadata: Json | None = None
    moa: Extras = Extras()


def read_responses(body: Mapping[str, Any]) -> ResponsesRequest:
    """A request; raises `Refusal` that names the first field that cannot be honoured."""
    for name, remedy in REFUSED.items():
        if body.get(name) not in (None, False):
            raise bad(f"`{name}` is not supported: {remedy}", name, "unsupported_parameter")
    try:
        return ResponsesRequest.model_validate(body)
    except ValidationError as error:
        raise refusal_for(error, body) from None


def as_chat(wanted: ResponsesRequest) -> ChatRequest:
    """The same request in the chat API's words, checked as such."""
    text = wanted.text or TextOptions()
    chat = {
        "model": wanted.model,
        "messages": list(_messages(wanted)),
        "max_completion_tokens": wanted.max_output_tokens,
        "temperature": wanted.temperature,
        "top_p": wanted.top_p,
        "reasoning_effort": wanted.reasoning.effort if wanted.reasoning else None,
        "verbosity": text.verbosity,
        "response_format": _format(text.format),
        "tools": [_tool(tool) for tool in wanted.tools] if wanted.tools else None,
        "tool_choice": _choice(wanted.tool_choice),
        "parallel_tool_calls": wanted.parallel_tool_calls,
    }
    return read_chat({name: value for name, value in chat.items() if value is not None})


def _messages(wanted: ResponsesRequest) -> Iterator[Message]:
    if wanted.instructions:
        yield {"role": "system", "content": wanted.instructions}
    if isinstance(wanted.input, str):
        yield {"role": "user", "content": wanted.input}
        return
    calls: list[Json] = []
    for number, item in enumerate(wanted.input):
        if item.get("type") == "function_call":
            calls.append(_call(item))
            continue
        if calls:
            # Calls that follow each other were made in one turn.
            yield {"role": "assistant", "content": None, "tool_calls": calls}
            calls = []
        if item.get("type") != "reasoning":
            yield _message(item, number)
    if calls:
        yield {"role": "assistant", "content": None, "tool_calls": calls}


def _message(item: Json, number: int) -> Message:
    place = f"input[{number}]"
    if item.get("type") == "function_call_output":
        return {
            "role": "tool",
            "tool_call_id": str(item.get("call_id", "")),
            "content": _content(item.get("output"), place),
        }
    if item.get("type", "message") != "message" or "role" not in item:
        raise bad(f"`{place}`: items of type {item.get('type')!r} are not supported", place)
    return {"role": item["role"], "content": _content(item.get("content"), place)}


def _content(content: Any, place: str) -> str | list[Json]:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise bad(f"`{place}` has no content", place)
    parts = [_part(part, place) for part in content]
    if all(part["type"] == "text" for part in parts):
        return "\n".join(str(part["text"]) for part in parts)
    return parts


def _part(part: Any, place: str) -> Json:
    kind = str(part.get("type")) if isinstance(part, dict) else ""
    if kind in _TEXTS and isinstance(part.get("text"), str):
        return {"type": "text", "text": part["text"]}
    if kind == "refusal" and isinstance(part.get("refusal"), str):
        return {"type": "text", "text": part["refusal"]}
    if kind == "input_image" and isinstance(part.get("image_url"), str):
        detail = {"detail": part["detail"]} if part.get("detail") else {}
        return {"type": "image_url", "image_url": {"url": part["image_url"], **detail}}
    raise bad(f"`{place}`: content of type {kind!r} is not supported", place)


def _call(item: Json) -> Json:
    function = {"name": str(item.get("name", "")), "arguments": str(item.get("arguments", ""))}
    return {"id": str(item.get("call_id", "")), "type": "function", "function": function}


def _tool(tool: Json) -> Json:
    if tool.get("type") != "function":
        raise bad(f"`tools`: there is no tool of type {tool.get('type')!r} here, only functions", "tools")
    names = ("name", "description", "parameters", "strict")
    return {"type": "function", "function": {n: tool[n] for n in names if tool.get(n) is not None}}


def _choice(choice: Any) -> Any:
    if isinstance(choice, dict):
        if choice.get("type") != "function":
            raise bad("`tool_choice` must be `none`, `auto`, `required` or a function", "tool_choice")
        return {"type": "function", "function": {"name": choice.get("name")}}
    return choice


def _format(format: Json | None) -> Json | None:
    if format is None or format.get("type") != "json_schema":
        return format
    return {"type": "json_schema", "json_schema": {n: v for n, v in format.items() if n != "type"}}
