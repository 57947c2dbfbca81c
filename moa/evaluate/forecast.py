"""What an evaluation will cost, before anybody is asked: answers, shared drafts counted once, and verdicts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from moa.evaluate.entrants import Contender
from moa.evaluate.judges import Judge
from moa.evaluate.records import Item
from moa.graph.estimate import Lookup, Measurement, NodeEstimate, estimate
from moa.graph.plan import Plan
from moa.run.tokens import estimate_tokens

REPLY = 400
"""Tokens that a reply is expected to have, as in `moa plan`."""
FRAME = 250
"""Tokens of a judge's instructions."""
VERDICT = 200
"""Tokens that a judge writes where nothing bounds it."""


class Amounts(NamedTuple):
    """What is expected of many questions together; `usd` is None where a price is unknown."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    usd: float | None = 0.0

    def plus(self, other: Amounts) -> Amounts:
        """Both together."""
        unknown = self.usd is None or other.usd is None
        return Amounts(
            self.calls + other.calls,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            None if unknown else (self.usd or 0.0) + (other.usd or 0.0),
        )


class Forecast(NamedTuple):
    """What each entrant takes alone, what they share, and what the judge takes."""

    items: int
    turns: int
    entrants: dict[str, Amounts]
    shared: Amounts
    """What is asked for by several entrants and paid for once."""
    judge: Amounts
    judge_name: str

    @property
    def total(self) -> Amounts:
        """Everything, at most: stored answers are not counted."""
        whole = self.judge
        for amounts in self.entrants.values():
            whole = whole.plus(amounts)
        usd = None if whole.usd is None or self.shared.usd is None else whole.usd - self.shared.usd
        return Amounts(
            whole.calls - self.shared.calls,
            whole.input_tokens - self.shared.input_tokens,
            whole.output_tokens - self.shared.output_tokens,
            usd,
        )


def forecast(
    items: Iterable[Item],
    contenders: Sequence[Contender],
    judge: Judge | None,
    baseline: str | None,
    lookup: Lookup,
) -> Forecast:
    """Estimate a whole evaluation at four characters a token and 400 tokens a reply."""
    size = _measure(items, judge)
    plans = {contender.name: contender.plan for contender in contenders}
    entrants: dict[str, Amounts] = {}
    shared = Amounts()
    seen: set[str] = set()
    for name, plan in plans.items():
        entrants[name] = Amounts()
        for signature, amounts in _nodes(plan, lookup, size):
            entrants[name] = entrants[name].plus(amounts)
            if signature in seen:
                shared = shared.plus(amounts)
            seen.add(signature)
    judged = sum(name != baseline or not getattr(judge, "needs_baseline", False) for name in plans)
    verdicts = _verdicts(judge, size, judged, lookup) if judge is not None else Amounts()
    return Forecast(size.items, size.turns, entrants, shared, verdicts, judge.name if judge else "")


class _Size(NamedTuple):
    """The questions: how many, of how many turns and tokens; and requests of the judge for one entrant."""

    items: int
    turns: int
    tokens: int
    verdicts: int


def _measure(items: Iterable[Item], judge: Judge | None) -> _Size:
    count = turns = tokens = verdicts = 0
    for item in items:
        count += 1
        turns += len(item.turns)
        before = sum(estimate_tokens((message,)) for message in item.history)
        for number, turn in enumerate(item.turns):
            # A later turn repeats the earlier ones and the answers to them.
            before += estimate_tokens(({"role": "user", "content": turn},))
            tokens += before + number * REPLY
        verdicts += judge.calls(item) if judge is not None else 0
    return _Size(count, turns, tokens, verdicts)


def _nodes(plan: Plan, lookup: Lookup, size: _Size) -> Iterator[tuple[str, Amounts]]:
    """What each node takes for all questions, and what it is known by to the store."""
    prompt = max(1, size.tokens // max(1, size.turns))
    found = estimate(plan, lookup, output_tokens=REPLY, prompt_tokens=prompt)
    signatures = _signatures(plan)
    for node in found.nodes:
        if node.calls or node.measurements:
            yield signatures[node.id], _times(node, size.turns)


def _times(node: NodeEstimate, times: int) -> Amounts:
    """What a node and its measurements take; calls are those for words."""
    found = Amounts()
    parts: list[tuple[int, NodeEstimate | Measurement]] = [(node.calls, node)]
    parts += [(0, one) for one in node.measurements]
    for calls, part in parts:
        usd = part.usd.expected
        found = found.plus(
            Amounts(
                calls * times,
                round((part.prompt_tokens.expected or 0) * times),
                round((part.output_tokens.expected or 0) * times),
                None if usd is None else usd * times,
            )
        )
    return found


def _signatures(plan: Plan) -> dict[str, str]:
    """Equal for nodes, of any plan, that ask the same of the same model after having heard the same."""
    found: dict[str, str] = {}
    for node in plan.nodes:
        agent = node.agent.model_dump(mode="json", include={"system", "user"}) if node.agent else None
        content: list[Any] = [
            agent,
            node.select.model_dump(mode="json") if node.select else None,
            node.model,
            node.sampling.model_dump(mode="json", exclude_none=True),
            sorted(node.vars.items()),
            node.sample,
            [[edge.role, found[edge.node]] for edge in node.inputs],
        ]
        found[node.id] = json.dumps(content, sort_keys=True, default=str)
    return found


def _verdicts(judge: Judge, size: _Size, entrants: int, lookup: Lookup) -> Amounts:
    """What the judge takes: each request shows the question and one or two answers."""
    calls = size.verdicts * entrants
    if not calls:
        return Amounts()
    answers = 2 if judge.needs_baseline else 1
    prompt = FRAME + size.tokens // max(1, size.items) + answers * REPLY
    panel = getattr(judge, "panel", None)
    agents = [node for node in panel.plan.nodes if node.model is not None] if panel is not None else []
    output = max((node.sampling.max_tokens or VERDICT for node in agents), default=VERDICT)
    output = min(output, VERDICT)
    prices = [lookup(node.model).known_price for node in agents if node.model]
    known = [price.of(prompt, output) for price in prices if price is not None]
    usd = None if len(known) < len(prices) else calls * sum(known) / max(1, len(known))
    return Amounts(calls, calls * prompt, calls * output, usd if agents else None)
