"""GET /openapi.json: every address of the server, in OpenAPI 3.1.

What answers look like and what no class says stands in `openapi.yaml`; the fields of requests come from the classes that read them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

import yaml
from aiohttp import web
from pydantic import BaseModel

from moa import __version__
from moa.serve import (
    chat_request,
    messages_request,
    ollama,
    ollama_embed,
    ollama_request,
    responses_request,
)
from moa.serve.decisions_request import DecisionsRequest
from moa.serve.house import HOUSE

Json = dict[str, Any]
REF = "#/components/schemas/"


_EMPTY: Sequence[Any] = (None, False, 0, "", [], {})


class Read(NamedTuple):
    """A class that reads bodies, the fields that it refuses, each with what to do instead, and what these may hold."""

    model: type[BaseModel]
    refused: Mapping[str, str] = {}
    harmless: Sequence[Any] = (None, False, 0)


REQUESTS: Mapping[str, Read] = {
    "chat": Read(chat_request.ChatRequest, chat_request.REFUSED),
    "responses": Read(responses_request.ResponsesRequest, responses_request.REFUSED),
    "messages": Read(messages_request.MessagesRequest, messages_request.REFUSED, _EMPTY),
    "count-tokens": Read(messages_request.CountTokensRequest, messages_request.REFUSED, _EMPTY),
    "decisions": Read(DecisionsRequest),
    "ollama-embed": Read(ollama_embed.EmbedRequest),
    "ollama-embeddings": Read(ollama_embed.EmbeddingsRequest),
    "ollama-show": Read(ollama.ShowRequest),
    "ollama": Read(ollama_request.OllamaRequest, ollama_request.REFUSED, _EMPTY),
}
_EVERYWHERE = {
    400: "The request cannot be honoured; where a field is to blame, it is named.",
    403: "The request comes from a page of another site, or names another server.",
    405: "The address has no such method.",
}
_GUARDED = {401: "A key is missing, or not known.", 404: "There is no such model or address."}
_ASKED = {
    408: "The body does not come.",
    413: "The body is too large.",
    415: "The body is not `application/json`.",
    429: "This key has too much under way or has spent its budget, or a model behind asks to slow down.",
    502: "The models behind did not answer, or not as they were told.",
    503: "The server is busy or leaves.",
    504: "The models behind took too long.",
}
_SHAPES = {"OpenAI": "Error", "Anthropic": "AnthropicError", "Ollama": "OllamaError", "open": "Error"}


async def openapi(request: web.Request) -> web.Response:
    """The document, with this server's models."""
    served = request.app[HOUSE].served.values()
    return web.json_response(
        document([each.id for each in served], [each.id for each in served if each.kind == "model"])
    )


def document(models: Collection[str] = (), plain: Collection[str] = ()) -> Json:
    """The description of a server that serves `models`, of which `plain` are no graphs."""
    written = _written()
    schemas = dict(written["components"]["schemas"])
    for name, ids in (("ModelId", models), ("PlainModelId", plain)):
        if ids:
            schemas[name] = {**schemas[name], "enum": list(ids)}
    return {**written, "components": {**written["components"], "schemas": schemas}}


@cache
def _written() -> Json:
    """The file, with the fields of requests and the errors put in."""
    found: Json = yaml.safe_load((files("moa.serve") / "openapi.yaml").read_text(encoding="utf-8"))
    found["info"]["version"] = __version__
    schemas = found["components"]["schemas"]
    for name in [name for name, schema in schemas.items() if "x-request" in schema]:
        schema, forms = _request(schemas[name])
        schemas[name] = schema
        for form in forms:
            schemas[form] = _told(forms[form], schemas.get(form, {}))
    for path in found["paths"].values():
        for method, operation in path.items():
            responses = operation["responses"]
            for kind, content in responses["200"]["content"].items():
                content |= _streamed(kind, content.pop("x-events", None), content.pop("x-end", None))
            responses |= dict(_errors(responses.pop("x-errors"), responses, asked=method == "post"))
    return found


def _request(written: Json) -> tuple[Json, Json]:
    """The schema of a body, and of the forms that its fields have."""
    read = REQUESTS[written.pop("x-request")]
    made = _untitled(read.model.model_json_schema(ref_template=REF + "{model}"))
    forms = made.pop("$defs", {})
    refused = {
        name: {"enum": list(read.harmless), "description": f"Not supported: {remedy}."}
        for name, remedy in read.refused.items()
    }
    return _told({**made, "properties": made["properties"] | refused}, written), forms


def _told(made: Json, written: Json) -> Json:
    """A schema made of a class, with what the file says of it, field by field."""
    fields = dict(made["properties"])
    for name, said in written.get("properties", {}).items():
        more = said.keys() <= {"description", "items"}
        fields[name] = {**fields.get(name, {}), **said} if more else said
    required = dict.fromkeys([*made.get("required", ()), *written.get("required", ())])
    return {**made, **written, "properties": fields, "required": list(required)}


def _untitled(schema: Any) -> Any:
    """A schema without the titles that only repeat names."""
    if isinstance(schema, list):
        return [_untitled(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: {field: _untitled(each) for field, each in value.items()}
        if name in ("properties", "$defs")
        else _untitled(value)
        for name, value in schema.items()
        if not (name == "title" and isinstance(value, str))
    }


def _streamed(kind: str, held: Json | None, end: str | None) -> Json:
    """What a stream's content is, by what its events or lines hold, and how it ends; nothing for what is no stream.

    OpenAPI 3.1 has no words for streams of events: as is usual, the schema is that of one event.
    """
    if held is None:
        return {}
    within = {"type": "string", "contentMediaType": "application/json", "contentSchema": held}
    if kind != "text/event-stream":
        return {"schema": within}
    data = within if end is None else {"anyOf": [within, {"const": end}]}
    fields = {"event": {"type": "string"}, "data": data}
    return {"schema": {"type": "object", "required": ["data"], "properties": fields}}


def _errors(family: str, known: Collection[str], *, asked: bool) -> Iterator[tuple[str, Json]]:
    """The responses to what is refused, in the shape of the API that was asked."""
    told = _EVERYWHERE | (_GUARDED if family != "open" else {}) | (_ASKED if asked else {})
    for status, description in sorted(told.items()):
        headers = {"x-request-id": {"$ref": "#/components/headers/request-id"}}
        if status == 405:
            headers["allow"] = {"$ref": "#/components/headers/allow"}
        if status in (429, 503):
            headers["retry-after"] = {"$ref": "#/components/headers/retry-after"}
        content = {"application/json": {"schema": {"$ref": REF + _SHAPES[family]}}}
        if str(status) not in known:
            yield str(status), {"description": description, "headers": headers, "content": content}
