"""What a server serves: graphs by name, and the plain models behind them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from moa.backends.resolve import model_spec
from moa.errors import UsageError
from moa.graph.bind import Bindings
from moa.graph.compile import compile_graph, slots_of
from moa.graph.context import check_context
from moa.serve.house import Served
from moa.spec.catalogue import load_graph
from moa.spec.graph import GraphSpec
from moa.spec.loader import Located

PLAIN = "single"
"""The graph that a plain model is served as."""


def menu(graphs: Sequence[str], bindings: Bindings, *, models_too: bool = False) -> list[Served]:
    """Every graph compiled and checked, so that mistakes show before anything listens.

    Raises `UsageError` for two graphs of one name and for a slot that no graph has, and `SpecError` for mistakes
    in a graph and for prompts that can never fit.
    """
    located = [load_graph(graph) for graph in graphs]
    _refuse_foreign_slots(located, bindings)
    found: dict[str, Served] = {}
    for graph, each in zip(graphs, located, strict=True):
        served = _graph(each, bindings)
        if served.id in found:
            raise UsageError(f"{graph}: another graph is called {served.id!r} already; rename one of them")
        found[served.id] = served
    if models_too:
        for model in [model for served in list(found.values()) for model in served.plan.models]:
            found.setdefault(model, _model(model, bindings))
    return list(found.values())


def _graph(located: Located[GraphSpec], bindings: Bindings) -> Served:
    # A slot of another graph is none of this one's mistakes.
    own = replace(bindings, shared=bindings.shared | bindings.slots.keys())
    plan = compile_graph(located.spec, own, near=located.folder, locate=located.document.problem)
    report = check_context(plan, lambda name: model_spec(name, bindings.models))
    if report.mistakes:
        raise UsageError("; ".join(f"{plan.name}: {mistake.message}" for mistake in report.mistakes))
    return Served(plan.name, plan, "graph", located.spec.description)


def _model(model: str, bindings: Bindings) -> Served:
    plan = compile_graph(load_graph(PLAIN).spec, Bindings(rest=model, models=bindings.models))
    return Served(model, replace(plan, name=model), "model", "One model, asked once.")


def _refuse_foreign_slots(located: Sequence[Located[GraphSpec]], bindings: Bindings) -> None:
    known = Bindings(models=bindings.models)
    slots = dict.fromkeys(slot for each in located for slot in slots_of(each.spec, known))
    for slot in sorted(bindings.slots.keys() - bindings.shared - slots.keys()):
        has = f"their slots: {', '.join(slots)}" if slots else "they name their models themselves"
        raise UsageError(f"-m {slot}=...: no graph has a slot `{slot}`; {has}")
