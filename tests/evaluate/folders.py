"""Folders of experiments written by hand, with numbers that are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from moa.evaluate.folder import Folder, write_lines
from moa.evaluate.records import Answer, Entrant, Experiment, Item, Spent, Verdict

RESTS_ON = {"evaluation": "trial", "seed": "0", "judge": "sim:judge"}


def item(number: int, **fields: Any) -> Item:
    plain: dict[str, Any] = {"id": f"q{number}", "turns": (f"Question {number}?",), "group": "all"}
    return Item(**(plain | fields))


def answer(number: int, entrant: str, **fields: Any) -> Answer:
    plain: dict[str, Any] = {
        "item": f"q{number}",
        "entrant": entrant,
        "state": "ok",
        "outputs": (f"{entrant} says {number}",),
        "spent": Spent(calls=1, input_tokens=10, output_tokens=5, cost=0.01),
        "latency": 1.0 + number,
    }
    return Answer(**(plain | fields))


def failed(number: int, entrant: str) -> Answer:
    return answer(number, entrant, state="failed", outputs=(), error="ServerFailedError: no")


def preferences(
    number: int, entrant: str, value: float | tuple[float, float] | None, **fields: Any
) -> list[Verdict]:
    """A verdict in each order; None for one that nobody could read."""
    both = value if isinstance(value, tuple) else (value, value)
    return [
        Verdict(
            item=f"q{number}",
            entrant=entrant,
            kind="preference",
            judge="sim:judge",
            state="unparsed" if each is None else "ok",
            value=each,
            against="base",
            swapped=swapped,
            of=2,
            **fields,
        )
        for swapped, each in zip((False, True), both, strict=True)
    ]


def graded(number: int, entrant: str, value: float | None, kind: str = "correct", **fields: Any) -> Verdict:
    plain: dict[str, Any] = {
        "item": f"q{number}",
        "entrant": entrant,
        "kind": kind,
        "judge": "exact" if kind == "correct" else "sim:judge",
        "state": "unparsed" if value is None else "ok",
        "value": value,
    }
    return Verdict(**(plain | fields))


def write_folder(
    path: Path,
    items: Sequence[Item],
    answers: Mapping[str, Sequence[Answer]],
    verdicts: Mapping[str, Sequence[Verdict]],
    *,
    baseline: str | None = None,
    numbers: Sequence[str] = (),
    spec: Mapping[str, Any] | None = None,
    rests_on: Mapping[str, str] = RESTS_ON,
    fingerprints: Mapping[str, str] | None = None,
) -> Folder:
    """A folder as `moa eval` leaves it."""
    folder = Folder(path)
    write_lines(folder.items_path, items)
    for name, lines in answers.items():
        write_lines(folder.answers_path(name), lines)
    for name, judged in verdicts.items():
        write_lines(folder.verdicts_path(name), judged)
    entrants = [
        Entrant(name=name, graph=name, fingerprint=(fingerprints or {}).get(name, name)) for name in answers
    ]
    folder.write_experiment(
        Experiment(
            moa="0",
            evaluation="trial",
            spec={"numbers": list(numbers), **(spec or {})},
            entrants=tuple(entrants),
            baseline=baseline,
            judge="sim:judge",
            items=len(items),
            rests_on=rests_on,
            fingerprint="f",
        )
    )
    return folder
