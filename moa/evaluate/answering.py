"""An entrant's answer to one item: each turn runs the whole graph over the conversation so far."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from moa.evaluate.deception.given import given_of
from moa.evaluate.entrants import Contender
from moa.evaluate.records import Answer, Item, Spent
from moa.run.execution import FATAL
from moa.run.reply import NodeResult, Reply
from moa.run.runner import Runner


async def ask(runner: Runner, contender: Contender, item: Item) -> Answer:
    """Ask every turn of an item; a failure of one is the failure of all.

    What is recorded follows from the replies alone and not from which of them were stored already, so that
    an answer that is put together again after a kill is the same. Raises what ends the whole run: a spent
    budget, a broken store, a user's mistake.
    """
    conversation: list[dict[str, Any]] = [*item.history]
    outputs: list[str] = []
    replies: list[Reply] = []
    given = given_of(item)
    for turn in item.turns:
        conversation.append({"role": "user", "content": turn})
        reply = await runner.attempt(contender.plan, tuple(conversation), reuse=True, given=given)
        if isinstance(reply.error, FATAL):
            raise reply.error
        replies.append(reply)
        if reply.error is not None:
            break
        outputs.append(reply.text)
        conversation.append({"role": "assistant", "content": reply.text})
    return _answer(item, contender.name, outputs, replies)


def _answer(item: Item, entrant: str, outputs: list[str], replies: list[Reply]) -> Answer:
    error = replies[-1].error
    return Answer(
        item=item.id,
        entrant=entrant,
        state="ok" if error is None else "failed",
        outputs=tuple(outputs) if error is None else (),
        error=f"{type(error).__name__}: {error}" if error else None,
        spent=sum((spent(node) for reply in replies for node in reply.nodes), Spent()),
        latency=round(sum(map(latency, replies)), 6),
        warnings=tuple(warning for turn, reply in enumerate(replies) for warning in _warnings(reply, turn)),
        nodes=tuple(_node(node, turn) for turn, reply in enumerate(replies) for node in reply.nodes),
    )


def spent(node: NodeResult) -> Spent:
    """What the calls of a node use where nothing is stored."""
    return Spent(
        calls=node.calls,
        input_tokens=node.usage.input_tokens,
        output_tokens=node.usage.output_tokens,
        cached_tokens=node.usage.cached_tokens,
        cost=node.worth,
    )


def latency(reply: Reply) -> float:
    """Seconds along the longest way to the answer, by what each call took when it was sent."""
    done: dict[str, float] = {}
    for node in reply.nodes:
        heard = max((done.get(source, 0.0) for source in node.references), default=0.0)
        done[node.id] = heard + (node.took if node.usable else node.latency)
    return done[reply.answer.id] if reply.answer is not None else max(done.values(), default=0.0)


def _warnings(reply: Reply, turn: int) -> Iterator[str]:
    """Warnings about nodes in the plan's order; what the runner tells only once is about no one item."""
    order = {node.id: number for number, node in enumerate(reply.nodes)}
    about = [(order[name], text) for text in reply.warnings if (name := text.partition(": ")[0]) in order]
    for _, text in sorted(about):
        yield f"turn {turn + 1}: {text}" if turn else text


def _node(node: NodeResult, turn: int) -> dict[str, Any]:
    """A node without what depends on which replies were stored already."""
    fields = node.to_json()
    del fields["cached"]
    took = node.took if node.usable else node.latency
    return fields | {"cost": node.worth, "latency": round(took, 6), "turn": turn}
