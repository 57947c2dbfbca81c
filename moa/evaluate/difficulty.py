"""What length control knows of the instructions: AlpacaEval's difficulties, where they belong to what is asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from moa.errors import UsageError
from moa.evaluate.figures import LengthModel
from moa.evaluate.folder import Folder
from moa.evaluate.numbers.intervals import Floats
from moa.evaluate.records import Experiment
from moa.evaluate.reference import DATASET, Instructions, hub_instructions, read_instructions, read_reference

BASELINE = "gpt4_1106_preview"
"""Whom AlpacaEval 2 compares with, and the only baseline that its difficulties were fitted for."""


def length_model(
    experiment: Experiment, folder: Folder, baseline_lengths: Floats, reference: Path | None
) -> LengthModel:
    """AlpacaEval's difficulties and gamed outputs for its own instructions and baseline, else lengths alone.

    Without `reference` they come from the hub where the evaluation's data do. Raises `UsageError` for a
    `reference` that is not one, or does not know an instruction.
    """
    plain = LengthModel(baseline_lengths, np.zeros(len(baseline_lengths)))
    if experiment.baseline != BASELINE:
        return plain
    from_hub = (experiment.spec.get("data") or {}).get("hub") == DATASET
    if reference is None and not from_hub:
        return plain
    try:
        known = read_reference(reference)
        instructions = read_instructions(reference) or hub_instructions(fetch=from_hub)
    except UsageError:
        if reference is not None:
            raise
        return plain
    if instructions is None:
        return plain
    difficulty = known.difficulty[_places(instructions, folder)]
    return LengthModel(baseline_lengths, difficulty, known.gamed, "newton fit, AlpacaEval's difficulties")


def _places(instructions: Instructions, folder: Folder) -> list[int]:
    return [instructions.index(item.instruction) for item in folder.items()]
