"""Every error that `moa` raises on purpose.

MoaError
├── UsageError                a user's mistake outside a file: a name, an option, a prompt
│   └── MissingExtraError     an optional dependency is absent; names the extra that brings it
├── SpecError                 mistakes in a YAML file or a graph, each with its position
├── BackendError              a model could not answer
│   ├── RateLimitedError          429; carries the server's delay
│   ├── BackendTimeoutError       no answer, or no next byte, in time
│   ├── ConnectionFailedError     refused, reset, or cut before the answer was whole
│   ├── ServerFailedError         5xx, or an error inside a 200
│   ├── InvalidReplyError         an answer that breaks the protocol (not UTF-8, not JSON, no choices)
│   ├── BadRequestError           4xx that another attempt cannot mend
│   │   ├── AuthenticationError       401 or 403; says which variable holds the key
│   │   ├── ModelNotFoundError        the server does not have that model
│   │   └── ContextOverflowError      the prompt does not fit the model's window
│   ├── EngineDeadError           an engine in this process died, and again after a restart
│   ├── ContentFilteredError      refused by the provider's filter
│   └── EmptyReplyError           an answer without text
├── QuorumError               too few of a node's inputs answered
├── BudgetExceededError       the run's tokens or dollars are spent
├── DeadlineExceededError     the run's own time limit passed
└── StoreError                the store cannot be read, written or migrated
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class MoaError(Exception):
    """Base of all errors that `moa` raises on purpose."""

    exit_code = 1


class UsageError(MoaError):
    """A mistake in how `moa` was called; the message says what to do instead."""

    exit_code = 2


class MissingExtraError(UsageError):
    """An optional dependency is not installed."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(
            f"{feature} needs the extra `{extra}`: pip install '.[{extra}]' where moa was installed from"
        )
        self.extra = extra


class Problem(NamedTuple):
    """One mistake in a specification: where it is and what to do about it.

    `line` and `column` count from 1; 0 means that the specification did not come from a file.
    """

    message: str
    source: str = ""
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        place = f"{self.source}:{self.line}:{self.column}" if self.line else self.source
        return f"{place}: {self.message}" if place else self.message


class SpecError(MoaError):
    """Mistakes in a specification, all of them at once."""

    exit_code = 2

    def __init__(self, problems: Sequence[Problem] | str) -> None:
        self.problems = [Problem(problems)] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class BackendError(MoaError):
    """A model could not answer.

    `retryable` says whether the same request may succeed later; `retry_after` is the server's own
    wish in seconds, where it gave one; `status` is the HTTP status, where there was one.
    """

    retryable = False

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        retry_after: float | None = None,
        retryable: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after
        if retryable is not None:
            self.retryable = retryable


class RateLimitedError(BackendError):
    """The server asked to slow down (429)."""

    retryable = True


class BackendTimeoutError(BackendError):
    """No answer, or no next byte, within the time limit."""

    retryable = True


class ConnectionFailedError(BackendError):
    """The connection was refused, reset, or cut before the answer was whole."""

    retryable = True


class ServerFailedError(BackendError):
    """The server failed (5xx, or an error object inside a 200)."""

    retryable = True


class InvalidReplyError(BackendError):
    """The reply breaks the protocol: not UTF-8, not JSON, cut short, or without choices."""

    retryable = True


class BadRequestError(BackendError):
    """The server refused the request, and would refuse it again."""


class AuthenticationError(BadRequestError):
    """The key is missing, wrong, or not allowed to use this model."""


class ModelNotFoundError(BadRequestError):
    """The server does not have the model that was asked for."""


class ContextOverflowError(BadRequestError):
    """The prompt and the reply do not fit the model's context window.

    `limit` is the window in tokens, where the server said it.
    """

    def __init__(self, message: str, *, status: int | None = None, limit: int | None = None) -> None:
        super().__init__(message, status=status)
        self.limit = limit


class EngineDeadError(BackendError):
    """An engine in this process died, and again after it was started anew; what it answered is stored."""


class ContentFilteredError(BackendError):
    """The provider's content filter refused to answer."""


class EmptyReplyError(BackendError):
    """The model answered without any text."""


class QuorumError(MoaError):
    """Too few of a node's inputs gave a usable response."""


class BudgetExceededError(MoaError):
    """The run's budget of tokens or dollars is spent."""


class DeadlineExceededError(MoaError):
    """The run did not finish within its own time limit."""


class StoreError(MoaError):
    """The store cannot be read, written or migrated."""
