"""A folder of recordings, made up: three models, their preferences, and what length control needs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from moa.evaluate.numbers.intervals import Floats
from tests.support.annotated import simulate, simulate_gamed, write_reference

MODELS = ("first", "second", "third")


class Recorded(NamedTuple):
    """What the folder holds, model by model: (n,) of each."""

    folder: Path
    instructions: list[str]
    outputs: dict[str, list[str]]
    preferences: dict[str, Floats]
    """From 0 to 1."""
    baseline_lengths: Floats


def write_recordings(folder: Path, n: int = 60) -> Recorded:
    """Preferences of a judge that likes length, for outputs of many lengths; as `moa eval --replay` takes them."""
    base = simulate(n, seed=0)
    drawn = {name: simulate(n, seed=seed, model=1 - seed) for seed, name in enumerate(MODELS, 1)}
    found = Recorded(
        folder,
        [f"Question {index}?" for index in range(n)],
        {name: [_text(name, index, int(m.len_2[index])) for index in range(n)] for name, m in drawn.items()},
        {name: m.preferences for name, m in drawn.items()},
        base.len_1,
    )
    write_reference(folder, base.difficulty, simulate_gamed(base.difficulty, seed=9))
    _write(
        folder / "instructions.jsonl",
        ({"index": i, "instruction": t} for i, t in enumerate(found.instructions)),
    )
    for name, outputs in found.outputs.items():
        _write(
            folder / "outputs" / f"{name}.jsonl", ({"index": i, "output": t} for i, t in enumerate(outputs))
        )
    _write(folder / "annotations.jsonl", rows(found))
    return found


def rows(recorded: Recorded) -> Iterable[dict[str, Any]]:
    """The table of preferences."""
    for name, preferences in recorded.preferences.items():
        for index, preference in enumerate(preferences):
            yield {
                "model": name,
                "index": index,
                "preference": 1 + float(preference),
                "len_1": int(recorded.baseline_lengths[index]),
                "len_2": len(recorded.outputs[name][index]),
            }


def write_official(recorded: Recorded, folder: Path) -> Path:
    """The same as AlpacaEval keeps it: `MODEL/model_outputs.json` and `MODEL/judge/annotations.json`."""
    for name, outputs in recorded.outputs.items():
        place = folder / name / "judge"
        place.mkdir(parents=True)
        asked = [
            {"instruction": instruction, "output": output, "generator": name}
            for instruction, output in zip(recorded.instructions, outputs, strict=True)
        ]
        (folder / name / "model_outputs.json").write_text(json.dumps(asked))
        judged = [
            {
                "instruction": instruction,
                "output_1": "x" * int(recorded.baseline_lengths[index]),
                "generator_1": "gpt4_1106_preview",
                "output_2": outputs[index],
                "generator_2": name,
                "preference": 1 + float(recorded.preferences[name][index]),
            }
            for index, instruction in enumerate(recorded.instructions)
        ]
        (place / "annotations.json").write_text(json.dumps(judged))
    return folder


def matrix(recorded: Recorded, members: Iterable[str]) -> Floats:
    """Preferences (members, n)."""
    return np.array([recorded.preferences[name] for name in members])


def _text(model: str, index: int, length: int) -> str:
    words = f"{model} answers {index}: " + " ".join(f"{model[0]}{number % 37}" for number in range(length))
    return words[: length - 1] + "."


def _write(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
