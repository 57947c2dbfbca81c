"""What length control knows of the instructions: AlpacaEval's difficulties, where they belong to what is asked."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from moa.errors import UsageError
from moa.evaluate.figures import LengthModel
from moa.evaluate.folder import Folder
from moa.evaluate.numbers.intervals import Floats
from moa.evaluate.numbers.length_control import Fit
from moa.evaluate.records import Experiment
from moa.evaluate.reference import (
    DATASET,
    DIFFICULTY,
    GAMED,
    INSTRUCTIONS,
    Instructions,
    hub_instructions,
    read_instructions,
    read_reference,
)

BASELINE = "gpt4_1106_preview"
"""Whom AlpacaEval 2 compares with, and the only baseline that its difficulties were fitted for."""


def keep_reference(folder: Folder, reference: Path) -> None:
    """Copy what length control needs into an experiment's folder, so that its numbers stay what they are elsewhere."""
    place = folder.reference_path
    place.mkdir(exist_ok=True)
    for name in (GAMED, DIFFICULTY, *INSTRUCTIONS):
        if (source := reference / name).is_file() and source.resolve() != (place / name).resolve():
            shutil.copyfile(source, place / name)


def length_model(
    experiment: Experiment,
    folder: Folder,
    baseline_lengths: Floats,
    reference: Path | None,
    fit: Fit = "newton",
) -> LengthModel:
    """AlpacaEval's difficulties and gamed outputs for its own instructions and baseline, else lengths alone.

    Without `reference` they are those that the folder keeps, or the hub's where the evaluation's data are from there.
    Raises `UsageError` for a `reference` that is not one, or does not know an instruction.
    """
    plain = LengthModel(
        baseline_lengths, np.zeros(len(baseline_lengths)), fit=fit, note=f"{fit} fit, no difficulties"
    )
    if experiment.baseline != BASELINE:
        return plain
    if reference is None and folder.reference_path.is_dir():
        reference = folder.reference_path
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
    if instructions is None and reference is not None:
        raise UsageError(
            f"--reference {reference}: put {INSTRUCTIONS[0]} (index, instruction) there, to tell which difficulty is whose"
        )
    if instructions is None:
        return plain
    places = _places(instructions, folder)
    return LengthModel(
        baseline_lengths,
        known.difficulty[places],
        known.gamed,
        f"{fit} fit, AlpacaEval's difficulties",
        fit,
        np.argsort(places, kind="stable"),
    )


def _places(instructions: Instructions, folder: Folder) -> list[int]:
    return [instructions.index(item.instruction) for item in folder.items()]
