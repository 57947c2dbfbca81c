"""What a question will cost, before it is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from moa.graph.measured import Kind, Measured
from moa.graph.plan import Plan, PlanNode
from moa.graph.prefix import Prefixes, prefixes
from moa.graph.size import filler
from moa.graph.traffic import Passage, longest_reply, pass_through
from moa.spec.model import ModelSpec

Lookup = Callable[[str], ModelSpec]


class Amount(NamedTuple):
    """What is expected and what is possible at most; None where it is not known."""

    expected: float | None
    most: float | None


@dataclass(frozen=True, slots=True)
class Measurement:
    """The calls by which a selector asks one model for numbers: vectors, scores, or probabilities of texts."""

    kind: Kind
    model: str
    calls: int
    """One for each different text, of which several may travel as one request; fewer where texts are equal."""
    prompt_tokens: Amount
    output_tokens: Amount
    usd: Amount


@dataclass(frozen=True, slots=True)
class NodeEstimate:
    """The calls of one concrete node for one question. `usd` is None where the model's price is unknown."""

    id: str
    group: str
    asks: str
    """The agent, or the selector and its agent."""
    model: str | None
    calls: int
    prompt_tokens: Amount
    output_tokens: Amount
    usd: Amount
    measurements: tuple[Measurement, ...] = ()
    """What its selector asks besides; the node's own numbers are without it."""


class Shared(NamedTuple):
    """Equal samples that are one request with `n` choices where the server takes that."""

    nodes: tuple[str, ...]
    saved_prompt_tokens: int


class CriticalPath(NamedTuple):
    """The chain of nodes that takes longest: their ids, calls one after another, and tokens written in turn."""

    nodes: tuple[str, ...]
    calls: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Estimate:
    """Calls, tokens and money of one question, node by node and together."""

    graph: str
    answer: str
    nodes: tuple[NodeEstimate, ...]
    calls: int
    """Requests for words; tokens and money are of the measurements too."""
    measurements: Mapping[Kind, int]
    """Requests for numbers, by their kind."""
    prompt_tokens: Amount
    output_tokens: Amount
    usd: Amount
    unpriced: tuple[str, ...]
    """Models whose price is unknown; with any, `usd` is None."""
    shared: tuple[Shared, ...]
    prefixes: Prefixes
    critical_path: CriticalPath


def estimate(
    plan: Plan,
    lookup: Lookup,
    *,
    output_tokens: int = 400,
    prompt_tokens: int = 100,
    prompt: str | None = None,
) -> Estimate:
    """Estimate one question without asking anybody.

    Args:
        plan: A compiled graph.
        lookup: The model that a bound name means.
        output_tokens: Expected length of a reply, in tokens.
        prompt_tokens: Length of the question, in tokens, where `prompt` does not give the question itself.
        prompt: The question.
    """
    models = {name: lookup(name) for name in (*plan.models, *_measuring(plan))}
    question = prompt if prompt is not None else filler(prompt_tokens)
    expected = pass_through(plan, question, partial(_expected_reply, models, output_tokens))
    most = pass_through(plan, question, partial(_longest, models))
    bounded = _bounded(plan, models)
    nodes = tuple(
        _estimate_node(node, models, expected[node.id], most[node.id] if bounded[node.id] else None)
        for node in plan.nodes
    )
    parts: list[NodeEstimate | Measurement] = [*nodes, *(one for node in nodes for one in node.measurements)]
    asked = {name: model for name, model in models.items() if _price(model, 0, 0) is None}
    return Estimate(
        graph=plan.name,
        answer=plan.answer,
        nodes=nodes,
        calls=sum(node.calls for node in nodes),
        measurements=_counted(nodes),
        prompt_tokens=_total(part.prompt_tokens for part in parts),
        output_tokens=_total(part.output_tokens for part in parts),
        usd=_total(part.usd for part in parts),
        unpriced=tuple(asked),
        shared=_shared(plan, expected),
        prefixes=prefixes(plan, question, expected),
        critical_path=_critical_path(plan, expected),
    )


def _expected_reply(models: Mapping[str, ModelSpec], output_tokens: int, node: PlanNode, prompt: int) -> int:
    longest = longest_reply(node, models[node.model]) if node.model else None
    return min(output_tokens, longest) if longest is not None else output_tokens


def _longest(models: Mapping[str, ModelSpec], node: PlanNode, prompt: int) -> int:
    """The longest reply; where nothing limits it the number is not used (see `_bounded`)."""
    return (longest_reply(node, models[node.model]) if node.model else None) or 1


def _bounded(plan: Plan, models: Mapping[str, ModelSpec]) -> dict[str, bool]:
    """Whether something limits what a node reads and writes."""
    bounded: dict[str, bool] = {}
    for node in plan.nodes:
        limited = node.model is None or longest_reply(node, models[node.model]) is not None
        bounded[node.id] = limited and all(bounded[source] for source in node.sources)
    return bounded


