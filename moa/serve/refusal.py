"""An error as an HTTP client sees it: a status, a type, a code, and the field that is to blame."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from moa.errors import (
    AuthenticationError,
    BackendError,
    BackendTimeoutError,
    BadRequestError,
    BudgetExceededError,
    ContentFilteredError,
    ContextOverflowError,
    DeadlineExceededError,
    MoaError,
    ModelNotFoundError,
    QuorumError,
    RateLimitedError,
    StoreError,
    UsageError,
)

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    413: "invalid_request_error",
    415: "invalid_request_error",
    429: "rate_limit_error",
}
_ANTHROPIC = {
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


class Refusal(MoaError):
    """A request that gets an error for an answer.

    Args:
        status: the HTTP status.
        message: one sentence for the caller.
        param: the field of the request that is to blame.
        code: a word for programs, such as `model_not_found`.
        retry_after: seconds after which another attempt makes sense.
        again: whether a client should try again by itself; by default the status says so.
        detail: what the operator should know besides; it stays in the access log.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: float | None = None,
        again: bool | None = None,
        detail: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code
        self.retry_after = retry_after
        self.again = again
        self.detail = detail

    @property
    def type(self) -> str:
        """The kind of error in the OpenAI API's words."""
        if self.code == "insufficient_quota":
            return "insufficient_quota"
        return _TYPES.get(self.status, "server_error")

    @property
    def headers(self) -> Mapping[str, str]:
        """`retry-after` and `x-should-retry`, where they are known."""
        headers = {}
        if self.retry_after is not None:
            headers["retry-after"] = str(max(1, round(self.retry_after)))
        if self.again is not None:
            headers["x-should-retry"] = str(self.again).lower()
        if self.status == 401:
            headers["www-authenticate"] = "Bearer"
        return headers

    def to_json(self) -> dict[str, Any]:
        """The body that OpenAI's clients read."""
        error = {"message": self.message, "type": self.type, "param": self.param, "code": self.code}
        return {"error": error}

    def to_anthropic(self, request_id: str) -> dict[str, Any]:
        """The body that Anthropic's clients read."""
        kind = _ANTHROPIC.get(self.status, _TYPES.get(self.status, "api_error"))
        return {
            "type": "error",
            "error": {"type": kind, "message": self.message},
            "request_id": request_id,
        }

    def to_ollama(self) -> dict[str, Any]:
        """The body that Ollama's clients read."""
        return {"error": self.message}


def bad(message: str, param: str | None = None, code: str | None = None) -> Refusal:
    """A 400 that names the field."""
    return Refusal(400, message, param=param, code=code)


def broken(error: Exception) -> Refusal:
    """A bug of ours: the caller learns that there is one, the log where."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    detail = f"{type(error).__name__}: {error}{place}"
    return Refusal(500, "the server failed", code="internal_error", detail=detail)


def refusal_of(error: MoaError, *, detailed: bool) -> Refusal:
    """The engine's error as a caller may see it.

    What concerns the caller's request is said in full. What concerns the servers behind is said in full only
    where `detailed`, since it names their addresses; the access log has it in any case.
    """
    if isinstance(error, Refusal):
        return error
    told = f"{type(error).__name__}: {error}"
    match error:
        case BudgetExceededError():
            message = "the budget of this key is spent"
            return Refusal(429, message, code="insufficient_quota", again=False, detail=told)
        case ContextOverflowError():
            message = str(error) if detailed else "the conversation does not fit the model's context window"
            return Refusal(400, message, param="messages", code="context_length_exceeded", detail=told)
        case ContentFilteredError():
            message = str(error) if detailed else "a content filter took the answer away"
            return Refusal(400, message, code="content_filter", detail=told)
        case StoreError():
            return Refusal(
                500, told if detailed else "the answer could not be kept", code="store", detail=told
            )
        case UsageError():
            return Refusal(400, str(error))
        case BackendError() | QuorumError() | DeadlineExceededError():
            return _behind(error, told, detailed)
    return Refusal(500, told if detailed else "the ensemble failed", code="internal_error", detail=told)


def _behind(error: MoaError, told: str, detailed: bool) -> Refusal:
    """What went wrong at the models behind, or on the way to them."""
    status, code, said = 502, "no_answer", "the models behind did not answer"
    match error:
        case RateLimitedError():
            status, code, said = 429, "rate_limit_exceeded", "a model behind asks to slow down"
        case BackendTimeoutError() | DeadlineExceededError():
            status, code, said = 504, "timeout", "the models behind took too long"
        case AuthenticationError() | ModelNotFoundError():
            # The server's own keys and models are at fault, not the caller's.
            status, code, said = 502, "misconfigured", "a model behind is not set up"
        case BadRequestError():
            status, code, said = 400, "refused_by_model", "a model behind refused the request"
    wait = getattr(error, "retry_after", None)
    return Refusal(status, str(error) if detailed else said, code=code, retry_after=wait, detail=told)
