"""What schemathesis checks besides: streams event by event, and that a valid request is taken.

It loads this file by the variable SCHEMATHESIS_HOOKS.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import schemathesis
from jsonschema import Draft202012Validator
from schemathesis import Case, CheckContext, GenerationMode, Response

from moa.backends.sse import EventSplitter
from moa.serve.openapi import document

Json = dict[str, Any]
BEYOND = re.compile(
    "|".join(
        (
            "must end with a user's turn",  # a schema cannot speak of the last item
            "is only for a stream",
            "needs `logprobs: true`",
            "`tool_choice` needs `tools`",
            "chooses its answer among others",  # what a model can do is no matter of its request
            "has no server of its own",
            r"\(user\) is empty|\(assistant\) has no content",  # all of its parts are empty
            "List should have at least 1 item after validation, not 0",  # reasoning alone is no conversation
            "is empty: ask something",
            "Input should be a valid integer",  # to a schema 1.0 is one
            "two choices have the same value",
            r"`questions\[\d+\]\.(choices|levels)` is missing",
        )
    )
)
"""Why a request that its schema allows may be refused all the same."""


@cache
def _validator(path: str, method: str, kind: str) -> Draft202012Validator | None:
    """Checks the events of a stream; None for what is none."""
    whole = document()
    content = whole["paths"][path][method]["responses"]["200"]["content"]
    described = content.get(kind, {}).get("schema", {})
    data = described.get("properties", {}).get("data", described)
    schema = data.get("anyOf", [data])[0].get("contentSchema")
    return Draft202012Validator({**schema, "components": whole["components"]}) if schema else None


@schemathesis.check
def events_are_as_described(ctx: CheckContext, response: Response, case: Case[Any]) -> None:
    """Every event of a stream has its schema, and the stream has an end."""
    kind = response.headers.get("content-type", [""])[0].partition(";")[0]
    if response.status_code != 200 or kind not in ("text/event-stream", "application/x-ndjson"):
        return
    validator = _validator(case.operation.path, case.operation.method.lower(), kind)
    assert validator is not None, f"{kind} is not described"
    events = list(_events(response.content, kind))
    assert events, "the stream says nothing"
    for event in events:
        validator.validate(event)
        assert "error" not in event or event.get("object"), f"the stream ends in an error: {event}"


@schemathesis.check
def valid_requests_are_taken(ctx: CheckContext, response: Response, case: Case[Any]) -> None:
    """A request that its schema allows is refused only for what a schema cannot say."""
    meta = case.meta
    if meta is None or meta.generation.mode is not GenerationMode.POSITIVE or response.status_code < 400:
        return
    message = response.text
    assert response.status_code == 400 and BEYOND.search(message), f"a valid request is refused: {message}"


def _events(content: bytes, kind: str) -> Iterator[Json]:
    if kind == "application/x-ndjson":
        yield from (json.loads(line) for line in content.splitlines() if line)
        return
    splitter = EventSplitter()
    found = splitter.feed(content)
    assert not splitter.close(), "the stream ends within an event"
    yield from (json.loads(event) for event in found if event != b"[DONE]")
