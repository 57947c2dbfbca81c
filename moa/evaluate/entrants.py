"""Who takes part: graphs with their models and settings, under names that tell them apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from moa.errors import SpecError, UsageError
from moa.evaluate.deception.protocol import under_protocol
from moa.evaluate.oracle import informed, oracles
from moa.evaluate.records import Entrant
from moa.evaluate.sweep import Settings, Sweep, read_sweeps, shown, variants, written
from moa.graph.bind import Bindings, split_models
from moa.graph.bind import shown as written_models
from moa.graph.compile import Locate, compile_graph, slots_of
from moa.graph.draw import mermaid
from moa.graph.plan import Plan
from moa.graph.svg import svg
from moa.spec.catalogue import load_graph
from moa.spec.evaluation import ProtocolSpec
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


class Altered(NamedTuple):
    """A graph under attack, with a defence, or both; None for neither."""

    spec: GraphSpec
    attack: str | None = None
    defence: str | None = None


Alter = Callable[[GraphSpec, Plan, Path | None], Iterable[Altered]]
"""What is made of a graph, its plan and the folder of its file: the graph itself first, then what takes part beside it."""


def contenders(
    graphs: Sequence[str],
    bindings: Bindings,
    settings: Sequence[str] = (),
    *,
    preferences: Path | None = None,
    alter: Alter | None = None,
    protocol: ProtocolSpec | None = None,
) -> list[Contender]:
    """Every graph with every combination of the settings of `--set`, and what `alter` makes of each.

    `preferences` is the file of a recorded judge, for oracles; `protocol` is that of the evaluation. Graphs of one name are numbered. Raises
    `UsageError` for a graph that is given twice, for slots that no graph has, and for settings that fit none.
    """
    located = [load_graph(graph) for graph in graphs]
    _refuse_foreign_slots([each.spec for each in located], bindings)
    sweeps = read_sweeps(settings, [each.spec for each in located])
    found: list[Contender] = []
    for graph, each in zip(graphs, located, strict=True):
        for family in _families(each, bindings, sweeps, preferences, alter, protocol):
            for contender in family:
                _refuse_twin(graph, contender, found)
            found += _numbered(family, found)
    return found


def _families(
    located: Located[GraphSpec],
    bindings: Bindings,
    sweeps: Sequence[Sweep],
    preferences: Path | None,
    alter: Alter | None,
    protocol: ProtocolSpec | None,
) -> Iterator[list[Contender]]:
    """For every combination of settings the graph, and what is made of it."""
    spec = informed(located.spec, preferences)
    for settings, chosen in variants(spec, sweeps):
        models = {name: str(value) for name, value in settings.items() if "." not in name}
        slots = {**bindings.slots, **models}
        bound = Bindings(slots, bindings.rest, bindings.models, frozenset(slots))
        name = spec.name + shown(settings)
        if protocol is not None:
            # The graph's own mistakes first, at their places in its file.
            _compiled(
                name, chosen, bound, located.folder, located.document.problem if chosen is spec else None
            )
        variant = under_protocol(chosen, protocol, bound, near=located.folder)
        locate = located.document.problem if variant is spec else None
        plan = _compiled(name, variant, bound, located.folder, locate)
        text = located.document.text if variant is spec else _yaml(variant)
        entrant = _entrant(spec.name, settings, variant, plan, bound, text)
        if alter is None:
            yield [Contender(entrant, plan)]
            continue
        clean, *others = alter(variant, plan, located.folder)
        assert clean.spec is variant
        family = [Contender(entrant.model_copy(update={"clean": entrant.name}), plan)]
        for other in others:
            changed = {
                key: word for key, word in (("attack", other.attack), ("defence", other.defence)) if word
            }
            called = spec.name + shown({**settings, **changed})
            made = _compiled(called, other.spec, bound, located.folder, None)
            rest = _entrant(spec.name, settings, other.spec, made, bound, _yaml(other.spec))
            known = {**changed, "name": called, "clean": entrant.name}
            family.append(Contender(rest.model_copy(update=known), made))
        yield family


def _compiled(
    name: str, spec: GraphSpec, bindings: Bindings, near: Path | None, locate: Locate | None
) -> Plan:
    """The plan; a mistake that has no position in a file is told with the entrant's name."""
    try:
        return compile_graph(spec, bindings, near=near, locate=locate)
    except SpecError as error:
        if locate is not None:
            raise
        raise UsageError(f"{name}: {error.problems[0].message}") from None


def recorded_bindings(entrant: Entrant, rest: str | None = None) -> Bindings:
    """The models of an entrant as they were recorded, where a slot may stand for several; `rest` is any other's."""
    split = {slot: split_models(models) for slot, models in entrant.models.items()}
    slots = {slot: models if len(models) > 1 else entrant.models[slot] for slot, models in split.items()}
    return Bindings(slots, rest, shared=frozenset(slots))


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
        deceivers={node.id: node.does or "" for node in plan.nodes if node.deceives},
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


def _numbered(family: Sequence[Contender], found: Sequence[Contender]) -> Iterator[Contender]:
    """A family under names that are still free: those of one graph have one number."""
    taken = {other.name for other in found}
    number = 1
    while any(_with_number(each.name, number) in taken for each in family):
        number += 1
    for each in family:
        names = {"name": _with_number(each.name, number)}
        if each.entrant.clean is not None:
            names["clean"] = _with_number(each.entrant.clean, number)
        yield Contender(each.entrant.model_copy(update=names), each.plan)


def _with_number(name: str, number: int) -> str:
    return name if number == 1 else f"{name}-{number}"
