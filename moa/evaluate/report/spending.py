"""What an entrant was expected to use, by its graph alone: to be held against what it really used."""

from __future__ import annotations

from typing import NamedTuple

from moa.errors import MoaError, UsageError
from moa.evaluate.entrants import recorded_bindings
from moa.evaluate.records import Entrant
from moa.graph.compile import compile_graph, slots_of
from moa.graph.estimate import estimate
from moa.spec.graph import GraphSpec
from moa.spec.loader import read_spec
from moa.spec.model import ModelSpec


class Planned(NamedTuple):
    """Calls, tokens and dollars (None: price unknown) of one turn of one question."""

    calls: float | None
    input_tokens: float | None
    output_tokens: float | None
    cost: float | None
    cached: float | None = None
    """The share of the input that begins like an earlier prompt to the same model, from 0 to 1."""


def planned(entrant: Entrant, prompt_tokens: int) -> Planned | None:
    """What `moa plan` says of the entrant's graph for a question of that length.

    None where the graph cannot be read here: it names an agent's file that is elsewhere, or a plugin is missing.
    """
    try:
        spec = read_spec(entrant.yaml, entrant.name, GraphSpec).spec
        # What was no slot then was an entry of the user's models.yaml.
        entries = {name: _model(name) for name in slots_of(spec) if name not in entrant.models}
        plan = compile_graph(spec, recorded_bindings(entrant).knowing(entries))
        found = estimate(plan, _model, prompt_tokens=max(1, prompt_tokens))
    except MoaError:
        return None
    return Planned(
        found.calls,
        found.prompt_tokens.expected,
        found.output_tokens.expected,
        found.usd.expected,
        found.prefixes.share,
    )


def _model(name: str) -> ModelSpec:
    """A model by its name; one of the user's own models.yaml, which is not here, has no known price."""
    from moa.backends.resolve import model_spec

    try:
        return model_spec(name)
    except UsageError:
        return ModelSpec(name=name, model=name, base_url="http://localhost/v1")
