"""What went wrong, from what a server said: one error class and one line with a remedy."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from moa.backends.headers import duration, retry_delay
from moa.backends.redact import Secret, redact
from moa.errors import (
    AuthenticationError,
    BackendError,
    BackendTimeoutError,
    BadRequestError,
    ContentFilteredError,
    ContextOverflowError,
    ModelNotFoundError,
    RateLimitedError,
    ServerFailedError,
)

LONGEST = 300
"""Characters of a server's own words that are shown."""


@dataclass(frozen=True, slots=True)
class Told:
    """An error object, read from whichever shape the server gave it."""

    message: str = ""
    type: str = ""
    code: str = ""
    param: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kinds(self) -> str:
        """Type and code together, in lower case."""
        return f"{self.type} {self.code}".lower()


class Refused(Exception):
    """The server answered with an error; not yet one of ours, since a quirk may explain it."""

    def __init__(self, status: int, told: Told, headers: Mapping[str, str]) -> None:
        super().__init__(told.message)
        self.status = status
        self.told = told
        self.headers = headers


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom an error is about."""

    name: str
    model: str
    url: str
    key_env: str | None = None
    secret: Secret | None = None


def read_error(raw: bytes) -> Told:
    """What an error body says: JSON in any of the known shapes, a web page, or plain text."""
    text = raw.decode("utf-8", "replace")
    try:
        payload = json.loads(text)
    except ValueError:
        return Told(_page(text))
    return read_error_object(payload)


def read_error_object(payload: Any) -> Told:
    """What an error object says; `payload` is the whole body or the value of its `error`."""
    if isinstance(payload, list) and payload:
        payload = (
            payload[0] if isinstance(payload[0], dict) and "error" in payload[0] else {"detail": payload}
        )
    if not isinstance(payload, dict):
        return Told(_line(str(payload)))
    inner = payload.get("error") or payload.get("detail") or payload
    if isinstance(inner, list):
        return _validation(inner)
    if not isinstance(inner, dict):
        return Told(_line(str(inner)))
    message = inner.get("message") or inner.get("error") or inner.get("detail") or json.dumps(inner)
    kind, code, param = ("" if one is None else str(one) for one in map(inner.get, ("type", "code", "param")))
    return Told(_line(f"{message}{_upstream(inner)}"), kind, code, param, inner)


def _upstream(inner: Mapping[str, Any]) -> str:
    """A router's error hides the provider's own words one level down."""
    metadata = inner.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    return f" ({raw})" if isinstance(raw, str) and raw else ""


def _validation(problems: list[Any]) -> Told:
    """FastAPI's list of problems with a body."""
    first: Mapping[str, Any] = problems[0] if problems and isinstance(problems[0], dict) else {}
    place = [str(part) for part in first.get("loc", ()) if part != "body"]
    message = str(first.get("msg", problems))
    said = f"{'.'.join(place)}: {message}" if place else message
    return Told(_line(said), code=str(first.get("type", "")), param=place[-1] if place else "")


def _page(text: str) -> str:
    """A web page as its title, else its text."""
    if "<" not in text:
        return _line(text)
    title = re.search(r"<title[^>]*>(.*?)</title>", text, re.I | re.S)
    hidden = re.sub(r"<(script|style)\b.*?</\1>", " ", text, flags=re.I | re.S)
    return _line(title[1] if title and title[1].strip() else re.sub(r"<[^>]*>", " ", hidden))


def _line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"


_STATUS_OF = {
    "rate_limit": 429,
    "insufficient_quota": 429,
    "too_many_requests": 429,
    "overloaded": 503,
    "unavailable": 503,
    "timeout": 408,
    "authentication": 401,
    "invalid_api_key": 401,
    "unauthorized": 401,
    "permission": 403,
    "not_found": 404,
    "context_length": 400,
    "exceed_context": 400,
    "content_filter": 400,
    "content_policy": 400,
    "invalid_request": 400,
    "badrequest": 400,
}


def status_of(told: Told) -> int:
    """The HTTP status that an error without one stands for; 500 where it does not say."""
    if told.code.isdigit() and 400 <= int(told.code) <= 599:
        return int(told.code)
    return next((status for word, status in _STATUS_OF.items() if word in told.kinds), 500)


_OVERFLOWS = tuple(
    re.compile(pattern, re.I)
    for pattern in (
        r"maximum context length(?: is| of|:)?(?: only)? *(?P<limit>[\d,]+)",
        r"context length (?:is|of)(?: only)? *(?P<limit>[\d,]+)",
        r"maximum model length of *(?P<limit>[\d,]+)",
        r"exceeds? (?:the )?(?:available )?context (?:size|length|window|limit)(?:.*?(?:\(|of |> )(?P<limit>[\d,]+))?",
        r"max_new_tokens`? must be <= *(?P<limit>[\d,]+)",
        r"too large for model with (?P<limit>[\d,]+) maximum",
        r"prompt is too long(?:.*?> (?P<limit>[\d,]+) maximum)?",
        r"too long and exceeds limit of (?P<limit>[\d,]+)",
        r"maximum number of tokens allowed(?: \((?P<limit>[\d,]+)\))?",
        r"tokens exceed the configured limit of (?P<limit>[\d,]+)",
        r"reduce the length of (?:the|your|either)",
    )
)


