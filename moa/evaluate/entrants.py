"""Who takes part: graphs with their models and settings, under names that tell them apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moa.errors import SpecError, UsageError
from moa.evaluate.oracle import informed, oracles
from moa.evaluate.records import Entrant
from moa.evaluate.sweep import Settings, Sweep, read_sweeps, shown, variants, written
from moa.graph.bind import Bindings
from moa.graph.bind import shown as written_models
from moa.graph.compile import compile_graph, slots_of
from moa.graph.draw import mermaid
from moa.graph.plan import Plan
from moa.graph.svg import svg
from moa.spec.catalogue import load_graph
from moa.spec.graph import GraphSpec
from moa.spec.loader import Located

JUDGE = "judge"
"""The slot of the judging model, which no graph has."""


@dataclass(frozen=True, slots=True)
class Contender:
    """An entrant as it is recorded, and the plan that answers for it."""

    entrant: Entrant
    plan: Plan

    @property
    def name(self) -> str:
        """The entrant's name."""
        return self.entrant.name


def contenders(
    graphs: Sequence[str],
    bindings: Bindings,
    settings: Sequence[str] = (),
    *,
    preferences: Path | None = None,
) -> list[Contender]:
    """Every graph with every combination of the settings of `--set`.

    `preferences` is the file of a recorded judge, for oracles. Graphs of one name are numbered. Raises `UsageError` for a graph that is given twice, for slots that no
    graph has, and for settings that fit none.
    """
    located = [load_graph(graph) for graph in graphs]
    _refuse_foreign_slots([each.spec for each in located], bindings)
    sweeps = read_sweeps(settings, [each.spec for each in located])
    found: list[Contender] = []
    for graph, each in zip(graphs, located, strict=True):
        for contender in _of_graph(each, bindings, sweeps, preferences):
            _refuse_twin(graph, contender, found)
            found.append(_numbered(contender, found))
    return found


def _of_graph(
    located: Located[GraphSpec], bindings: Bindings, sweeps: Sequence[Sweep], preferences: Path | None
) -> Iterator[Contender]:
    spec = informed(located.spec, preferences)
    for settings, variant in variants(spec, sweeps):
        models = {name: str(value) for name, value in settings.items() if "." not in name}
        slots = {**bindings.slots, **models}
        bound = Bindings(slots, bindings.rest, bindings.models, frozenset(slots))
        locate = located.document.problem if variant is spec else None
        try:
            plan = compile_graph(variant, bound, near=located.folder, locate=locate)
        except SpecError as error:
            if locate is not None:
                raise
            raise UsageError(f"{spec.name}{shown(settings)}: {error.problems[0].message}") from None
        text = located.document.text if variant is spec else _yaml(variant)
        yield Contender(_entrant(spec.name, settings, variant, plan, bound, text), plan)


def _entrant(
    graph: str, settings: Settings, spec: GraphSpec, plan: Plan, bindings: Bindings, text: str
) -> Entrant:
    return Entrant(
        name=graph + shown(settings),
        graph=graph,
        settings=settings,
        models={
            slot: written_models(bindings.models_of(slot))
            for slot in slots_of(spec, Bindings(models=bindings.models))
        },
        sees_verdicts=bool(oracles(spec)),
        fingerprint=plan.fingerprint,
        yaml=text,
        mermaid=mermaid(plan),
        svg=_picture(plan),
    )


def _picture(plan: Plan) -> str:
    """The graph drawn; empty where it is too large for a picture."""
    try:
        return svg(plan)
    except UsageError:
        return ""


def _yaml(spec: GraphSpec) -> str:
    import yaml

    data: dict[str, Any] = written(spec)
    return str(yaml.safe_dump(data, sort_keys=False, allow_unicode=True, default_flow_style=None))


def _refuse_foreign_slots(specs: Sequence[GraphSpec], bindings: Bindings) -> None:
    slots = list(
        dict.fromkeys(slot for spec in specs for slot in slots_of(spec, Bindings(models=bindings.models)))
    )
    for slot in sorted(bindings.slots.keys() - bindings.shared - {*slots, JUDGE}):
        has = f"their slots: {', '.join(slots)}" if slots else "they name their models themselves"
        raise UsageError(
            f"-m {slot}={written_models(bindings.slots[slot])}: no graph has a slot `{slot}`; {has}"
        )


def _refuse_twin(graph: str, contender: Contender, found: Sequence[Contender]) -> None:
    for other in found:
        if (other.entrant.graph, other.plan.fingerprint) == (
            contender.entrant.graph,
            contender.plan.fingerprint,
        ):
            raise UsageError(
                f"{graph} takes part twice: {other.name} asks the very same; name it once, or vary it with --set"
            )


def _numbered(contender: Contender, found: Sequence[Contender]) -> Contender:
    taken = {other.name for other in found}
    name, number = contender.name, 1
    while name in taken:
        number += 1
        name = f"{contender.name}-{number}"
    entrant = contender.entrant.model_copy(update={"name": name})
    return Contender(entrant, contender.plan)
