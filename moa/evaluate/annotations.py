"""Recorded preferences, as AlpacaEval's command writes them or in a plain table, checked row by row."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moa.errors import UsageError
from moa.run.records import FORMATS, read_rows

DRAW = 1.5
NAMES: Mapping[str, tuple[str, ...]] = {
    "model": ("model", "generator_2"),
    "baseline": ("baseline", "generator_1"),
    "judge": ("annotator", "judge"),
}
"""Our name of a field to those that it has in files."""


@dataclass(frozen=True, slots=True)
class Judgment:
    """A judge's preference between the baseline's output and the model's."""

    place: str
    """Where it stands: file and row."""
    model: str
    baseline: str | None
    judge: str | None
    index: int | None
    """The instruction's number in its list."""
    instruction: str | None
    row: int | None
    """The position in the published file, where a table says it."""
    preference: float
    """From 1 (the baseline's output is better) to 2 (the model's); NaN: the judge gave no verdict."""
    len_1: int
    """Characters of the baseline's output."""
    len_2: int
    """Characters of the model's output."""


@dataclass(frozen=True, slots=True)
class Annotations:
    """All judgments of one model, in the order of the files."""

    model: str
    judgments: tuple[Judgment, ...]

    @property
    def baseline(self) -> str | None:
        """What the model is compared with, where the files say it."""
        return self.judgments[0].baseline

    @property
    def is_baseline(self) -> bool:
        """Whether the model is the baseline: by name, or since all outputs are equally long and draws."""
        if self.baseline is not None:
            return self.baseline == self.model
        return all(one.len_1 == one.len_2 and one.preference == DRAW for one in self.judgments)


def read_annotations(paths: Sequence[Path], *, drop_unjudged: bool = False) -> list[Annotations]:
    """The judgments of files and folders, model by model.

    Args:
        paths: AlpacaEval's `annotations.json`; or JSONL, JSON, CSV or Parquet with `model`, `index` or `instruction`,
            `preference`, `len_1` and `len_2` (or `output_1` and `output_2`). A folder stands for every
            file in it that is called `annotations`, or else for all of those formats.
        drop_unjudged: Take a row of a table without a preference for one to which the judge gave no verdict,
            as in AlpacaEval's own files, and not for a mistake.

    Raises:
        UsageError: for what cannot be scored, naming the row: a field that is missing or out of range, an instruction
            that a model has twice or that a row alone does not name, several judges, several baselines.
    """
    models: dict[str, list[Judgment]] = {}
    for judgment in _consistent(_judgments(paths, drop_unjudged)):
        models.setdefault(judgment.model, []).append(judgment)
    found = [Annotations(model, tuple(judgments)) for model, judgments in models.items()]
    _refuse_unnamed(found)
    for each in found:
        _refuse_duplicates(each)
    _refuse_other_baselines(found)
    return found


def annotation_files(path: Path) -> list[Path]:
    """The files that a path stands for.

    Raises:
        UsageError: when there is none.
    """
    if not path.is_dir():
        return [path]
    found = sorted(inner for inner in path.rglob("annotations.*") if _is_readable(inner))
    found = found or sorted(inner for inner in path.iterdir() if _is_readable(inner))
    if not found:
        raise UsageError(f"{path}: holds no annotations ({', '.join(FORMATS)})")
    return found


def _is_readable(path: Path) -> bool:
    name = path.name.removesuffix(".gz")
    return path.is_file() and name.endswith(FORMATS)


def _judgments(paths: Iterable[Path], drop_unjudged: bool) -> Iterator[Judgment]:
    for path in (file for given in paths for file in annotation_files(given)):
        found = False
        for place, fields in read_rows(path):
            found = True
            yield _Row(f"{path}:{place}", fields).judgment(drop_unjudged)
        if not found:
            raise UsageError(f"{path} holds no annotations")


