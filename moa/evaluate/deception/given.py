"""What an item gives to the agents that ask for it: a deceiver's target, what the options are, what is right."""

from __future__ import annotations

from typing import Any

from moa.evaluate.records import Item
from moa.evaluate.tasks.options import labels, lettered


def given_of(item: Item) -> dict[str, Any]:
    """Values by the names that agents declare under `given`.

    The row's other fields by their own names; `answer`, and where there are options `options` (their texts), `letters`
    (what they are called), `lettered` (both, a line each) and `target` (the wrong one that deceivers are for).
    """
    given: dict[str, Any] = {name: value for name, value in item.fields.items() if value is not None}
    if item.answer is not None:
        given["answer"] = item.answer
    if item.options:
        letters = labels(len(item.options), item.answer or "")
        given |= {
            "options": list(item.options),
            "letters": list(letters),
            "lettered": lettered(item.options, letters),
        }
    if item.target is not None:
        given["target"] = item.target
    return given
