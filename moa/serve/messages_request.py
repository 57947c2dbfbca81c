"""What a client may ask of POST /v1/messages, Anthropic's API, as a chat."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import Field, StrictBool, StringConstraints, ValidationError

from moa.backends.base import Message
from moa.serve.body import Fields, refusal_for
from moa.serve.chat_request import ChatRequest, Extras, Number, Stop, TopP, read_chat
from moa.serve.refusal import bad

Json = dict[str, Any]

REFUSED: Mapping[str, str] = {
    "container": "no code is run",
    "mcp_servers": "no server is called",
}
"""Fields that cannot be honoured, and why."""
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}


class MessagesRequest(Fields):
    """The fields of a request that mean something here."""

    model: Annotated[str, StringConstraints(strict=True, min_length=1)]
    messages: Annotated[list[Json], Field(min_length=1)]
    max_tokens: Annotated[int, Field(strict=True, ge=1)]
    system: str | list[Json] | None = None
    stream: StrictBool | None = None
    stop_sequences: Annotated[list[Stop], Field(max_length=16)] | None = None
    temperature: Annotated[Number, Field(ge=0, le=1)] | None = None
    top_p: TopP | None = None
    top_k: Annotated[int, Field(strict=True, ge=1)] | None = None
    tools: list[Json] | None = None
    tool_choice: Json | None = None
    thinking: Json | None = None
    moa: Extras = Extras()


class CountTokensRequest(MessagesRequest):
    """The same to have its tokens counted: how long the answer may be does not matter."""

    max_tokens: Annotated[int, Field(strict=True, ge=1)] = 1


def read_messages(body: Mapping[str, Any], kind: type[MessagesRequest] = MessagesRequest) -> MessagesRequest:
    """A request; raises `Refusal` that names the first field that cannot be honoured."""
    for name, reason in REFUSED.items():
        if body.get(name):
            raise bad(f"`{name}` is not supported: {reason}", name, "unsupported_parameter")
    try:
        wanted = kind.model_validate(body)
    except ValidationError as error:
        raise refusal_for(error, body) from None
    if wanted.thinking and wanted.thinking.get("type") == "enabled":
        raise bad("`thinking` is not supported: members think as their agents say", "thinking")
    return wanted


def as_chat(wanted: MessagesRequest) -> ChatRequest:
    """The same request in the chat API's words, checked as such."""
    chat = {
        "model": wanted.model,
        "messages": list(_messages(wanted)),
        "max_completion_tokens": wanted.max_tokens,
        "stop": wanted.stop_sequences or None,
        "temperature": wanted.temperature,
        "top_p": wanted.top_p,
        "top_k": wanted.top_k,
        "tools": [_tool(tool) for tool in wanted.tools] if wanted.tools else None,
        **_choice(wanted.tool_choice),
    }
    return read_chat({name: value for name, value in chat.items() if value is not None})


def _messages(wanted: MessagesRequest) -> Iterator[Message]:
    if wanted.system:
        yield {"role": "system", "content": _joined(wanted.system, "system")}
    for number, message in enumerate(wanted.messages):
        role, content = message.get("role"), message.get("content")
        place = f"messages[{number}]"
        if role not in ("user", "assistant"):
            raise bad(f"`{place}`: the role must be `user` or `assistant`", place)
        if isinstance(content, str):
            yield {"role": role, "content": content}
        elif isinstance(content, list):
            yield from (_said if role == "assistant" else _heard)(content, place)
        else:
            raise bad(f"`{place}` has no content", place)


def _said(blocks: list[Any], place: str) -> Iterator[Message]:
    """A turn of the assistant: its text and the calls that it made; its thoughts stay its own."""
    texts, calls = [], []
    for block in blocks:
        match _kind(block):
            case "text":
                texts.append(_text(block, place))
            case "tool_use":
                arguments = json.dumps(block.get("input") or {})
                function = {"name": str(block.get("name", "")), "arguments": arguments}
                calls.append({"id": str(block.get("id", "")), "type": "function", "function": function})
            case "thinking" | "redacted_thinking":
                pass
            case kind:
                raise bad(f"`{place}`: content of type {kind!r} is not supported", place)
    yield {
        "role": "assistant",
        "content": "\n".join(texts) or None,
        **({"tool_calls": calls} if calls else {}),
    }


def _heard(blocks: list[Any], place: str) -> Iterator[Message]:
    """A turn of the user: results of tools first, then what was said."""
    parts: list[Json] = []
    for block in blocks:
        match _kind(block):
            case "tool_result":
                content = _joined("" if block.get("content") is None else block["content"], place)
                failed = "Error: " if block.get("is_error") else ""
                call = str(block.get("tool_use_id", ""))
                yield {"role": "tool", "tool_call_id": call, "content": f"{failed}{content}"}
            case "text":
                parts.append({"type": "text", "text": _text(block, place)})
            case "image":
                parts.append(_image(block.get("source"), place))
            case kind:
                raise bad(f"`{place}`: content of type {kind!r} is not supported", place)
    if parts:
        plain = all(part["type"] == "text" for part in parts)
        yield {"role": "user", "content": "\n".join(p["text"] for p in parts) if plain else parts}


def _image(source: Any, place: str) -> Json:
    match source:
        case {"type": "base64", "media_type": str(kind), "data": str(data)}:
            return {"type": "image_url", "image_url": {"url": f"data:{kind};base64,{data}"}}
        case {"type": "url", "url": str(url)}:
            return {"type": "image_url", "image_url": {"url": url}}
    raise bad(f"`{place}`: an image needs a source of type `base64` or `url`", place)


def _joined(content: Any, place: str) -> str:
    """Text, or blocks of text, as one text."""
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(_kind(block) == "text" for block in content):
        return "\n".join(_text(block, place) for block in content)
    raise bad(f"`{place}`: only text is supported here", place)


def _text(block: Json, place: str) -> str:
    if not isinstance(block.get("text"), str):
        raise bad(f"`{place}`: a block of text has no `text`", place)
    return block["text"]  # type: ignore[no-any-return]  # checked above


def _kind(block: Any) -> str | None:
    return block.get("type") if isinstance(block, dict) else None


def _tool(tool: Json) -> Json:
    if tool.get("type", "custom") != "custom" or not isinstance(tool.get("input_schema"), dict):
        raise bad(f"`tools`: there is no tool of type {tool.get('type')!r} here, only your own", "tools")
    described = {"description": tool["description"]} if tool.get("description") else {}
    function = {"name": tool.get("name"), **described, "parameters": tool["input_schema"]}
    return {"type": "function", "function": function}


def _choice(choice: Json | None) -> Json:
    if choice is None:
        return {}
    if choice.get("type") == "tool":
        wanted: Any = {"type": "function", "function": {"name": choice.get("name")}}
    elif (wanted := _CHOICES.get(str(choice.get("type")))) is None:
        raise bad("`tool_choice` must be of type auto, any, tool or none", "tool_choice")
    parallel = {"parallel_tool_calls": False} if choice.get("disable_parallel_tool_use") else {}
    return {"tool_choice": wanted, **parallel}
