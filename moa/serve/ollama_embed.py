"""POST /api/embed and /api/embeddings: Ollama's vectors, which a plain model's own server makes."""

from __future__ import annotations

from typing import Annotated, Any

from aiohttp import web
from pydantic import Field, StringConstraints, ValidationError

from moa.errors import InvalidReplyError
from moa.serve.body import Fields, read_object, refusal_for
from moa.serve.context import CONTEXT
from moa.serve.house import HOUSE
from moa.serve.ollama import served_name
from moa.serve.relay import open_relay

Json = dict[str, Any]
Text = Annotated[str, StringConstraints(strict=True)]


class EmbedRequest(Fields):
    """The fields of /api/embed that mean something here; the others are about how a model is loaded."""

    model: Annotated[str, StringConstraints(strict=True, min_length=1)]
    input: Text | Annotated[list[Text], Field(min_length=1)]
    dimensions: Annotated[int, Field(strict=True, ge=1)] | None = None


class EmbeddingsRequest(Fields):
    """The fields of /api/embeddings, which is older and takes one text."""

    model: Annotated[str, StringConstraints(strict=True, min_length=1)]
    prompt: Text


async def embed(request: web.Request) -> web.Response:
    """The vectors of one text or several."""
    body = await read_object(request, untyped=True)
    try:
        wanted = EmbedRequest.model_validate({n: v for n, v in body.items() if v is not None})
    except ValidationError as error:
        raise refusal_for(error, body) from None
    fields = wanted.model_dump(exclude={"model"}, exclude_none=True)
    began = request.app[HOUSE].settings.timer()
    vectors, tokens = await _relayed(request, wanted.model, fields)
    took = int((request.app[HOUSE].settings.timer() - began) * 1e9)
    return web.json_response(
        {
            "model": wanted.model,
            "embeddings": vectors,
            "total_duration": took,
            "load_duration": 0,
            "prompt_eval_count": tokens,
        }
    )


async def embeddings(request: web.Request) -> web.Response:
    """The vector of one text."""
    body = await read_object(request, untyped=True)
    try:
        wanted = EmbeddingsRequest.model_validate(body)
    except ValidationError as error:
        raise refusal_for(error, body) from None
    vectors, _ = await _relayed(request, wanted.model, {"input": wanted.prompt})
    return web.json_response({"embedding": vectors[0]})


async def _relayed(request: web.Request, model: str, fields: Json) -> tuple[list[list[float]], int]:
    """One vector for each text, in their order, and the tokens of all."""
    house, context = request.app[HOUSE], request[CONTEXT]
    name = served_name(house, model)
    asked = {"model": name, **fields, "encoding_format": "float"}
    relay = await open_relay(request, asked, "embeddings")
    payload = await relay.whole(house, context)
    count = len(fields["input"]) if isinstance(fields["input"], list) else 1
    vectors = _vectors(payload.get("data"), count)
    if vectors is None:
        raise InvalidReplyError(f"{name}: its server did not send a vector for each text")
    return vectors, relay.usage.input_tokens if relay.usage else 0


def _vectors(data: Any, count: int) -> list[list[float]] | None:
    """The vectors by their places; None where one is missing."""
    found: dict[int, list[float]] = {}
    for each in data if isinstance(data, list) else ():
        match each:
            case {"index": int(index), "embedding": [*vector]} if all(
                isinstance(value, int | float) for value in vector
            ):
                found[index] = vector
    return [found[index] for index in range(count)] if found.keys() == set(range(count)) else None
