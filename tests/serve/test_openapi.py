"""The description of the server: it is sound, it names every address, and it says what the server says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from jsonschema import Draft202012Validator

import moa
from moa.run.runner import Runner
from moa.serve.app import make_app
from moa.serve.house import Served
from moa.serve.openapi import REF, REQUESTS, document
from tests.serve.serving import duo, serving
from tests.support.backends import Scripted

Json = dict[str, Any]
ASK = [{"role": "user", "content": "Why?"}]


def validator(name: str) -> Draft202012Validator:
    """Checks values against one of the document's schemas."""
    return Draft202012Validator({"$ref": f"{REF}{name}", "components": document()["components"]})


def references(value: Any) -> Iterator[str]:
    """Everything that is referred to."""
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


async def test_every_address_is_described() -> None:
    async with Runner(backends={"panel": Scripted(), "sink": Scripted()}) as runner:
        plan = duo().plan(runner.models)
        app = make_app([Served(plan.name, plan)], runner)
    served = {
        (route.resource.canonical, route.method.lower())
        for route in app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    described = {(path, method) for path, item in document()["paths"].items() for method in item}
    assert served == described


def test_schemas_are_sound_and_refer_to_what_is_there() -> None:
    whole = document(["duo"], ["plain"])
    for schema in whole["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    for reference in set(references(whole)):
        found: Any = whole
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]
        assert found, reference
    assert '"x-request"' not in json.dumps(whole) and '"x-errors"' not in json.dumps(whole)
    names = [operation["operationId"] for item in whole["paths"].values() for operation in item.values()]
    assert len(set(names)) == len(names)


def test_every_field_that_a_request_reads_is_described() -> None:
    schemas = document()["components"]["schemas"]
    written = {
        "chat": "ChatRequest",
        "responses": "ResponsesRequest",
        "messages": "MessagesRequest",
        "count-tokens": "CountTokensRequest",
        "decisions": "DecisionsRequest",
        "ollama-embed": "OllamaEmbedRequest",
        "ollama-embeddings": "OllamaEmbeddingsRequest",
        "ollama-show": "OllamaShowRequest",
        "ollama": "OllamaChatRequest",
    }
    assert written.keys() == REQUESTS.keys()
    for name, read in REQUESTS.items():
        fields = schemas[written[name]]["properties"]
        assert fields.keys() >= read.model.model_fields.keys() | read.refused.keys()


async def test_the_server_gives_its_description_with_its_own_models() -> None:
    async with serving(duo("first"), duo("second"), plain=["sink"]) as server, server.http() as http:
        response = await http.get("/openapi.json")
        given = await response.json()
    assert given["openapi"] == "3.1.0" and given["info"]["version"] == moa.__version__
    schemas = given["components"]["schemas"]
    assert schemas["ModelId"]["enum"] == ["first", "second", "sink"]
    assert schemas["PlainModelId"]["enum"] == ["sink"]


@pytest.mark.parametrize(
    ("schema", "body"),
    [
        ("ChatRequest", {"model": "duo"}),
        ("ChatRequest", {"model": "duo", "messages": []}),
        ("ChatRequest", {"model": "duo", "messages": [{"role": "user", "content": ""}]}),
        ("ChatRequest", {"model": "duo", "messages": ASK, "temperature": 3}),
        ("ChatRequest", {"model": "duo", "messages": ASK, "functions": [{"name": "f"}]}),
        ("ChatRequest", {"model": "duo", "messages": ASK, "response_format": {"type": "xml"}}),
        ("ResponsesRequest", {"model": "duo", "input": "Why?", "previous_response_id": "resp_1"}),
        ("MessagesRequest", {"model": "duo", "messages": ASK}),
        ("OllamaGenerateRequest", {"model": "duo"}),
        ("DecisionsRequest", {"model": "duo", "input": "x", "questions": []}),
    ],
)
def test_what_the_server_refuses_is_no_valid_request(schema: str, body: Json) -> None:
    with pytest.raises(jsonschema.ValidationError):
        validator(schema).validate(body)


@pytest.mark.parametrize(
    ("path", "answer", "body"),
    [
        ("/v1/chat/completions", "ChatCompletion", {"messages": ASK, "n": 2, "moa": {"nodes": True}}),
        ("/v1/responses", "Response", {"input": "Why?", "moa": {"nodes": True}}),
        ("/v1/messages", "MessagesReply", {"messages": ASK, "max_tokens": 9, "moa": {"nodes": True}}),
        ("/api/chat", "OllamaChatReply", {"messages": ASK, "stream": False}),
        ("/api/generate", "OllamaGenerateReply", {"prompt": "Why?", "stream": False}),
    ],
)
async def test_answers_and_errors_are_as_described(path: str, answer: str, body: Json) -> None:
    error = {"/v1/messages": "AnthropicError"}.get(
        path, "OllamaError" if path.startswith("/api") else "Error"
    )
    async with serving() as server, server.http() as http:
        given = await http.post(path, json={"model": "duo", **body})
        validator(answer).validate(await given.json())
        refused = await http.post(path, json={**body, "model": "none"})
        validator(error).validate(await refused.json())
    assert (given.status, refused.status) == (200, 404)


async def test_a_wrong_method_is_told_the_right_ones() -> None:
    async with serving() as server, server.http() as http:
        response = await http.get("/v1/chat/completions")
        validator("Error").validate(await response.json())
    assert (response.status, response.headers["allow"]) == (405, "POST")


async def test_a_question_that_says_nothing_is_refused_by_its_place() -> None:
    body = {"model": "duo", "input": "x", "questions": [{"type": "predicate", "instructions": " "}]}
    async with serving() as server, server.http() as http:
        response = await http.post("/v1/decisions", json=body)
        given = await response.json()
    assert response.status == 400 and given["error"]["param"] == "questions[0].instructions"