def overflow(told: Told) -> tuple[bool, int | None]:
    """Whether the prompt did not fit, and the window in tokens where the server names it."""
    limit = told.extra.get("n_ctx")
    known = limit if isinstance(limit, int) else None
    for pattern in _OVERFLOWS:
        if match := pattern.search(told.message):
            said = match.groupdict().get("limit")
            return True, known or (int(said.replace(",", "")) if said else None)
    return "context_length_exceeded" in told.kinds or "exceed_context" in told.kinds, known


_FILTERED = re.compile(
    r"content[_ ](?:filter|policy|management)|moderation|data_inspection_failed|was flagged", re.I
)
_NO_MODEL = re.compile(
    r"model_not_found|model.{0,80}(?:not found|does not exist|not a valid|not exist|is not available)|(?:invalid|unknown|no such) model",
    re.I | re.S,
)


def failure(subject: Subject, refused: Refused, now: float) -> BackendError:
    """The error that a server's refusal means.

    Args:
        subject: Whom it is about.
        refused: The server's answer.
        now: Seconds since the epoch, for points in time in its headers.
    """
    error = _classify(subject, refused, now)
    wish = {name.lower(): value for name, value in refused.headers.items()}.get("x-should-retry")
    if wish in ("true", "false"):
        error.retryable = wish == "true"
    return error


def _classify(subject: Subject, refused: Refused, now: float) -> BackendError:
    status, told = refused.status, refused.told
    if status <= 500 and status != 429:
        too_long, limit = overflow(told)
        if too_long:
            window = f" ({limit} tokens)" if limit else ""
            return ContextOverflowError(
                _say(subject, refused, f"the prompt does not fit the context window{window}"),
                status=status,
                limit=limit,
            )
    if status < 400:
        place = redact(refused.headers.get("Location", "elsewhere"), subject.secret)
        remedy = f"the server redirects to {place}; use that address as `base_url`"
        return BadRequestError(_say(subject, refused, remedy), status=status)
    if status >= 500 or status in (408, 409, 425, 429):
        return _passing(subject, refused, now)
    if status in (400, 403, 422) and _FILTERED.search(f"{told.kinds} {told.message}"):
        return ContentFilteredError(
            _say(subject, refused, "refused by the provider's content filter"), status=status
        )
    return _lasting(subject, refused)


def _passing(subject: Subject, refused: Refused, now: float) -> BackendError:
    """Failures that may be over by the next attempt."""
    status, told = refused.status, refused.told
    wait = retry_delay(refused.headers, now, resets=status == 429)
    if wait is None:
        wait = _wait_in_body(told)
    if status == 429:
        if "insufficient_quota" in told.kinds or "billing" in told.kinds:
            said = _say(subject, refused, "the account has no credit left; add some at the provider")
            return RateLimitedError(said, status=status, retryable=False)
        said = _say(subject, refused, "rate limited; lower `limits` for it in models.yaml if this persists")
        return RateLimitedError(said, status=status, retry_after=wait)
    if status == 408:
        return BackendTimeoutError(
            _say(subject, refused, "the server gave up waiting"), status=status, retry_after=wait
        )
    said = _say(subject, refused, f"the server at {subject.url} failed")
    return ServerFailedError(said, status=status, retry_after=wait, retryable=status != 501)


def _wait_in_body(told: Told) -> float | None:
    """Google's RetryInfo, which says in the body what others say in a header."""
    details = told.extra.get("details")
    for detail in details if isinstance(details, list) else ():
        wait = detail.get("retryDelay") if isinstance(detail, dict) else None
        if isinstance(wait, str):
            return duration(wait)
    return None


def _lasting(subject: Subject, refused: Refused) -> BackendError:
    """Failures that the same request would meet again."""
    status, told = refused.status, refused.told
    if status in (401, 403):
        remedy = (
            f"the server refused the key in {subject.key_env}"
            if subject.secret
            else "the server wants a key; put it into an environment variable and name it with `key_env` in models.yaml"
        )
        return AuthenticationError(_say(subject, refused, remedy), status=status)
    if _NO_MODEL.search(f"{told.kinds} {told.message}"):
        remedy = f"{subject.url} has no model {subject.model!r}; `moa models` lists what is there"
        return ModelNotFoundError(_say(subject, refused, remedy), status=status)
    if status == 404:
        remedy = f"nothing answers at {subject.url}; is the path right? It usually ends in /v1"
        return BadRequestError(_say(subject, refused, remedy), status=status)
    if status == 402:
        remedy = "the account has no credit left; add some at the provider"
        return BadRequestError(_say(subject, refused, remedy), status=status)
    return BadRequestError(_say(subject, refused, "the server refused the request"), status=status)


def _say(subject: Subject, refused: Refused, what: str) -> str:
    said = redact(refused.told.message, subject.secret)
    return f"{subject.name}: {what} (HTTP {refused.status}{': ' + said if said else ''})"
