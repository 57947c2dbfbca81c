"""What a client may ask of POST /v1/chat/completions, and what an ensemble makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, StrictBool, StrictInt, StringConstraints, ValidationError, field_validator

from moa.serve.answer import Asked
from moa.serve.body import Fields, refusal_for
from moa.serve.house import House
from moa.serve.refusal import bad
from moa.spec.agent import Sampling

MOST = 32
"""Answers to one request, at most."""
PARTS = ("audio_url", "file", "image_url", "input_audio", "refusal", "text", "video_url")
Json = dict[str, Any]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Stop = Annotated[str, StringConstraints(min_length=1, strict=True)]
Temperature = Annotated[Number, Field(ge=0, le=2)]
TopP = Annotated[Number, Field(gt=0, le=1)]
TopK = Annotated[int, Field(strict=True, ge=-1)]
MinP = Annotated[Number, Field(ge=0, le=1)]
Penalty = Annotated[Number, Field(ge=-2, le=2)]
Repetition = Annotated[Number, Field(gt=0, le=10)]

REFUSED: Mapping[str, str] = {
    "audio": "the answer is text",
    "best_of": "ask for `n` answers",
    "echo": "the prompt is not repeated",
    "function_call": "write `tool_choice`",
    "functions": "write `tools`",
    "guided_choice": "write `response_format`",
    "guided_grammar": "write `response_format`",
    "guided_json": "write `response_format`",
    "guided_regex": "write `response_format`",
    "prompt": "write `messages`, or ask POST /v1/completions",
    "use_beam_search": "answers are sampled",
    "web_search_options": "there is no search",
}
"""Fields that would change the meaning of the answer and cannot be honoured, and what to do instead."""
SAMPLED = frozenset(Sampling.model_fields) - {"body", "max_tokens", "stop", "tools"}
"""Fields that go to the nodes that write the answer, under the same name."""
PASSED = ("parallel_tool_calls", "logit_bias", "verbosity", "chat_template_kwargs", "structured_outputs")
"""Fields that go there as they are."""


class StreamOptions(Fields):
    """`stream_options`."""

    include_usage: StrictBool | None = None


class Extras(Fields):
    """`moa`: what our server can tell besides."""

    nodes: StrictBool = False


class ChatRequest(Fields):
    """The fields of a chat request that mean something here."""

    model: Annotated[str, StringConstraints(strict=True, min_length=1)]
    messages: Annotated[list[Json], Field(min_length=1)]
    stream: StrictBool | None = None
    stream_options: StreamOptions | None = None
    n: Annotated[int, Field(strict=True, ge=1, le=MOST)] | None = None
    seed: StrictInt | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=16)] | None = None
    max_tokens: Annotated[int, Field(strict=True, ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(strict=True, ge=1)] | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    top_k: TopK | None = None
    min_p: MinP | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    repetition_penalty: Repetition | None = None
    logprobs: StrictBool | None = None
    top_logprobs: Annotated[int, Field(strict=True, ge=0, le=20)] | None = None
    response_format: Json | None = None
    tools: list[Json] | None = None
    tool_choice: Literal["none", "auto", "required"] | Json | None = None
    parallel_tool_calls: StrictBool | None = None
    logit_bias: dict[str, Number] | None = None
    reasoning_effort: str | None = None
    verbosity: str | None = None
    chat_template_kwargs: Json | None = None
    structured_outputs: Json | None = None
    modalities: list[str] | None = None
    moa: Extras = Extras()

    @field_validator("messages")
    @classmethod
    def _readable(cls, messages: list[Json]) -> list[Json]:
        for number, message in enumerate(messages):
            content = message.get("content")
            for place, part in enumerate(content if isinstance(content, list) else ()):
                if not isinstance(part, dict) or str(part.get("type")) not in PARTS:
                    known = ", ".join(PARTS)
                    raise ValueError(f"part {place} of message {number} has none of the types {known}")
                if part["type"] == "text" and not isinstance(part.get("text"), str):
                    raise ValueError(f"part {place} of message {number} has no `text`")
                if part["type"] == "image_url" and not _has_address(part.get("image_url")):
                    raise ValueError(f"part {place} of message {number} has no `image_url` with a `url`")
        return messages

    @field_validator("response_format")
    @classmethod
    def _a_format(cls, value: Json | None) -> Json | None:
        kind = value.get("type") if value is not None else "text"
        if kind not in ("text", "json_object", "json_schema"):
            raise ValueError("`type` must be `text`, `json_object` or `json_schema`")
        if kind == "json_schema" and not _holds_schema(value):
            raise ValueError("needs `json_schema` with a `name` and a `schema`")
        return value

    @field_validator("tools")
    @classmethod
    def _functions(cls, tools: list[Json] | None) -> list[Json] | None:
        for tool in tools or ():
            function = tool.get("function")
            name = function.get("name") if isinstance(function, dict) else None
            if tool.get("type") != "function" or not isinstance(name, str) or not name:
                raise ValueError("only tools of type `function` with a `name` can be called")
        return tools

    @property
    def wants_usage(self) -> bool:
        """Whether the stream ends with the usage."""
        return bool(self.stream_options and self.stream_options.include_usage)


def read_chat(body: Mapping[str, Any]) -> ChatRequest:
    """A chat request; raises `Refusal` that names the first field that cannot be honoured."""
    for name, remedy in REFUSED.items():
        if body.get(name) not in (None, False):
            raise bad(f"`{name}` is not supported: {remedy}", name, "unsupported_parameter")
    try:
        wanted = ChatRequest.model_validate(body)
    except ValidationError as error:
        raise refusal_for(error, body) from None
    if wanted.modalities and wanted.modalities != ["text"]:
        raise bad("`modalities`: the answer is text", "modalities", "unsupported_parameter")
    if wanted.stream_options is not None and not wanted.stream:
        raise bad("`stream_options` is only for a stream", "stream_options")
    if wanted.top_logprobs is not None and not wanted.logprobs:
        raise bad("`top_logprobs` needs `logprobs: true`", "top_logprobs")
    return wanted


def asked_by(house: House, wanted: ChatRequest) -> Asked:
    """The request in the engine's terms."""
    served = house.find(wanted.model)
    return Asked(served, wanted.messages, sampling_of(wanted), wanted.n or 1, seed_of(wanted.seed))