def _estimate_node(
    node: PlanNode, models: Mapping[str, ModelSpec], expected: Passage, most: Passage | None
) -> NodeEstimate:
    model = models[node.model] if node.model else None
    prompt, output = _tokens(expected, model), expected.calls * expected.reply
    prompt_most = _tokens(most, model) if most else None
    output_most = most.calls * most.reply if most else None
    at_most = most.measured if most else (None,) * len(expected.measured)
    usd = Amount(
        _price(model, prompt, output),
        _price(model, prompt_most, output_most)
        if prompt_most is not None and output_most is not None
        else None
        if expected.calls
        else 0.0,
    )
    return NodeEstimate(
        id=node.id,
        group=node.group,
        asks=asks(node),
        model=node.model,
        calls=expected.calls,
        prompt_tokens=Amount(prompt, prompt_most),
        output_tokens=Amount(output, output_most),
        usd=usd,
        measurements=tuple(
            _measurement(models[one.model], one, other)
            for one, other in zip(expected.measured, at_most, strict=True)
        ),
    )


def _measurement(model: ModelSpec, expected: Measured, most: Measured | None) -> Measurement:
    return Measurement(
        kind=expected.kind,
        model=expected.model,
        calls=expected.calls,
        prompt_tokens=Amount(expected.prompt_tokens, most and most.prompt_tokens),
        output_tokens=Amount(expected.output_tokens, expected.output_tokens),
        usd=Amount(
            _price(model, expected.prompt_tokens, expected.output_tokens),
            _price(model, most.prompt_tokens, most.output_tokens) if most else None,
        ),
    )


def _measuring(plan: Plan) -> tuple[str, ...]:
    """Names of the models that the plan's selectors ask themselves, in order of first use."""
    passages = pass_through(plan, "", lambda node, prompt: 1)
    return tuple(dict.fromkeys(one.model for passage in passages.values() for one in passage.measured))


def _counted(nodes: Iterable[NodeEstimate]) -> dict[Kind, int]:
    counted: dict[Kind, int] = {}
    for node in nodes:
        for one in node.measurements:
            counted[one.kind] = counted.get(one.kind, 0) + one.calls
    return counted


def asks(node: PlanNode) -> str:
    """What a node is, in words: its agent, its selector, or the selector and the agent that it asks."""
    agent = (node.agent.name or "agent") if node.agent else ""
    return (
        f"{node.select.name} by {agent}"
        if node.select and agent
        else node.select.name
        if node.select
        else agent
    )


def _tokens(passage: Passage, model: ModelSpec | None) -> int:
    """Prompt tokens of a node's calls; no prompt is longer than the window."""
    if model is None or model.context is None:
        return passage.prompts
    return min(passage.prompts, passage.calls * model.context)


def _price(model: ModelSpec | None, prompt: int, output: int) -> float | None:
    if model is None:
        return 0.0
    price = model.known_price
    return None if price is None else price.of(prompt, output)


def _total(amounts: Iterable[Amount]) -> Amount:
    listed = list(amounts)
    return Amount(_sum(one.expected for one in listed), _sum(one.most for one in listed))


def _sum(values: Iterable[float | None]) -> float | None:
    listed = list(values)
    return (
        None
        if any(value is None for value in listed)
        else sum(value for value in listed if value is not None)
    )


def _shared(plan: Plan, expected: Mapping[str, Passage]) -> tuple[Shared, ...]:
    """Plain agent nodes whose requests differ only in the sample."""
    equal: dict[str, list[str]] = {}
    for node in plan.nodes:
        if node.agent is not None and node.select is None:
            equal.setdefault(_request(node), []).append(node.id)
    return tuple(
        Shared(tuple(ids), sum(expected[id].prompts for id in ids[1:]))
        for ids in equal.values()
        if len(ids) > 1
    )


def _request(node: PlanNode) -> str:
    agent = node.agent.model_dump_json(include={"system", "user"}) if node.agent else ""
    return repr((agent, node.model, node.inputs, sorted(node.vars.items()), node.sampling.model_dump_json()))


def _critical_path(plan: Plan, expected: Mapping[str, Passage]) -> CriticalPath:
    """The longest chain by tokens written one after another, then by calls."""
    length: dict[str, tuple[int, int]] = {}
    before: dict[str, str | None] = {}
    for node in plan.nodes:
        before[node.id] = max(node.sources, key=length.__getitem__, default=None)
        tokens, calls = length[last] if (last := before[node.id]) is not None else (0, 0)
        own = expected[node.id]
        called = min(own.calls, 1)
        length[node.id] = (tokens + called * own.reply, calls + called)
    path = [plan.answer]
    while (last := before[path[-1]]) is not None:
        path.append(last)
    tokens, calls = length[plan.answer]
    return CriticalPath(tuple(reversed(path)), calls, tokens)
