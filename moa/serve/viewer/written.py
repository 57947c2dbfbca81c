"""What happens to a question, as the page reads it."""

from __future__ import annotations

from typing import Any

from moa.run.events import (
    CallRetried,
    Event,
    NodeFinished,
    NodeStarted,
    PromptMade,
    TextArrived,
    Warned,
)
from moa.serve.viewer.run import shown_messages

Json = dict[str, Any]


def written(event: Event, at: float, *, detailed: bool) -> Json | None:
    """The event with its `type`, `at` seconds after the question came; None for what the page does not show."""
    match event:
        case NodeStarted():
            return {"type": "started", "node": event.node, "at": at}
        case PromptMade():
            return {"type": "prompt", "nodes": event.nodes, "messages": shown_messages(event.messages)}
        case CallRetried():
            error = event.error if detailed else "a request failed"
            return {"type": "retried", "nodes": event.nodes, "attempt": event.attempt, "error": error}
        case TextArrived():
            return {
                "type": "text",
                "node": event.node,
                "text": event.text,
                "restart": event.restart,
                "reasoning": event.reasoning,
            }
        case NodeFinished():
            return {
                "type": "finished",
                "node": event.node,
                "state": event.state,
                "text": event.text,
                "cached": event.cached,
                "sent": event.usage.input_tokens,
                "received": event.usage.output_tokens,
                "at": at,
            }
        case Warned() if detailed:
            return {"type": "warned", "node": event.node, "message": event.message}
    return None