class _Row:
    """A row of a file, read field by field; each mistake names the row."""

    def __init__(self, place: str, fields: Any) -> None:
        self._place = place
        if not isinstance(fields, Mapping):
            raise self._refuse("expected an object with the fields of an annotation")
        self._fields = fields

    def judgment(self, drop_unjudged: bool) -> Judgment:
        model = self._text("model")
        if model is None:
            raise self._refuse("has no `model` (or `generator_2`)")
        instruction = self._fields.get("instruction")
        if instruction is not None and not isinstance(instruction, str):
            raise self._refuse("`instruction` must be text")
        return Judgment(
            place=self._place,
            model=model,
            baseline=self._text("baseline"),
            judge=self._text("judge"),
            index=self._whole("index"),
            instruction=instruction,
            row=self._whole("row"),
            preference=self._preference(drop_unjudged),
            len_1=self._length("1"),
            len_2=self._length("2"),
        )

    def _refuse(self, message: str) -> UsageError:
        return UsageError(f"{self._place}: {message}")

    def _text(self, name: str) -> str | None:
        value = next((self._fields[key] for key in NAMES[name] if self._fields.get(key) is not None), None)
        return None if value is None else str(value)

    def _number(self, name: str) -> float | None:
        value = self._fields.get(name)
        if value is None:
            return None
        try:
            if isinstance(value, bool):
                raise ValueError
            return float(value)
        except (TypeError, ValueError):
            raise self._refuse(f"{name} is {value!r}, not a number") from None

    def _whole(self, name: str) -> int | None:
        number = self._number(name)
        if number is None:
            return None
        if not (math.isfinite(number) and number >= 0 and number == int(number)):
            raise self._refuse(f"{name} is {number}, not a whole number from 0")
        return int(number)

    def _length(self, which: str) -> int:
        output = self._fields.get(f"output_{which}")
        length = self._whole(f"len_{which}")
        if length is not None:
            return length
        if not isinstance(output, str):
            raise self._refuse(f"has neither `len_{which}` nor the text `output_{which}`")
        return len(output)

    def _preference(self, drop_unjudged: bool) -> float:
        official = "generator_2" in self._fields
        preference = self._number("preference")
        if preference is None:
            if drop_unjudged or (official and "preference" in self._fields):
                return math.nan
            raise self._refuse(
                "has no preference: --drop-unjudged leaves out rows to which the judge gave no verdict"
            )
        if official and preference == 0:
            return DRAW
        if not 1 <= preference <= 2:
            raise self._refuse(
                f"preference is {preference:g}: must be from 1 (baseline) to 2 (model); "
                "for probabilities of the model's win add 1"
            )
        return preference


def _consistent(judgments: Iterable[Judgment]) -> Iterator[Judgment]:
    """The same judgments, once each is seen to have the first one's judge and baseline."""
    first: Judgment | None = None
    for judgment in judgments:
        first = first or judgment
        if judgment.judge != first.judge:
            told = _other("judge", judgment.judge, first.judge, first.place)
            raise UsageError(f"{judgment.place}: {told}: score each judge's annotations apart")
        if judgment.baseline != first.baseline:
            told = _other("baseline", judgment.baseline, first.baseline, first.place)
            raise UsageError(f"{judgment.place}: {told}: score each baseline's annotations apart")
        yield judgment


def _other(what: str, found: str | None, first: str | None, place: str) -> str:
    named = [f"{what} {name!r}" if name is not None else f"no {what}" for name in (found, first)]
    return f"{named[0]}, but {named[1]} at {place}"


def _key(judgment: Judgment) -> int | str | None:
    return judgment.instruction if judgment.index is None else judgment.index


def _refuse_unnamed(found: Iterable[Annotations]) -> None:
    """Which instruction a row is about is said for every row, or for none."""
    keyed = [(judgment, _key(judgment)) for each in found for judgment in each.judgments]
    named = any(key is not None for _, key in keyed)
    for judgment, key in keyed if named else ():
        if key is None or (isinstance(key, str) and not key.strip()):
            raise UsageError(f"{judgment.place}: has neither `index` nor `instruction`, as other rows have")


def _refuse_duplicates(annotations: Annotations) -> None:
    seen: dict[int | str, str] = {}
    for judgment in annotations.judgments:
        key = _key(judgment)
        if key is None:
            continue
        if key in seen:
            what = f"index {key}" if isinstance(key, int) else "its instruction"
            raise UsageError(f"{judgment.place}: {annotations.model} has {what} already at {seen[key]}")
        seen[key] = judgment.place


def _refuse_other_baselines(found: Iterable[Annotations]) -> None:
    """The baseline says the same to an instruction whichever model it is compared with."""
    first: dict[int | str, Judgment] = {}
    for judgment in (judgment for each in found for judgment in each.judgments):
        key = _key(judgment)
        if key is not None and first.setdefault(key, judgment).len_1 != judgment.len_1:
            before = first[key]
            raise UsageError(
                f"{judgment.place}: the baseline's output has {judgment.len_1} characters, but {before.len_1} "
                f"for the same instruction at {before.place}: these are not the outputs of one baseline"
            )
