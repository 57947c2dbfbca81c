"""A run as the page reads it, wherever it comes from: live, from a store, from an experiment."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from moa.errors import MoaError
from moa.run.reply import NodeResult, Reply
from moa.serve.refusal import refusal_of

Json = dict[str, Any]


def finished(reply: Reply, *, detailed: bool = True) -> Json:
    """What became of a question; without `detailed` nothing that names the servers behind."""
    return {
        "graph": reply.graph,
        "answer": reply.text if reply.ok else None,
        "error": failure(reply.error, detailed=detailed),
        "latency": round(reply.latency, 4),
        "cost": reply.cost,
        "sent": reply.usage.input_tokens,
        "received": reply.usage.output_tokens,
        "warnings": list(reply.warnings) if detailed else [],
        "nodes": [_node(result, detailed=detailed) for result in reply.nodes],
    }


def failure(error: MoaError | None, *, detailed: bool) -> str | None:
    """What went wrong, in one line."""
    if error is None:
        return None
    return f"{type(error).__name__}: {error}" if detailed else refusal_of(error, detailed=False).message


def _node(result: NodeResult, *, detailed: bool) -> Json:
    usage = result.usage
    return {
        "id": result.id,
        "agent": result.agent,
        "model": result.model,
        "state": result.state,
        "text": result.text,
        "reasoning": result.reasoning,
        "cached": result.cached,
        "sent": usage.input_tokens,
        "received": usage.output_tokens,
        "estimated": usage.estimated,
        "cost": result.cost,
        "latency": round(result.latency, 4),
        "heard": list(result.references),
        "chosen": list(result.chosen),
        "finish": result.finish_reason,
        "calls": tool_calls_text(result.tool_calls),
        "error": failure(result.error, detailed=detailed),
    }


def tool_calls_text(calls: Any) -> str | None:
    """Tool calls to look at."""
    return json.dumps(calls, indent=1, ensure_ascii=False, default=str) if calls else None


def shown_messages(messages: Iterable[Mapping[str, Any]]) -> list[Json]:
    """Messages as text; of a part that is not text, its kind alone."""
    return [
        {"role": str(message.get("role", "")), "text": text_of(message.get("content"))}
        for message in messages
    ]


def text_of(content: Any) -> str:
    """The text of a message's content."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(_part(part) for part in content)
    return "" if content is None else json.dumps(content, ensure_ascii=False, default=str)


def _part(part: Any) -> str:
    if isinstance(part, Mapping) and isinstance(part.get("text"), str):
        return str(part["text"])
    kind = part.get("type", "part") if isinstance(part, Mapping) else "part"
    return f"[{kind}]"