def sampling_of(wanted: ChatRequest) -> Sampling:
    """What the nodes that write the answer are told; null and absent are the same."""
    fields = wanted.model_dump(include=set(SAMPLED), exclude_none=True)
    if not wanted.logprobs:
        fields.pop("logprobs", None)
    if (longest := wanted.max_completion_tokens or wanted.max_tokens) is not None:
        fields["max_tokens"] = longest
    if wanted.stop:
        fields["stop"] = (wanted.stop,) if isinstance(wanted.stop, str) else tuple(wanted.stop)
    if wanted.tools:
        fields["tools"] = tuple(wanted.tools)
    elif "tool_choice" in fields and fields.pop("tool_choice") not in ("none", "auto"):
        raise bad("`tool_choice` needs `tools`", "tool_choice")
    body = {name: value for name in PASSED if (value := getattr(wanted, name)) is not None}
    if not wanted.tools:
        body.pop("parallel_tool_calls", None)
    return Sampling(**fields, body=body)


def seed_of(seed: int | None) -> int | None:
    """A seed that fits beside the sample's number, whatever 64 bits the caller sent."""
    return None if seed is None else seed % (1 << 32)


def _has_address(picture: Any) -> bool:
    return isinstance(picture, dict) and isinstance(picture.get("url"), str)


def _holds_schema(value: Json | None) -> bool:
    inner = value.get("json_schema") if value else None
    return (
        isinstance(inner, dict)
        and isinstance(inner.get("name"), str)
        and isinstance(inner.get("schema"), dict)
    )
