"""Whoever sits in judgment, as a graph: one agent, several samples of it, or a jury."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import JsonValue

from moa.compose import Graph
from moa.errors import ContentFilteredError, UsageError
from moa.evaluate.judges.base import VERSION, VerdictState
from moa.evaluate.judges.refusal import is_refusal
from moa.evaluate.records import Spent
from moa.graph.plan import Plan, PlanNode
from moa.nodes.preference import Preference
from moa.run.execution import FATAL
from moa.run.reply import NodeResult, Reply
from moa.run.runner import Runner
from moa.spec.catalogue import is_path, load_agent, load_graph
from moa.spec.evaluation import JudgeSpec

TEMPERATURE = 1.0
"""At which several samples of an agent are drawn that alone would answer greedily."""


class Ruling(NamedTuple):
    """What came of one question to the panel."""

    state: VerdictState
    value: Any
    """What was read: a number, or the text's; None unless `state` is `ok`."""
    text: str
    method: str | None
    grade: str | None
    """From the first candidate's side (`moa.nodes.preference`)."""
    details: Mapping[str, JsonValue]
    spent: Spent


class Panel:
    """Asks a compiled graph of judges, and sorts its replies into verdicts, refusals and failures.

    Args:
        plan: the graph with its models.
        runner: whose store, budget and limits hold.
        reads: what every judging agent must read, as in `reads` of an agent.
    """

    def __init__(self, plan: Plan, runner: Runner, reads: str) -> None:
        self.plan = plan
        self.runner = runner
        self.reads = reads
        _check(plan, reads)

    @property
    def name(self) -> str:
        """The models that judge."""
        return " + ".join(self.plan.models)

    @property
    def calls(self) -> int:
        """Requests that one question takes."""
        return sum(node.model is not None for node in self.plan.nodes)

    async def ask(self, question: str, given: Mapping[str, Any]) -> Ruling:
        """Put one question; raises what ends a whole run, such as a spent budget."""
        reuse = self.runner.reuse is not False
        reply = await self.runner.attempt(self.plan, question, reuse=reuse, given=given)
        if isinstance(reply.error, FATAL):
            raise reply.error
        return _ruling(self.plan, reply, self.reads)


def open_panel(
    spec: JudgeSpec,
    agent: str,
    runner: Runner,
    reads: str,
    *,
    model: str | None = None,
    near: Path | None = None,
) -> Panel:
    """The panel that a specification describes; `agent` sits alone where it names no graph.

    Raises `UsageError` or `SpecError` for agents and graphs that are not there or do not read verdicts.
    """
    graph = _from_catalogue(spec.graph, near) if spec.graph is not None else _of_one(spec, agent, near)
    if spec.models:
        graph.bind(spec.models)
    chosen = model or spec.model
    if ":" in chosen or chosen in runner.models:
        graph.bind(chosen)
    return Panel(graph.plan(runner.models), runner, reads)


def fingerprint(*parts: Any) -> str:
    """SHA-256 of what decides a judge's verdicts."""
    text = json.dumps([VERSION, *parts], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _from_catalogue(name: str, near: Path | None) -> Graph:
    if near is not None and is_path(name) and (near / name).is_file():
        name = str(near / name)
    located = load_graph(name)
    return Graph.from_spec(located.spec, near=located.folder)


def _of_one(spec: JudgeSpec, name: str, near: Path | None) -> Graph:
    agent = load_agent(name, near).spec
    graph = Graph(agent.name or "judge")
    if spec.samples == 1:
        graph.answer = graph.agent(agent, model="judge")
        return graph
    sampling = {"temperature": agent.sampling.temperature or TEMPERATURE}
    verdicts = graph.agent(agent, model="judge", samples=spec.samples, sampling=sampling, name="verdicts")
    graph.answer = graph.select("pool", inputs=verdicts)
    return graph


def _check(plan: Plan, reads: str) -> None:
    """Refuse a panel whose verdict could not be read, or that would not show what is to be judged."""
    for node in judging(plan):
        assert node.agent is not None
        if node.agent.reads != reads:
            raise UsageError(
                f"`{node.id}` of the judge {plan.name!r} reads a {node.agent.reads}, where a {reads} is wanted"
            )
        if node.agent.user is None:
            raise UsageError(
                f"the judging agent {node.agent.name!r} needs a `user` template that shows the answers"
            )


def judging(plan: Plan) -> list[PlanNode]:
    """The nodes whose values are the verdict: the answer, or those that the answer's selector hears."""
    answer = plan.by_id[plan.answer]
    if answer.agent is not None and answer.select is None:
        return [answer]
    heard = [plan.by_id[source] for source in answer.sources]
    return [node for node in heard if node.agent is not None and node.select is None]


def _ruling(plan: Plan, reply: Reply, reads: str) -> Ruling:
    spent = spent_on(reply)
    members = _members(plan, reply)
    details: dict[str, JsonValue] = {"members": members} if len(members) > 1 else {}
    if reply.error is not None or reply.answer is None:
        state: VerdictState = "refused" if isinstance(reply.error, ContentFilteredError) else "failed"
        return Ruling(state, None, "", None, None, details | {"error": str(reply.error)}, spent)
    answer = reply.answer
    value = answer.responses[0].value if answer.responses else None
    if reads == "text":
        value = answer.text
    if value is None:
        return Ruling(_unread(answer), None, answer.text, None, None, details, spent)
    method, grade = _how(plan, reply, value)
    if isinstance(value, Preference) and value.probabilities is not None:
        details["probabilities"] = list(value.probabilities)
    return Ruling("ok", value, answer.text, method, grade, details, spent)


def _unread(answer: NodeResult) -> VerdictState:
    refused = answer.finish_reason == "content_filter" or is_refusal(answer.text)
    return "refused" if refused else "unparsed"


def _how(plan: Plan, reply: Reply, value: Any) -> tuple[str | None, str | None]:
    """How a value was read, and the grade that it stands for; `pool` where members were read differently."""
    if isinstance(value, Preference):
        return value.method, value.grade
    found = [reply.node(node.id).responses for node in judging(plan)]
    methods = {getattr(responses[0].value, "method", "text") for responses in found if responses}
    return (methods.pop() if len(methods) == 1 else "pool"), None


def _members(plan: Plan, reply: Reply) -> list[JsonValue]:
    """What each member of the panel said, in the order of the graph."""
    asked = [reply.node(node.id) for node in plan.nodes if node.agent is not None]
    return [_member(result) for result in asked]


def _member(result: NodeResult) -> JsonValue:
    value = result.responses[0].value if result.responses else None
    return {
        "node": result.id,
        "model": result.model,
        "state": result.state,
        "value": float(value) if isinstance(value, int | float) else None,
        "method": getattr(value, "method", None),
        "text": result.text,
        **({"error": str(result.error)} if result.error else {}),
    }


def spent_on(reply: Reply) -> Spent:
    """What the calls of a reply use, stored ones included."""
    worth = [node.worth for node in reply.nodes]
    return Spent(
        calls=sum(node.calls for node in reply.nodes),
        input_tokens=reply.usage.input_tokens,
        output_tokens=reply.usage.output_tokens,
        cached_tokens=reply.usage.cached_tokens,
        cost=None if None in worth else sum(cost for cost in worth if cost is not None),
    )
