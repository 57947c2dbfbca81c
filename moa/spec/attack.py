"""What users write about an attack: which nodes of a graph deceive, and who stands there instead."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import BeforeValidator, Field, JsonValue, StringConstraints

from moa.spec.agent import AgentSpec, Sampling, Spec

TRUTHFUL = "truthful"
"""The role of a node that no attack touches."""
ROLES: Mapping[str, str] = {"0": TRUTHFUL, "1": "deceiver", "2": "promoter", "3": "opposer"}
"""The digits of Wolf et al. 2025 (arXiv:2503.05856) and the agents of the catalogue that they mean."""
DEAF = "deaf"
"""Stands behind a role whose node does not hear its references."""

_ROLE = re.compile(r"(?P<agent>[^@]+?)(?P<deaf>:deaf)?(?:@(?P<model>.+))?")


class Deception(Spec):
    """Who stands at a node in place of its own agent.

    The short form is `ROLE`, `ROLE:deaf` (the references are not heard), `ROLE@MODEL` or both, `ROLE:deaf@MODEL`; a role is
    an agent's name, a path to an agent file, or one of the digits of `ROLES`.
    """

    agent: str | AgentSpec
    """An agent of the catalogue, a path to an agent file, or an agent written in place."""
    vars: dict[str, JsonValue] = Field(default_factory=dict)
    """Values for its templates; they may stand in for what the agent expects to be given with the question."""
    hears: bool = True
    """Whether it hears what the node hears; without, it answers as a node of the first layer."""
    model: Annotated[str, StringConstraints(min_length=1)] | None = None
    """A slot or a model's name; by default the node's own model."""
    sampling: Sampling = Sampling()
    """Values over the node's own, which win over the agent's."""


def read_deception(value: object) -> object:
    """The short form as the fields that it stands for; anything else unchanged."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        return value
    found = _ROLE.fullmatch(value.strip())
    if found is None:
        raise ValueError("expected a role such as `opposer`, `opposer:deaf` or `opposer@MODEL`")
    agent = ROLES.get(found["agent"], found["agent"])
    if agent == TRUTHFUL:
        raise ValueError("a truthful node is not listed: leave it out")
    fields: dict[str, object] = {"agent": agent}
    if found["deaf"]:
        fields["hears"] = False
    return fields | ({"model": found["model"].strip()} if found["model"] else {})


Overlay = dict[str, Annotated[Deception, BeforeValidator(read_deception)]]
"""Deceptions by concrete node, such as `refined[2]`."""


class AttackSpec(Spec):
    """A file with an attack: `attack: {refined[2]: opposer}`."""

    name: str = ""
    description: str = ""
    source: str | None = None
    """The paper that the attack comes from."""
    attack: Overlay
