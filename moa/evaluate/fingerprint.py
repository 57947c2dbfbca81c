"""What an experiment rests on: what may be added to it, and what may not change."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence

from moa.evaluate.records import Entrant, Item
from moa.spec.evaluation import AnswerSpec

_MODULUS = 1 << 256


def rests_on(
    evaluation: str,
    *,
    answer: AnswerSpec | None,
    judge: str | None,
    judge_fingerprint: str | None,
    baseline: str | None,
    seed: int,
) -> dict[str, str]:
    """What all answers and verdicts of an experiment have in common, by name, in words that can be compared."""
    found = {"evaluation": evaluation, "seed": str(seed)}
    if answer is not None:
        found["way to read answers"] = answer.model_dump_json(exclude_unset=True)
    if judge is not None:
        found["judge"] = judge
        found["judge's prompts or settings"] = (judge_fingerprint or "")[:16]
    if baseline is not None:
        found["baseline"] = baseline
    return found


def change(before: Mapping[str, str], after: Mapping[str, str]) -> str | None:
    """The first thing that differs, in words; None where nothing does."""
    for name in dict.fromkeys([*before, *after]):
        old, new = before.get(name), after.get(name)
        if old != new:
            return f"the {name} {_was(old)} and {_is(new)}"
    return None


def changed_entrant(before: Sequence[Entrant], after: Sequence[Entrant]) -> str | None:
    """The first entrant that has kept its name and become another, in words."""
    known = {entrant.name: entrant for entrant in before}
    for entrant in after:
        old = known.get(entrant.name)
        if old is not None and old.fingerprint != entrant.fingerprint:
            return f"{_what_changed(old, entrant)} of the entrant `{entrant.name}` changed"
    return None


def item_mark(item: Item) -> int:
    """A 64-bit mark of everything in an item."""
    return text_mark(_canonical(item))


def text_mark(text: str) -> int:
    """A 64-bit mark of a text."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest())


def fingerprint(parts: Mapping[str, str], marks: Iterable[int]) -> str:
    """SHA-256 of what an experiment rests on and of its items, in whatever order they were asked."""
    total = sum(int.from_bytes(hashlib.sha256(mark.to_bytes(8)).digest()) for mark in marks) % _MODULUS
    content = json.dumps([dict(sorted(parts.items())), total])
    return hashlib.sha256(content.encode()).hexdigest()


def _what_changed(old: Entrant, new: Entrant) -> str:
    if old.models != new.models:
        slot = next(
            name for name in {**old.models, **new.models} if old.models.get(name) != new.models.get(name)
        )
        return f"the model `{slot}` ({old.models.get(slot)}, now {new.models.get(slot)})"
    return "the graph, its agents or a model's settings"


def _was(value: str | None) -> str:
    return "was not there" if value is None else f"was {value}"


def _is(value: str | None) -> str:
    return "is gone" if value is None else f"is now {value}"


def _canonical(item: Item) -> str:
    return json.dumps(item.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
