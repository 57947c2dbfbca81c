"""The trace of a run as a tree: the answer, whom it heard, and whom those heard."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moa.graph.plan import Plan
from moa.run.reply import NodeResult, Reply

if TYPE_CHECKING:
    from rich.text import Text
    from rich.tree import Tree

SHORT = 160
"""Characters of a text that the trace shows."""
_COLOURS = {"ok": "green", "truncated": "yellow", "unparsed": "yellow", "cancelled": "dim", "skipped": "dim"}


def print_trace(plan: Plan, reply: Reply, question: str) -> None:
    """Draw the tree on standard error."""
    from rich.console import Console

    console = Console(stderr=True)
    console.print(trace_tree(plan, reply, question))


def trace_tree(plan: Plan, reply: Reply, question: str) -> Tree:
    """The tree; a node that several others heard is drawn once and mentioned afterwards."""
    from rich.text import Text
    from rich.tree import Tree

    root = Tree(Text.assemble((plan.name, "bold"), "  ", (shorten(question), "italic")))
    results = {node.id: node for node in reply.nodes}
    _grow(root, plan, results, plan.answer, set())
    return root


def _grow(parent: Tree, plan: Plan, results: dict[str, NodeResult], node_id: str, drawn: set[str]) -> None:
    from rich.text import Text

    result = results[node_id]
    if node_id in drawn:
        parent.add(Text.assemble((node_id, "bold"), ("  shown above", "dim")))
        return
    drawn.add(node_id)
    branch = parent.add(_label(result))
    for source in plan.by_id[node_id].sources:
        _grow(branch, plan, results, source, drawn)


def _label(result: NodeResult) -> Text:
    from rich.text import Text

    facts = [
        part
        for part in (
            result.agent,
            result.model,
            f"{result.latency:.2f} s" if result.latency else None,
            f"{result.usage.input_tokens}+{result.usage.output_tokens} tokens"
            if result.usage.total_tokens
            else None,
            "from the store" if result.cached else None,
        )
        if part
    ]
    colour = _COLOURS.get(result.state, "red")
    label = Text.assemble((result.id, "bold"), " ", (result.state, colour), "  ", (" · ".join(facts), "dim"))
    said = shorten(str(result.error)) if result.error else shorten(result.text)
    if said:
        label.append(f"\n{said}", style="red" if result.error else "")
    return label


def shorten(text: str, limit: int = SHORT) -> str:
    """One line of text, with an ellipsis where it was cut."""
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else flat[: limit - 1].rstrip() + "…"
