"""What a run gives back: the answer, what every node said, what it cost, and what went wrong."""

from __future__ import annotations

from dataclasses import field
from typing import Any

from moa.backends.base import Usage
from moa.errors import MoaError
from moa.nodes.response import Response
from moa.run.events import State
from moa.values import value

NOTHING = Usage()
USABLE: frozenset[State] = frozenset({"ok", "truncated", "unparsed"})
"""States whose responses go on to the next node."""


@value(frozen=True, slots=True)
class NodeResult:
    """What became of one node.

    `usage` is what the node's own requests cost; `latency` is in seconds from its inputs being there;
    `cached` says that nothing was sent for it; `references` are the nodes that it really heard.
    """

    id: str
    agent: str | None
    model: str | None
    state: State
    responses: tuple[Response, ...] = ()
    usage: Usage = NOTHING
    cost: float | None = 0.0
    """US dollars spent now (a stored answer costs nothing); None where the price is unknown."""
    latency: float = 0.0
    cached: bool = False
    references: tuple[str, ...] = ()
    finish_reason: str | None = None
    reasoning: str | None = None
    tool_calls: Any = None
    logprobs: Any = None
    error: MoaError | None = None
    calls: int = 0
    """Requests that the node rests on, stored ones included."""
    worth: float | None = 0.0
    """US dollars that they cost where nothing is stored; None where the price is unknown."""
    took: float = 0.0
    """Seconds that they took when they were sent, one after another."""

    @property
    def text(self) -> str:
        """The first response's text; empty only where the node has none (see `state`)."""
        return self.responses[0].text if self.responses else ""

    @property
    def chosen(self) -> tuple[str, ...]:
        """Of a selector, the nodes whose responses it hands on."""
        return tuple(response.node for response in self.responses if response.node != self.id)

    @property
    def usable(self) -> bool:
        """Whether the node's responses go on."""
        return self.state in USABLE

    def to_json(self) -> dict[str, Any]:
        """A plain JSON object."""
        return {
            "id": self.id,
            "agent": self.agent,
            "model": self.model,
            "state": self.state,
            "text": self.text,
            "usage": usage_json(self.usage),
            "cost": self.cost,
            "latency": round(self.latency, 6),
            "cached": self.cached,
            "references": list(self.references),
            **({"chosen": list(self.chosen)} if self.chosen else {}),
            "finish_reason": self.finish_reason,
            **({"reasoning": self.reasoning} if self.reasoning else {}),
            **({"tool_calls": self.tool_calls} if self.tool_calls else {}),
            **({"responses": [r.text for r in self.responses]} if len(self.responses) > 1 else {}),
            **({"error": f"{type(self.error).__name__}: {self.error}"} if self.error else {}),
        }


@value(frozen=True, slots=True)
class Reply:
    """The outcome of one question.

    Where the run failed, `error` says how and `text` raises it, so a failure is never read as an answer.
    """

    graph: str
    answer: NodeResult | None
    nodes: tuple[NodeResult, ...]
    """Every node of the plan, in its order."""
    warnings: tuple[str, ...] = ()
    error: MoaError | None = None
    latency: float = 0.0
    """Seconds from the question to the answer."""
    fingerprint: str = field(default="", repr=False)

    @property
    def ok(self) -> bool:
        """Whether there is an answer."""
        return self.error is None

    @property
    def text(self) -> str:
        """The answer; raises the run's error if there is none."""
        if self.error is not None or self.answer is None:
            raise self.error or MoaError("the run has no answer")
        return self.answer.text

    @property
    def usage(self) -> Usage:
        """Tokens of all nodes together, those of reused answers included."""
        return sum((node.usage for node in self.nodes), Usage())

    @property
    def cost(self) -> float | None:
        """US dollars spent on this question; None where a price is unknown, never a wrong zero."""
        costs = [node.cost for node in self.nodes]
        return (
            None if any(cost is None for cost in costs) else sum(cost for cost in costs if cost is not None)
        )

    def node(self, node_id: str) -> NodeResult:
        """The result of one node, such as `drafts[2]`; raises `KeyError` for an unknown id."""
        for node in self.nodes:
            if node.id == node_id:
                return node
        raise KeyError(node_id)

    def to_json(self) -> dict[str, Any]:
        """A plain JSON object: `answer`, `usage`, `cost`, `nodes`, `warnings`, and `error` where there is one."""
        return {
            "answer": self.text if self.ok else None,
            "graph": self.graph,
            "usage": usage_json(self.usage),
            "cost": self.cost,
            "latency": round(self.latency, 6),
            "nodes": [node.to_json() for node in self.nodes],
            "warnings": list(self.warnings),
            **({"error": f"{type(self.error).__name__}: {self.error}"} if self.error else {}),
        }


def usage_json(usage: Usage) -> dict[str, Any]:
    """Token counts under the OpenAI API's names."""
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "cached_tokens": usage.cached_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
        "estimated": usage.estimated,
    }
