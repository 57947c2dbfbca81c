"""Every attack against every defence: what one graph becomes, beside itself untouched."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from moa.errors import SpecError, UsageError
from moa.evaluate.deception.attacks import Attack, attacked, read_attack
from moa.evaluate.deception.matrix import BREAKDOWN, NONE
from moa.evaluate.entrants import Altered
from moa.graph.defend import Defence, defend, read_defence, split_defences
from moa.graph.layers import layers
from moa.graph.plan import Plan
from moa.spec.evaluation import EvalSpec
from moa.spec.graph import GraphSpec
from moa.spec.words import nearest

OF_OPTIONS = frozenset({"options", "lettered", "target"})
"""What an agent is given that deceives about the options of a question."""


@dataclass(frozen=True, slots=True)
class Breakdown:
    """More and more deceivers: none, one, two, ... of the references that the last step hears."""

    role: str | None = None
    """Who they are; by default opposers where questions have options, else deceivers."""
    order: tuple[str, ...] = ()
    """The nodes that are turned, one after another; drawn by the seed where nothing is said."""


@dataclass(frozen=True, slots=True)
class Grid:
    """What is made of each graph: every attack with every defence, and both without the other.

    Called with a graph, its plan and the folder of its file it gives the clean graph first. Raises `UsageError` in one line for an attack
    or a defence that does not fit the graph or the evaluation.
    """

    spec: EvalSpec
    attacks: Sequence[str] = ()
    defences: Sequence[Defence] = ()
    breakdown: Breakdown | None = None
    seed: int = 0

    def __call__(self, spec: GraphSpec, plan: Plan, near: Path | None) -> Iterator[Altered]:
        yield Altered(spec)
        defended = [(NONE, spec), *((each.name, self._defended(spec, each, near)) for each in self.defences)]
        for attack in (None, *self._attacks(spec, plan)):
            for name, graph in defended:
                if attack is not None or name != NONE:
                    made = (
                        graph
                        if attack is None
                        else attacked(graph, attack.under(self.spec.protocol).facing(name))
                    )
                    yield Altered(made, attack.name if attack else None, None if name == NONE else name)

    def _defended(self, spec: GraphSpec, defence: Defence, near: Path | None) -> GraphSpec:
        try:
            return defend(spec, defence.spec, near=near)
        except SpecError as error:
            raise UsageError(f"--defend {defence.name}: {spec.name}: {error.problems[0].message}") from None

    def _attacks(self, spec: GraphSpec, plan: Plan) -> list[Attack]:
        """Those that were asked for, each once."""
        found: dict[str, Attack] = {}
        for name, text in (*((text, text) for text in self.attacks), *self._chain(plan)):
            try:
                attack = read_attack(text, plan, self.seed)
            except UsageError as error:
                raise UsageError(f"--deceive {text}: {spec.name}: {error}") from None
            if attack.overlay:
                found.setdefault(name, replace(attack, name=name if name != text else attack.name))
        return list(found.values())

    def _chain(self, plan: Plan) -> Iterator[tuple[str, str]]:
        """The attacks of a breakdown: one deceiver, two, ... by name, and as they are written."""
        if self.breakdown is None:
            return
        role = self.breakdown.role or ("opposer" if has_options(self.spec) else "deceiver")
        order = self._order(plan)
        for size in range(1, len(order) + 1):
            yield f"{BREAKDOWN}{size}:{role}", ",".join(f"{node}={role}" for node in order[:size])

    def _order(self, plan: Plan) -> Sequence[str]:
        assert self.breakdown is not None
        last = next(iter(layers(plan)[-1:]), ())
        if not last:
            raise UsageError(f"--breakdown: the graph {plan.name} has no proposers who could deceive")
        for number, node in enumerate(self.breakdown.order):
            if node in self.breakdown.order[:number]:
                raise UsageError(f"--order names {node} twice")
            if node not in plan.by_id:
                meant = nearest(node, last)
                hint = f"did you mean `{meant}`?" if meant else f"the last layer is {', '.join(last)}"
                raise UsageError(f"--order: the graph {plan.name} has no node `{node}`; {hint}")
        return self.breakdown.order or random.Random(f"{self.seed}\0breakdown").sample(last, len(last))


def grid(
    spec: EvalSpec,
    attacks: Sequence[str],
    defences: Sequence[str],
    breakdown: Breakdown | None = None,
    seed: int = 0,
) -> Grid:
    """A grid as the command line describes it; `none` among attacks and defences adds nothing.

    Raises `UsageError` where nothing would be tried, or a defence is unknown.
    """
    found: dict[str, Defence] = {}
    for text in (part for each in defences for part in split_defences(each)):
        defence = read_defence(text)
        found.setdefault(defence.name, defence)
    found.pop(NONE, None)
    wanted = [attack for attack in attacks if attack.strip() != NONE]
    if not (wanted or found or breakdown):
        raise UsageError("nothing to try: add --deceive ATTACK, --defend DEFENCE,... or --breakdown")
    return Grid(spec, tuple(wanted), tuple(found.values()), breakdown, seed)


def has_options(spec: EvalSpec) -> bool:
    """Whether the questions of an evaluation are multiple choice."""
    return spec.answer is not None and spec.answer.of_options


def check_given(spec: EvalSpec, plan: Plan, name: str) -> None:
    """Raise `UsageError` where somebody is to deceive about options that the questions do not have."""
    for node in plan.nodes:
        agent = node.agent
        if node.deceives and agent is not None and OF_OPTIONS & {*agent.given} and not has_options(spec):
            raise UsageError(
                f"{name}: the agent `{agent.name}` argues for one of several options, and {spec.name} has none: "
                "take `deceiver`, or an evaluation with options such as sample_choice"
            )
