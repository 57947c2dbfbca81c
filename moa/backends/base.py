"""The seam between the engine and everything that can answer: one method and `aclose`.

A backend is asked for `n` samples of one conversation and returns them whole. Where the caller wants
to watch, it passes `emit`, and the backend calls it with each piece of text as it arrives. Retry,
limits and the store are wrappers with the same shape (`WrapperBackend`), so a test can put any of
them around a backend of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any, Literal, Protocol, runtime_checkable

from pydantic import JsonValue

from moa.errors import BackendError
from moa.values import value

Message = dict[str, Any]
"""A chat message in the OpenAI API's shape: `role`, `content`, and what else the API knows."""


class Prompt(tuple[Message, ...]):
    """The messages of a request; those who hear the same share one, and write it down once."""

    encoded: bytes | None = None
    """The messages as a backend sends them, from the first request on."""


LABELS = "label_tokens"
"""A request's parameter that names the labels whose probabilities matter; it is no field of the API's."""
ScoredBy = Literal["classify", "pooling", "score", "rerank"]
"""The part of a server's API that says how good an answer is (moa.backends.scoring)."""


@value(frozen=True, slots=True)
class Delta:
    """A piece of a reply as it arrives: which of the `n` samples it belongs to, and the text.

    `restart` says that the connection was lost and that this sample begins anew.
    """

    index: int
    text: str
    restart: bool = False
    reasoning: str = ""


Emit = Callable[[Delta], None]


def from_afar(emit: Emit) -> Emit:
    """The same listener for another thread: it hears in the loop that runs here, in order."""
    loop = asyncio.get_running_loop()

    def told(delta: Delta) -> None:
        loop.call_soon_threadsafe(emit, delta)

    return told


class Trip:
    """What becomes of a request on its way through the wrappers.

    `queued` are the seconds that it waited for its turn; `retried` is called before each wait for another
    attempt, with the attempt that failed, the delay in seconds, and the error.
    """

    __slots__ = ("queued", "retried")

    def __init__(self, retried: Callable[[int, float, BackendError], None] | None = None) -> None:
        self.queued = 0.0
        self.retried = retried


@value(frozen=True, slots=True)
class Request:
    """One question to a model: `n` independent samples of one conversation.

    `seed` belongs to the first sample; sample `i` is drawn with `seed + i`, whether it is asked for
    alone or together with others. `params` are request-body fields in the OpenAI API's terms.
    `priority` is the distance to the sink: lower is more urgent.
    """

    messages: tuple[Message, ...]
    params: Mapping[str, Any] = field(default_factory=dict)
    n: int = 1
    seed: int | None = None
    priority: int = 0
    timeout: float | None = None
    """Seconds for the whole reply; None leaves it to the backend."""
    trip: Trip | None = field(default=None, compare=False, repr=False)


@value(frozen=True, slots=True)
class Usage:
    """Tokens, as the server counted them; `estimated` where it did not and we did."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_tokens + other.cached_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
            self.estimated or other.estimated,
        )

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens


@value(frozen=True, slots=True)
class Choice:
    """One sample of a reply.

    `finish_reason` is the API's: `stop`, `length`, `tool_calls`, `content_filter`. `usage` sums over the
    choices of a completion to what the server billed: the prompt counts on the first choice only.
    """

    text: str
    finish_reason: str | None = None
    reasoning: str | None = None
    logprobs: JsonValue = None
    tool_calls: JsonValue = None
    usage: Usage = Usage()


@value(frozen=True, slots=True)
class Completion:
    """The samples that a backend returned, in the order of their seeds; never fewer than asked for."""

    choices: tuple[Choice, ...]
    model: str = ""
    """The model that the server says answered."""
    id: str | None = None

    @property
    def usage(self) -> Usage:
        """Tokens of all choices together."""
        return sum((choice.usage for choice in self.choices), Usage())


@runtime_checkable
class Backend(Protocol):
    """Something that answers chat requests."""

    async def complete(self, request: Request, emit: Emit | None = None) -> Completion:
        """Ask for `request.n` samples; raises a `BackendError` with a one-line message.

        Cancelling the task must stop the work, on the server too where the protocol has a way.
        """
        ...

    async def aclose(self) -> None:
        """Release connections and processes; the backend is not used afterwards."""
        ...


class WrapperBackend:
    """A backend round another; does nothing on its own, used as a base class."""

    def __init__(self, inner: Backend) -> None:
        self.inner = inner

    async def complete(self, request: Request, emit: Emit | None = None) -> Completion:
        """Ask the inner backend."""
        return await self.inner.complete(request, emit)

    async def aclose(self) -> None:
        """Close the inner backend."""
        await self.inner.aclose()


class TokenCounter(Protocol):
    """A backend that can count tokens as its model does."""

    async def count_tokens(self, messages: tuple[Message, ...]) -> int:
        """Tokens of the prompt that these messages make, chat template included."""
        ...
