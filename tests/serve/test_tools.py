"""Tools and structured answers, at the node that writes the answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from moa.backends.base import Choice, Completion, Delta, Emit, Request, Usage
from tests.serve.serving import serving
from tests.support.backends import Scripted

ASK: list[Any] = [{"role": "user", "content": "Weather in Rome?"}]
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
CALL: dict[str, Any] = {
    "id": "c1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city": "Rome"}'},
    "x": 1,
}


class Calling(Scripted):
    """Calls a tool where it is given one and has no result yet; else it answers."""

    async def complete(self, request: Request, emit: Emit | None = None) -> Completion:
        self.requests.append(request)
        done = request.messages[-1]["role"] == "tool"
        if request.params.get("tools") and not done:
            choice = Choice("", "tool_calls", tool_calls=[CALL], usage=Usage(3, 2))
        else:
            choice = Choice(str(request.messages[-1]["content"]), "stop", usage=Usage(3, 2))
            if emit is not None:
                emit(Delta(0, choice.text))
        return Completion((choice,), "calling")


def typed(text: str) -> Callable[[Request], str]:
    return lambda request: text


async def test_the_last_node_calls_and_the_next_turn_has_the_result() -> None:
    panel, sink = Scripted(), Calling()
    async with serving(backends={"panel": panel, "sink": sink}) as server, server.client() as client:
        reply = await client.chat.completions.create(
            model="duo", messages=ASK, tools=[TOOL], tool_choice="required", parallel_tool_calls=False
        )
        [choice] = reply.choices
        [call] = choice.message.tool_calls or []
        turns: list[Any] = [
            *ASK,
            choice.message.model_dump(exclude_none=True),
            {"role": "tool", "tool_call_id": call.id, "content": "Sunny"},
        ]
        after = await client.chat.completions.create(model="duo", messages=turns, tools=[TOOL])
    assert choice.finish_reason == "tool_calls" and choice.message.content is None
    assert call.model_dump() == {key: value for key, value in CALL.items() if key != "x"}
    assert after.choices[0].message.content == "Sunny"
    assert "tools" not in panel.requests[0].params
    assert sink.requests[0].params["tools"] == [TOOL] and sink.requests[0].params["tool_choice"] == "required"
    assert sink.requests[0].params["parallel_tool_calls"] is False


async def test_calls_come_at_the_end_of_a_stream() -> None:
    backends = {"panel": Scripted(), "sink": Calling()}
    async with (
        serving(backends=backends) as server,
        server.client() as client,
        client.chat.completions.stream(model="duo", messages=ASK, tools=[TOOL]) as stream,
    ):
        final = await stream.get_final_completion()
    [call] = final.choices[0].message.tool_calls or []
    assert (call.function.name, json.loads(call.function.arguments)) == ("weather", {"city": "Rome"})
    assert final.choices[0].finish_reason == "tool_calls"


class Weather(BaseModel):
    city: str
    sunny: bool


async def test_an_answer_has_the_shape_that_was_asked_for() -> None:
    sink = Scripted(typed('{"city":"Rome","sunny":true}'))
    async with serving(backends={"panel": Scripted(), "sink": sink}) as server, server.client() as client:
        reply = await client.chat.completions.parse(model="duo", messages=ASK, response_format=Weather)
    assert reply.choices[0].message.parsed == Weather(city="Rome", sunny=True)
    asked = sink.requests[0].params["response_format"]
    assert asked["type"] == "json_schema" and asked["json_schema"]["schema"]["required"] == ["city", "sunny"]


async def test_an_answer_that_is_not_json_after_all_is_an_error() -> None:
    backends = {"panel": Scripted(), "sink": Scripted(typed("Sunny!"))}
    async with serving(backends=backends) as server, server.client() as client:
        with pytest.raises(openai.InternalServerError, match="not JSON") as refused:
            await client.chat.completions.create(
                model="duo", messages=ASK, response_format={"type": "json_object"}
            )
    assert refused.value.param == "response_format"


@pytest.mark.parametrize("tool", [{"type": "custom", "custom": {"name": "f"}}, {"type": "function"}, {}])
async def test_tools_that_nobody_can_call_are_refused(tool: Any) -> None:
    async with serving() as server, server.client() as client:
        with pytest.raises(openai.BadRequestError) as refused:
            await client.chat.completions.create(model="duo", messages=ASK, tools=[tool])
    assert refused.value.param == "tools"
