"""Conversations and answers as a judge is shown them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from moa.backends.replies import text_of
from moa.evaluate.judges.fence import dress
from moa.evaluate.records import Answer, Item

Labels = tuple[str, str]


def pair(
    item: Item, first: Sequence[str], second: Sequence[str], seed: int, labels: Labels | None
) -> dict[str, Any]:
    """What the templates of a pairwise judge see: the same for equal texts, whoever wrote them."""
    shown: dict[str, Any] = {
        "history": _history(item),
        "instruction": joined(item.turns),
        "first": joined(first),
        "second": joined(second),
        "reference": joined(item.references) if item.references else "",
        "checklist": list(item.checklist),
    }
    return _dressed(shown, seed, labels)


def turn(item: Item, answer: Answer, number: int, seed: int) -> dict[str, Any]:
    """What the templates of a judge of single answers see of one turn (from 0); what went before is history."""
    history = _history(item)
    for asked, said in zip(item.turns[:number], answer.outputs[:number], strict=True):
        history += [{"role": "user", "text": asked}, {"role": "assistant", "text": said}]
    shown: dict[str, Any] = {
        "history": history,
        "instruction": item.turns[number],
        "response": answer.outputs[number],
        "reference": item.references[number] if number < len(item.references) else "",
        "references": list(item.references[: number + 1]),
        "checklist": list(item.checklist),
    }
    return _dressed(shown, seed, None)


def instruction(item: Item, number: int, seed: int) -> dict[str, Any]:
    """What is known of a turn before anybody has answered it."""
    shown: dict[str, Any] = {
        "history": _history(item) + [{"role": "user", "text": asked} for asked in item.turns[:number]],
        "instruction": item.turns[number],
        "reference": item.references[number] if number < len(item.references) else "",
    }
    return _dressed(shown, seed, None)


def _dressed(shown: dict[str, Any], seed: int, labels: Labels | None) -> dict[str, Any]:
    worn = dress(seed, _texts(shown), labels)
    return shown | {"labels": list(worn.labels), "fence": worn.fence}


def _texts(shown: dict[str, Any]) -> list[str]:
    """Every text that is shown, in order."""
    texts: list[str] = []
    for value in shown.values():
        parts = value if isinstance(value, list) else [value]
        texts += [part["text"] if isinstance(part, dict) else part for part in parts]
    return texts


def _history(item: Item) -> list[dict[str, str]]:
    """The conversation before the item's first turn: a `role` and a `text` each."""
    return [
        {"role": str(message.get("role", "user")), "text": text_of(message.get("content"))}
        for message in item.history
    ]


def joined(texts: Sequence[str]) -> str:
    """One text as it is; several with their turns' numbers."""
    if len(texts) == 1:
        return texts[0]
    return "\n\n".join(f"Turn {number}:\n{text}" for number, text in enumerate(texts, 1))
