"""A sweep: `--set drafts.samples=1,3,6` makes one graph several."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from itertools import product
from typing import Any, NamedTuple

from pydantic import JsonValue

from moa.errors import SpecError, UsageError
from moa.graph.bind import split_models
from moa.graph.compile import slots_of
from moa.spec.build import spec_from
from moa.spec.document import parse
from moa.spec.graph import GraphSpec, NodeSpec
from moa.spec.words import nearest


class Sweep(NamedTuple):
    """What is set to each of several values: a slot, or a field of a node by its path."""

    option: str
    path: tuple[str, ...]
    values: tuple[JsonValue, ...]

    @property
    def name(self) -> str:
        """The path as it is written."""
        return ".".join(self.path)

    @property
    def is_slot(self) -> bool:
        """Whether models are swept over."""
        return len(self.path) == 1


Settings = Mapping[str, JsonValue]
"""One value for each name that is swept."""


def read_sweeps(options: Sequence[str], graphs: Sequence[GraphSpec]) -> list[Sweep]:
    """The options of `--set`, each checked against the graphs; raises `UsageError` with the nearest right name."""
    sweeps = [_read(option) for option in options]
    for number, sweep in enumerate(sweeps):
        if any(sweep.path == other.path for other in sweeps[:number]):
            raise UsageError(f"--set {sweep.option}: `{sweep.name}` is set already")
        _check_place(sweep, graphs)
    return sweeps


def variants(spec: GraphSpec, sweeps: Sequence[Sweep]) -> Iterator[tuple[Settings, GraphSpec]]:
    """Every combination of the values that concern this graph, and the graph that it makes."""
    own = [sweep for sweep in sweeps if _concerns(sweep, spec)]
    for values in product(*(sweep.values for sweep in own)):
        chosen = list(zip(own, values, strict=True))
        yield {sweep.name: value for sweep, value in chosen}, _with(spec, chosen)


def shown(settings: Settings) -> str:
    """The settings as they stand in an entrant's name: `[drafts.samples=3]`; empty for none."""
    words = ",".join(f"{name}={_word(value)}" for name, value in settings.items())
    return f"[{words}]" if words else ""


def _read(option: str) -> Sweep:
    name, equals, text = option.partition("=")
    path = tuple(part.strip() for part in name.split("."))
    if not equals or not text.strip() or not all(path):
        raise UsageError(
            f"--set {option}: write NODE.FIELD=VALUE,VALUE such as drafts.samples=1,3,6, or SLOT=MODEL,MODEL"
        )
    values = _models(text) if len(path) == 1 else _values(option, text)
    if len({_word(value) for value in values}) < len(values):
        raise UsageError(f"--set {option}: the same value twice")
    return Sweep(option, path, values)


def _models(text: str) -> tuple[JsonValue, ...]:
    return tuple(model for model in split_models(text) if model)


def _values(option: str, text: str) -> tuple[JsonValue, ...]:
    """The values as YAML reads them: numbers, words, `[a, b]`, `{size: 6, keep: 3}`."""
    try:
        values = parse(f"values: [{text}]", "--set").data["values"]
    except SpecError as error:
        raise UsageError(f"--set {option}: {error.problems[0].message}") from None
    if not values:
        raise UsageError(f"--set {option}: no value after `=`")
    return tuple(values)


def _check_place(sweep: Sweep, graphs: Sequence[GraphSpec]) -> None:
    """Refuse what no graph has."""
    if any(_concerns(sweep, spec) for spec in graphs):
        return
    if sweep.is_slot:
        kind, known = "slot", [slot for spec in graphs for slot in slots_of(spec)]
        nodes = [name for spec in graphs for name in spec.nodes]
        if sweep.path[0] in nodes:
            raise UsageError(
                f"--set {sweep.option}: `{sweep.path[0]}` is a node: say which field, such as {sweep.path[0]}.samples"
            )
    else:
        kind, known = "node", [name for spec in graphs for name in spec.nodes]
    raise UsageError(f"--set {sweep.option}: no graph has a {kind} `{sweep.path[0]}`; {_meant(sweep, known)}")


def _meant(sweep: Sweep, known: Sequence[str]) -> str:
    meant = nearest(sweep.path[0], known)
    names = ", ".join(dict.fromkeys(known))
    return f"did you mean `{meant}`?" if meant else f"there are: {names}" if names else "there are none"


def _concerns(sweep: Sweep, spec: GraphSpec) -> bool:
    return sweep.path[0] in (slots_of(spec) if sweep.is_slot else spec.nodes)


def _with(spec: GraphSpec, chosen: Sequence[tuple[Sweep, JsonValue]]) -> GraphSpec:
    """The graph with values in the place of its own; raises `UsageError` for one that does not fit."""
    data = written(spec)
    for sweep, value in chosen:
        if not sweep.is_slot:
            _put(data, sweep, value)
            _check(data, sweep)
    return spec_from(GraphSpec, data) if any(not sweep.is_slot for sweep, _ in chosen) else spec


def written(spec: GraphSpec) -> dict[str, Any]:
    """The graph as plain data with no more in it than was said."""
    return spec.model_dump(mode="json", exclude_unset=True)


def _put(data: dict[str, Any], sweep: Sweep, value: JsonValue) -> None:
    place: dict[str, Any] = data["nodes"]
    for part in sweep.path[:-1]:
        inner = place.get(part)
        place[part] = inner = inner if isinstance(inner, dict) else {}
        place = inner
    place[sweep.path[-1]] = deepcopy(value)


def _check(data: dict[str, Any], sweep: Sweep) -> None:
    field = sweep.path[1]
    if field not in NodeSpec.model_fields:
        meant = nearest(field, NodeSpec.model_fields)
        hint = f"did you mean `{meant}`?" if meant else f"it has {', '.join(NodeSpec.model_fields)}"
        raise UsageError(f"--set {sweep.option}: a node has no field `{field}`; {hint}")
    try:
        spec_from(GraphSpec, data)
    except SpecError as error:
        message = error.problems[0].message.removeprefix(f"nodes.{sweep.name}: ")
        raise UsageError(f"--set {sweep.option}: {message}") from None


def _word(value: JsonValue) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)
