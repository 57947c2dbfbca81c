"""Which model each slot of a graph takes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from moa.errors import SpecError, UsageError
from moa.spec.model import ModelSpec

DEFAULT_MODEL = "local:smollm2-135m"
"""The embedded model, for a graph of which nothing is bound."""

_SLOT = re.compile(r"[A-Za-z][\w-]*")
_NEXT_MODEL = re.compile(r",(?![\w.-]+=)")
"""A comma before a model's name, not before another of its options: `sim:skill=0.8,length=9`."""

Bound = str | tuple[str, ...]
"""What a slot takes: a model, or several for a node that lists it under `models`."""


@dataclass(frozen=True, slots=True)
class Bindings:
    """Models for the slots of a graph.

    `slots` binds slots one by one, `rest` all the others, and `models` are the entries of a
    `models.yaml` that the other two may name. Slots in `shared` come from that file and serve many
    graphs, so a graph need not have them.
    """

    slots: Mapping[str, Bound] = field(default_factory=dict)
    rest: str | None = None
    models: Mapping[str, ModelSpec] = field(default_factory=dict)
    shared: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, options: Sequence[str] = (), models_file: Path | None = None) -> Bindings:
        """Read options of the form `SLOT=MODEL`, `SLOT=MODEL,MODEL` or `MODEL`, over the defaults of a `models.yaml`.

        Raises `UsageError` for an empty part, a slot that is bound twice, or two models for the rest.
        """
        slots: dict[str, Bound] = {}
        rest: str | None = None
        for option in options:
            slot, model = _split(option)
            if slot is None:
                if rest is not None:
                    raise UsageError(f"-m {option}: `{rest}` is already the model of every other slot")
                rest = model
            elif slot in slots:
                raise UsageError(f"-m {option}: slot `{slot}` is already bound to `{shown(slots[slot])}`")
            else:
                slots[slot] = _models_in(option, model)
        if models_file is None:
            return cls(slots, rest)
        return cls(slots, rest).over(models_file)

    def over(self, models_file: Path) -> Bindings:
        """These bindings over the models and slots of a `models.yaml`."""
        from moa.spec.loader import read_models

        spec = read_models(models_file).spec
        shared = frozenset(spec.slots.keys() - self.slots.keys())
        return Bindings({**spec.slots, **self.slots}, self.rest, {**spec.models, **self.models}, shared)

    def knowing(self, models: Mapping[str, ModelSpec]) -> Bindings:
        """These bindings with more models to name; those that it has already win."""
        return Bindings(self.slots, self.rest, {**models, **self.models}, self.shared)

    def model_of(self, name: str) -> str:
        """The one model that a node's `model` stands for.

        Raises `SpecError` for a slot that is not bound, or bound to several models.
        """
        models = self.models_of(name)
        if len(models) == 1:
            return models[0]
        raise SpecError(
            f"slot `{name}` is bound to {len(models)} models, and one is asked here: bind it to one, "
            f"or write `models: [{name}]`"
        )

    def models_of(self, name: str) -> tuple[str, ...]:
        """The models that an entry of a node's `models` stands for; raises `SpecError` for a slot that is not bound."""
        found = self.slots.get(name)
        if found is None:
            return (self._model_of_unbound(name),)
        return (found,) if isinstance(found, str) else found

    def _model_of_unbound(self, name: str) -> str:
        if name in self.models or ":" in name:
            return name
        if self.rest is not None:
            return self.rest
        if not self.slots:
            return DEFAULT_MODEL
        raise SpecError(f"slot `{name}` is not bound: add -m {name}=MODEL (or -m MODEL for every slot)")

    def is_slot(self, name: str) -> bool:
        """Whether a node's `model` is a slot to be bound, not a model's own name."""
        return name in self.slots or (name not in self.models and ":" not in name)


def bound(models: str | Sequence[str]) -> Bound:
    """A binding as Python code and a `models.yaml` write it: a model, or several in a list."""
    if isinstance(models, str):
        return models
    if not models:
        raise UsageError("a slot needs at least one model")
    return tuple(models)


def shown(models: Bound) -> str:
    """A binding as `-m` writes it."""
    return models if isinstance(models, str) else ",".join(models)


def split_models(text: str) -> tuple[str, ...]:
    """Models that stand in one text with commas between them; what a lost comma leaves empty stays so."""
    return tuple(model.strip() for model in _NEXT_MODEL.split(text))


def _models_in(option: str, text: str) -> Bound:
    if text.startswith("constant:"):
        return text  # its commas are its own
    models = split_models(text)
    if not all(models):
        raise UsageError(f"-m {option}: a comma without a model; write -m SLOT=MODEL,MODEL")
    return models if len(models) > 1 else text


def _split(option: str) -> tuple[str | None, str]:
    slot, equals, model = option.partition("=")
    if equals and not slot.strip():
        raise UsageError(f"-m {option}: no slot before `=`; write -m SLOT=MODEL or -m MODEL")
    if equals and _SLOT.fullmatch(slot):
        if not model.strip():
            raise UsageError(f"-m {option}: no model after `=`; write -m {slot}=MODEL")
        return slot, model.strip()
    if not option.strip():
        raise UsageError("-m needs a model: write -m SLOT=MODEL or -m MODEL")
    return None, option.strip()
