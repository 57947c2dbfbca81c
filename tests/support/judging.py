"""A server that answers questions and judges pairs: always the same, whatever the order, labels and fences are."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from tests.support.faults import FaultServer, Json, Step, deterministic

_ASKED = re.compile(r"Which response is better, (\S+) or (\S+)\?")
_SHOWN = re.compile(r"response (\S+) begins\]\n(.*?)\n\[", re.DOTALL)


def judging(messages: Sequence[Json], seed: int | None, model: str, n: int) -> list[str]:
    """The label of the better of two responses; to anything else an answer as `deterministic` gives it."""
    if not labels_in(messages):
        return deterministic(messages, seed, model, n)
    shown = dict(_SHOWN.findall(str(messages[-1]["content"])))
    return [max(shown, key=lambda label: merit(shown[label]))] * n


def labels_in(messages: Sequence[Json]) -> list[str]:
    """The two labels that a judge may choose from; none where nothing is to be judged."""
    found = _ASKED.search(str(messages[-1]["content"]))
    return list(found.groups()) if found else []


def merit(response: str) -> str:
    """What the judge goes by: nothing that anybody could guess from the text."""
    return hashlib.sha256(response.strip().encode()).hexdigest()


def judge_server(always: Step | None = None) -> FaultServer:
    """A server whose models answer, and judge where they are asked to."""
    return FaultServer(always=always, answer=judging)
