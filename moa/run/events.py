"""The one stream of events that progress displays, traces and telemetry read.

Events are small frozen values; a listener is a plain function and must not block. Nothing is built
when nobody listens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from moa.backends.base import Message, Usage
from moa.values import value

State = Literal["ok", "truncated", "empty", "unparsed", "failed", "cancelled", "skipped"]
"""`truncated` and `unparsed` replies still count as references; the last four and `empty` do not."""


@value(frozen=True, slots=True)
class RunStarted:
    """A question entered the graph. `run` numbers the questions of a runner."""

    run: int
    graph: str
    nodes: tuple[str, ...]
    time: float


@value(frozen=True, slots=True)
class NodeStarted:
    """A node's inputs are there."""

    run: int
    node: str
    agent: str | None
    model: str | None
    time: float


@value(frozen=True, slots=True)
class PromptMade:
    """What these nodes' model is asked, after it was made to fit; stored replies have one too."""

    run: int
    nodes: tuple[str, ...]
    messages: tuple[Message, ...]


@value(frozen=True, slots=True)
class CallStarted:
    """A request is about to be sent for these nodes (several when equal samples share it)."""

    run: int
    nodes: tuple[str, ...]
    model: str
    time: float


@value(frozen=True, slots=True)
class CallFinished:
    """A request ended; `error` names what went wrong."""

    run: int
    nodes: tuple[str, ...]
    model: str
    usage: Usage
    time: float
    error: str | None = None


@value(frozen=True, slots=True)
class CallRetried:
    """A request failed and will be sent again after `delay` seconds."""

    run: int
    nodes: tuple[str, ...]
    model: str
    attempt: int
    delay: float
    error: str
    time: float


@value(frozen=True, slots=True)
class TextArrived:
    """A piece of a node's text, while it streams; `restart` voids what came before."""

    run: int
    node: str
    text: str
    restart: bool = False
    reasoning: str = ""


@value(frozen=True, slots=True)
class NodeFinished:
    """A node has its responses, or never will."""

    run: int
    node: str
    state: State
    text: str
    cached: bool
    usage: Usage
    time: float
    error: str | None = None


@value(frozen=True, slots=True)
class Warned:
    """Something the user should know; `node` is empty for the run as a whole."""

    run: int
    node: str
    message: str


@value(frozen=True, slots=True)
class RunFinished:
    """The question is answered, or failed with `error`."""

    run: int
    graph: str
    time: float
    error: str | None = None


Event = (
    RunStarted
    | NodeStarted
    | PromptMade
    | CallStarted
    | CallFinished
    | CallRetried
    | TextArrived
    | NodeFinished
    | Warned
    | RunFinished
)
Listener = Callable[[Event], None]
