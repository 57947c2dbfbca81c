"""A folder of recordings: outputs of models, what they were asked, and how a judge liked them.

DIR/outputs/MODEL.jsonl             the outputs of a model (`.json` and `.gz`, too); or DIR/MODEL/model_outputs.json
DIR/instructions.jsonl              what was asked, with `index`
DIR/annotations.parquet             preferences, in any format that `moa score` reads; or DIR/MODEL/.../annotations.json
DIR/df_gamed.csv                    with instruction_difficulty.csv: what length control needs
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from moa.errors import UsageError
from moa.evaluate.judges.recorded import PREFIX
from moa.evaluate.judges.recording import ENDINGS, TABLES
from moa.evaluate.reference import GAMED
from moa.run.records import FORMATS
from moa.spec.model import ModelSpec

OFFICIAL = "model_outputs.json"
"""What AlpacaEval calls a model's outputs, in a folder of the model's name."""


@dataclass(frozen=True, slots=True)
class Recordings:
    """What a folder holds."""

    models: Mapping[str, ModelSpec]
    """The recorded models by name."""
    judge: str | None
    """The judge `recorded:...`, where there are preferences."""
    data: Path | None
    """What was asked, where the folder says it."""
    reference: Path | None
    """The folder itself, where it has what length control needs."""


def read_recordings(folder: Path) -> Recordings:
    """What is recorded in a folder; raises `UsageError` where it holds no outputs."""
    models = {
        name: ModelSpec(name=name, provider="replay", file=str(path)) for name, path in _outputs(folder)
    }
    if not models:
        raise UsageError(
            f"--replay {folder}: holds no recorded outputs: expected {folder / 'outputs' / 'MODEL.jsonl'} "
            f"or {folder / 'MODEL' / OFFICIAL}"
        )
    return Recordings(
        models,
        _judge(folder),
        next((path for name in TABLES if (path := folder / name).is_file()), None),
        folder if (folder / GAMED).is_file() else None,
    )


def _outputs(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.glob(f"*/{OFFICIAL}")):
        yield path.parent.name, path
    for path in sorted((folder / "outputs").glob("*")):
        ending = next((ending for ending in ENDINGS if path.name.endswith(ending)), None)
        if ending is not None and path.is_file():
            yield path.name.removesuffix(ending), path


def _judge(folder: Path) -> str | None:
    """The table of preferences in the folder itself, or all of those below it."""
    for ending in FORMATS:
        for path in (folder / f"annotations{ending}", folder / f"annotations{ending}.gz"):
            if path.is_file():
                return f"{PREFIX}{path}"
    below = next(folder.rglob("annotations.json"), None)
    return f"{PREFIX}{folder}" if below is not None else None
