"""Simulated annotations: a judge that likes long outputs, and what length control needs to know about it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from moa.evaluate.numbers.intervals import Floats
from moa.evaluate.numbers.length_control import GamedRows


class Simulated(NamedTuple):
    """One model's rows: preferences from 0 to 1, lengths, difficulties (n,)."""

    preferences: Floats
    len_1: Floats
    len_2: Floats
    difficulty: Floats


def chance(scores: Floats) -> Floats:
    """The logistic function."""
    return np.asarray(1 / (1 + np.exp(-scores)))


def simulate(
    n: int, seed: int, length: float = -1.5, difficulty: float = 0.7, model: float = -0.5
) -> Simulated:
    """Preferences whose mean follows the length-control model with these coefficients."""
    random = np.random.default_rng(seed)
    hard = random.normal(size=n)
    len_1 = random.integers(1000, 3000, n).astype(np.float64)
    len_2 = random.integers(500, 3000, n).astype(np.float64)
    longer = len_1 - len_2
    mean = chance(length * np.tanh(longer / longer.std(ddof=1)) + difficulty * hard + model)
    return Simulated(random.beta(0.8 * mean, 0.8 * (1 - mean)), len_1, len_2, hard)


def simulate_gamed(difficulty: Floats, seed: int, length: float = -1.5) -> GamedRows:
    """The baseline's own outputs, told to be verbose and concise: two rows an instruction."""
    random = np.random.default_rng(seed)
    n = len(difficulty)
    lengths = np.concatenate([random.normal(1.5, 0.5, n), random.normal(-1.5, 0.5, n)])
    hard = np.concatenate([difficulty, difficulty])
    return GamedRows(chance(length * np.tanh(lengths) + 0.7 * hard), lengths, hard)


def write_reference(folder: Path, difficulty: Floats, gamed: GamedRows) -> Path:
    """The two files of a reference folder, as AlpacaEval has them."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["index,instruction_difficulty", *(f"{i},{float(d)!r}" for i, d in enumerate(difficulty))]
    (folder / "instruction_difficulty.csv").write_text("\n".join(lines) + "\n")
    rows = ["preference,index,std_delta_len,instruction_difficulty,not_gamed_baseline,model"]
    for number, (preference, length, hard) in enumerate(zip(*gamed, strict=True)):
        index = number % len(difficulty)
        rows.append(f"{float(preference)!r},{index},{float(length)!r},{float(hard)!r},False,gamed")
    (folder / "df_gamed.csv").write_text("\n".join(rows) + "\n")
    return folder


def table(rows: Simulated, model: str = "small") -> list[dict[str, Any]]:
    """The rows of a table, in order of their instructions."""
    return [
        {
            "model": model,
            "index": index,
            "preference": 1 + float(rows.preferences[index]),
            "len_1": int(rows.len_1[index]),
            "len_2": int(rows.len_2[index]),
        }
        for index in range(len(rows.preferences))
    ]


def official(rows: list[dict[str, Any]], instructions: list[str]) -> list[dict[str, Any]]:
    """The same rows as AlpacaEval's command writes them."""
    return [
        {
            "instruction": instructions[row["index"]],
            "output_1": "a" * row["len_1"],
            "generator_1": "baseline",
            "dataset": "helpful_base",
            "output_2": "ü" * row["len_2"],
            "generator_2": row["model"],
            "annotator": "weighted",
            "preference": row["preference"],
            "raw_completion": {"text": "m"},
        }
        for row in rows
    ]


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    """One JSON object a line."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_json(path: Path, rows: list[dict[str, Any]]) -> Path:
    """One JSON list."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=2), encoding="utf-8")
    return path
