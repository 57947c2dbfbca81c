"""POST /v1/responses through OpenAI's own client."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from moa.errors import ConnectionFailedError
from moa.run.retry import RetryPolicy
from tests.serve.serving import serving
from tests.serve.test_tools import TOOL, Calling, Weather, typed
from tests.support.backends import Scripted

FUNCTION: Any = {"type": "function", **TOOL["function"]}


async def test_an_ensemble_responds() -> None:
    panel = Scripted()
    async with serving(backends={"panel": panel, "sink": Scripted()}) as server, server.client() as client:
        reply = await client.responses.create(
            model="duo", input="Why?", instructions="Be brief.", max_output_tokens=9, temperature=0.1
        )
    assert reply.output_text.startswith("Why? #") and reply.status == "completed" and reply.model == "duo"
    assert reply.usage is not None and (reply.usage.input_tokens, reply.usage.output_tokens) == (20, 15)
    assert (reply.temperature, reply.max_output_tokens, reply.instructions) == (0.1, 9, "Be brief.")
    assert panel.requests[0].messages == (
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Why?"},
    )


async def test_a_stream_of_events_adds_up() -> None:
    async with (
        serving() as server,
        server.client() as client,
        client.responses.stream(model="duo", input="Why?") as stream,
    ):
        seen = [event async for event in stream]
        final = await stream.get_final_response()
    kinds = [event.type for event in seen if event.type != "response.output_text.delta"]
    assert kinds == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event.sequence_number for event in seen] == list(range(len(seen)))
    deltas = "".join(event.delta for event in seen if event.type == "response.output_text.delta")
    assert deltas == final.output_text and final.usage is not None and final.usage.total_tokens == 35


async def test_a_conversation_with_tools_goes_on() -> None:
    panel, sink = Scripted(), Calling()
    async with serving(backends={"panel": panel, "sink": sink}) as server, server.client() as client:
        first = await client.responses.create(
            model="duo",
            input="Weather?",
            tools=[FUNCTION],
            tool_choice={"type": "function", "name": "weather"},
        )
        [call] = first.output
        assert call.type == "function_call" and call.arguments == '{"city": "Rome"}'
        items: Any = [
            {"role": "user", "content": [{"type": "input_text", "text": "Weather?"}]},
            {"type": "reasoning", "id": "r", "summary": []},
            call.model_dump(),
            {"type": "function_call_output", "call_id": call.call_id, "output": "Sunny"},
        ]
        second = await client.responses.create(model="duo", input=items, tools=[FUNCTION])
        stream = await client.responses.create(model="duo", input="Weather?", tools=[FUNCTION], stream=True)
        kinds = [event.type async for event in stream]
    assert second.output_text == "Sunny"
    assert [message["role"] for message in sink.requests[1].messages] == [
        "system",
        "user",
        "assistant",
        "tool",
    ]
    assert sink.requests[0].params["tool_choice"] == {"type": "function", "function": {"name": "weather"}}
    assert kinds[2:] == [
        "response.output_item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.output_item.done",
        "response.completed",
    ]


async def test_a_structured_answer_is_parsed() -> None:
    sink = Scripted(typed('{"city":"Rome","sunny":false}'))
    async with serving(backends={"panel": Scripted(), "sink": sink}) as server, server.client() as client:
        reply = await client.responses.parse(model="duo", input="Weather?", text_format=Weather)
    assert reply.output_parsed == Weather(city="Rome", sunny=False)
    assert sink.requests[0].params["response_format"]["json_schema"]["strict"] is True


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"background": True}, "background"),
        ({"conversation": "c"}, "conversation"),
        ({"tools": [{"type": "web_search"}]}, "tools"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0]"),
        ({"input": [{"role": "user", "content": [{"type": "input_file"}]}]}, "input[0]"),
        ({"input": []}, "input"),
        ({"input": 3}, "input"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"temperature": 9}, "temperature"),
        ({"text": {"format": {"type": "grammar"}}}, "text.format"),
    ],
)
async def test_what_needs_a_memory_or_is_not_there_is_refused(fields: dict[str, Any], param: str) -> None:
    async with serving() as server, server.http() as http:
        response = await http.post("/v1/responses", json={"model": "duo", "input": "Why?"} | fields)
        error = (await response.json())["error"]
    assert response.status == 400 and error["param"] == param


async def test_a_failure_in_a_stream_fails_the_response() -> None:
    backends = {
        "panel": Scripted(latency=0.1),
        "sink": Scripted(lambda request: ConnectionFailedError("gone")),
    }
    run = {"retry": RetryPolicy(attempts=1)}
    async with serving(backends=backends, run=run, keep_alive=0.02) as server, server.client() as client:
        stream = await client.responses.create(model="duo", input="Why?", stream=True)
        last = [event async for event in stream][-1]
        with pytest.raises(openai.InternalServerError, match="gone"):
            await client.responses.create(model="duo", input="Why?")
    assert last.type == "response.failed" and last.response.error is not None
    assert "gone" in last.response.error.message
