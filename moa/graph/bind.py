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


@dataclass(frozen=True, slots=True)
class Bindings:
    """Models for the slots of a graph.

    `slots` binds slots one by one, `rest` all the others, and `models` are the entries of a
    `models.yaml` that the other two may name. Slots in `shared` come from that file and serve many
    graphs, so a graph need not have them.
    """

    slots: Mapping[str, str] = field(default_factory=dict)
    rest: str | None = None
    models: Mapping[str, ModelSpec] = field(default_factory=dict)
    shared: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, options: Sequence[str] = (), models_file: Path | None = None) -> Bindings:
        """Read options of the form `SLOT=MODEL` or `MODEL`, over the defaults of a `models.yaml`.

        Raises `UsageError` for an empty part, a slot that is bound twice, or two models for the rest.
        """
        slots: dict[str, str] = {}
        rest: str | None = None
        for option in options:
            slot, model = _split(option)
            if slot is None:
                if rest is not None:
                    raise UsageError(f"-m {option}: `{rest}` is already the model of every other slot")
                rest = model
            elif slot in slots:
                raise UsageError(f"-m {option}: slot `{slot}` is already bound to `{slots[slot]}`")
            else:
                slots[slot] = model
        if models_file is None:
            return cls(slots, rest)
        return cls(slots, rest).over(models_file)

    def over(self, models_file: Path) -> Bindings:
        """These bindings over the models and slots of a `models.yaml`."""
        from moa.spec.loader import read_models

        spec = read_models(models_file).spec
        shared = frozenset(spec.slots.keys() - self.slots.keys())
        return Bindings({**spec.slots, **self.slots}, self.rest, {**spec.models, **self.models}, shared)

    def model_of(self, name: str) -> str:
        """The model that a node's `model` stands for; raises `SpecError` for a slot that is not bound."""
        if name in self.slots:
            return self.slots[name]
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
