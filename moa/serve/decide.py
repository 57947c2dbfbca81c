"""What the members of an ensemble hold of each answer to a closed question, and what they hold together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from moa.backends.base import LABELS
from moa.graph.bind import Bindings
from moa.graph.compile import compile_graph
from moa.graph.plan import Plan
from moa.spec.build import spec_from
from moa.spec.graph import GraphSpec
from moa.spec.model import ModelSpec

AGENT = "decider"
LEAST = 1e-6
"""A member that rules an answer out is taken to be this unsure of it in a logarithmic pool."""
DEADLINE = 600.0
"""Seconds for which all members are waited for before one suffices."""
_EDGES = " \t\r\n*_`\"'“”‘’()[]{}#.,:;!?▁Ġ"


class Held(NamedTuple):
    """A member's probabilities of the answers, and whether they are its own (`logprobs`) or only its word (`text`)."""

    probabilities: tuple[float, ...]
    method: str


def members(plan: Plan) -> tuple[str, ...]:
    """The models that answer for an ensemble: those that it asks first, each once."""
    first = dict.fromkeys(node.model for node in plan.nodes if node.model is not None and not node.sources)
    return tuple(model for model in first if model is not None)


def decision_plan(models: Sequence[str], labels: Sequence[str], specs: Mapping[str, ModelSpec]) -> Plan:
    """A graph in which every member is asked for one of the labels."""
    sampling = {"body": {LABELS: list(labels)}}
    nodes = {
        "members": {"agent": AGENT, "models": list(models), "sampling": sampling},
        "answer": {"select": "first", "inputs": "members", "quorum": 1, "deadline": DEADLINE},
    }
    spec = spec_from(GraphSpec, {"name": "decision", "nodes": nodes})
    return compile_graph(spec, Bindings(models=specs))


def read_held(labels: Sequence[str], text: str, logprobs: Any) -> Held | None:
    """A member's probabilities of the labels; None where it says none of them.

    They are read at the first token that says something: the alternatives' probabilities, summed over spellings of
    a label and weighed against those of the other labels. Without log-probabilities the word itself counts.
    """
    content = logprobs.get("content") if isinstance(logprobs, Mapping) else None
    for token in content or ():
        if isinstance(token, Mapping) and _bare(str(token.get("token", ""))):
            masses = [_mass(label, token.get("top_logprobs") or (token,)) for label in labels]
            if (whole := sum(masses)) > 0:
                return Held(tuple(mass / whole for mass in masses), "logprobs")
            break
    said = _bare(text).casefold().partition("\n")[0]
    found = [label for label in labels if said == label.casefold() or _begins(said, label)]
    if len(found) != 1:
        return None
    return Held(tuple(float(label == found[0]) for label in labels), "text")


def pooled(held: Sequence[Held], how: str) -> tuple[float, ...]:
    """One distribution for several: their mean, or their normalized geometric mean (`log`)."""
    columns = list(zip(*(each.probabilities for each in held), strict=True))
    if how == "linear":
        return tuple(sum(column) / len(held) for column in columns)
    logs = [sum(math.log(max(value, LEAST)) for value in column) / len(held) for column in columns]
    weights = [math.exp(log - max(logs)) for log in logs]
    return tuple(weight / sum(weights) for weight in weights)


def _mass(label: str, alternatives: Sequence[Any]) -> float:
    total = 0.0
    for other in alternatives:
        value = other.get("logprob") if isinstance(other, Mapping) else None
        if (
            isinstance(value, int | float)
            and _bare(str(other.get("token", ""))).casefold() == label.casefold()
        ):
            total += math.exp(min(0.0, value))
    return total


def _begins(said: str, label: str) -> bool:
    """Whether a reply begins with the label as a word of its own."""
    rest = said.removeprefix(label.casefold())
    return rest != said and not rest[:1].isalnum()


def _bare(text: str) -> str:
    return text.strip(_EDGES)
