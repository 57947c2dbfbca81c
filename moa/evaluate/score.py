"""Win rates from recorded preferences, raw and length-controlled, each with its interval and its warnings."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from moa.errors import MissingExtraError, UsageError
from moa.evaluate.annotations import Annotations, Judgment
from moa.evaluate.numbers.bootstrap import REPLICATES, bootstrap_interval, mean_of
from moa.evaluate.numbers.intervals import Estimate, Floats
from moa.evaluate.numbers.length_control import (
    Fit,
    LengthControlled,
    Resampled,
    baseline_itself,
    length_controlled,
)
from moa.evaluate.numbers.win_rate import WinRate, average_length, win_rate
from moa.evaluate.reference import (
    Instructions,
    Reference,
    hub_instructions,
    read_instructions,
    read_reference,
)

FEW = 50
"""Verdicts under which a length-controlled win rate comes with a warning."""
SHOWN = 5
"""Missing instructions that a warning names."""


@dataclass(frozen=True, slots=True)
class Options:
    """What is computed, and how."""

    length_control: bool = True
    reference: Path | None = None
    """The folder with `instruction_difficulty.csv` and `df_gamed.csv`; None: the hub's files."""
    fit: Fit = "liblinear-cv"
    row_index: bool = False
    """Take a row's position for its instruction, as the official scorer does, whatever its index says."""
    replicates: int = REPLICATES
    """Of the bootstrap; 0 for no intervals."""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Score:
    """One model's numbers; rates in percent, lengths in characters."""

    model: str
    baseline: str | None
    raw: WinRate
    win_rate_ci: Estimate | None
    avg_length: int
    length_controlled: LengthControlled | None
    lc_ci: Estimate | None
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """A flat object; null for what could not be computed."""
        controlled = self.length_controlled
        numbers = {
            "model": self.model,
            **asdict(self.raw),
            "avg_length": self.avg_length,
            "length_controlled_winrate": controlled and controlled.win_rate,
            "lc_standard_error": controlled and controlled.standard_error,
            "lc_ci": _ends(self.lc_ci),
            "warnings": list(self.warnings),
            "baseline": self.baseline,
            "win_rate_ci": _ends(self.win_rate_ci),
            "win_rate_ci_method": self.win_rate_ci and self.win_rate_ci.method,
            "lc_fit": controlled and (controlled.fit or "none: the baseline itself"),
            "lc_ci_method": self.lc_ci and self.lc_ci.method,
            "lc_coefficients": controlled and controlled.coefficients._asdict(),
            "lc_c": controlled and controlled.c,
        }
        return {name: _finite(value) for name, value in numbers.items()}


class Keyed(NamedTuple):
    """A model's rows, each with the instruction whose difficulty it takes: all of shape (n,)."""

    instructions: np.ndarray[tuple[int], np.dtype[np.int64]]
    preferences: Floats
    """From 0 to 1; NaN: no verdict."""
    len_1: Floats
    len_2: Floats


def score(found: Sequence[Annotations], options: Options | None = None) -> Iterator[Score]:
    """The numbers of each model, one after another.

    Raises:
        UsageError: when the reference cannot be read, or does not know an instruction; names the row.
    """
    options = options or Options()
    reference = read_reference(options.reference) if options.length_control else None
    keys = Keys(found, reference, options) if reference else None
    for each in found:
        yield _score(each, reference, keys, options)


def _score(
    annotations: Annotations, reference: Reference | None, keys: Keys | None, options: Options
) -> Score:
    preferences = np.array([one.preference for one in annotations.judgments])
    judged = preferences[~np.isnan(preferences)]
    if not len(judged):
        raise UsageError(f"{annotations.judgments[0].place}: {annotations.model} has no verdict at all")
    warnings = list(_unjudged(annotations))
    controlled = interval = None
    if reference and keys:
        warnings += reference.warnings
        controlled, interval = _controlled(annotations, reference, keys, options, warnings)
    raw = win_rate(judged)
    if len(judged) < 2:
        warnings.append("a single verdict has no standard error")
    if controlled and _is_far(raw.win_rate, controlled.win_rate):
        warnings.append(
            "the length-controlled win rate is far from the raw one "
            f"({controlled.win_rate:.1f} and {raw.win_rate:.1f}): look at the lengths"
        )
    return Score(
        model=annotations.model,
        baseline=annotations.baseline,
        raw=raw,
        win_rate_ci=_raw_interval(annotations, preferences, options, warnings),
        avg_length=average_length([one.len_2 for one in annotations.judgments]),
        length_controlled=controlled,
        lc_ci=interval,
        warnings=tuple(warnings),
    )


def _unjudged(annotations: Annotations) -> Iterator[str]:
    places = [one.place for one in annotations.judgments if math.isnan(one.preference)]
    if places:
        yield f"{_rows(len(places))} without a verdict left out of the win rate: {_listed(places)}"


def _raw_interval(
    annotations: Annotations, preferences: Floats, options: Options, warnings: list[str]
) -> Estimate | None:
    judged = preferences[~np.isnan(preferences)]
    if not options.replicates or len(judged) < 2:
        return None
    if np.ptp(judged) == 0:
        if not annotations.is_baseline:
            warnings.append(f"all preferences are {judged[0]:g}: no interval of the win rate")
        return None
    statistic = mean_of(100 * (preferences - 1))
    return bootstrap_interval(statistic, len(preferences), replicates=options.replicates, seed=options.seed)


def _controlled(
    annotations: Annotations, reference: Reference, keys: Keys, options: Options, warnings: list[str]
) -> tuple[LengthControlled | None, Estimate | None]:
    """The length-controlled win rate with its interval, or neither and a warning that says why."""
    keyed = keys.keyed(annotations)
    warnings += [*keys.warnings, *_missing(keyed, reference, options)]
    if annotations.is_baseline:
        return baseline_itself(), None
    rows = (
        keyed.preferences,
        keyed.len_1,
        keyed.len_2,
        reference.difficulty[keyed.instructions],
        reference.gamed,
    )
    try:
        controlled = length_controlled(*rows, fit=options.fit)
    except MissingExtraError:
        raise
    except UsageError as error:
        warnings.append(f"no length-controlled win rate: {error}")
        return None, None
    if controlled.extrapolates:
        warnings.append(f"the length model extrapolates: {controlled.extrapolates}")
    judged = int(np.sum(~np.isnan(keyed.preferences)))
    if judged < FEW:
        warnings.append(f"length control from {_rows(judged)} says little")
    return controlled, _interval(rows, controlled, options, warnings)


def _interval(
    rows: tuple[Any, ...], controlled: LengthControlled, options: Options, warnings: list[str]
) -> Estimate | None:
    if not options.replicates:
        return None
    statistic = Resampled(*rows, c=controlled.c)
    try:
        found = bootstrap_interval(
            statistic, len(statistic), replicates=options.replicates, seed=options.seed
        )
    except UsageError as error:
        warnings.append(f"no interval of the length-controlled win rate: {error}")
        return None
    method = f"{found.method}, newton fit with C = {controlled.c:.3g}"
    return Estimate(found.value, found.standard_error, found.low, found.high, found.n, method)


class Keys:
    """Which instruction each row is about: by its index, by its text, or by its position."""

    def __init__(self, found: Sequence[Annotations], reference: Reference, options: Options) -> None:
        self.warnings: list[str] = []
        self._found = found
        self._size = len(reference.difficulty)
        self._options = options
        self._list: Instructions | None = None

    def keyed(self, annotations: Annotations) -> Keyed:
        """The rows in order of their instructions, or in that of the published file for `row_index`.

        Raises:
            UsageError: for a row whose instruction is not said, not known, or said before.
        """
        judgments = annotations.judgments
        if self._options.row_index:
            ordered = sorted(judgments, key=_row) if _have_rows(judgments) else list(judgments)
            return self._taken(list(enumerate(ordered)))
        pairs = sorted(((self._index(one), one) for one in judgments), key=lambda pair: pair[0])
        for (index, one), (following, other) in pairwise(pairs):
            if index == following:
                raise UsageError(
                    f"{other.place}: {annotations.model} has instruction {index} already at {one.place}"
                )
        return self._taken(pairs)

    def _taken(self, pairs: list[tuple[int, Judgment]]) -> Keyed:
        for index, one in pairs:
            if index >= self._size:
                raise UsageError(
                    f"{one.place}: there are difficulties for instructions 0 to {self._size - 1} only"
                )
        return Keyed(
            np.array([index for index, _ in pairs], dtype=np.int64),
            np.array([one.preference - 1 for _, one in pairs], dtype=np.float64),
            np.array([one.len_1 for _, one in pairs], dtype=np.float64),
            np.array([one.len_2 for _, one in pairs], dtype=np.float64),
        )

    def _index(self, judgment: Judgment) -> int:
        if judgment.index is not None:
            return judgment.index
        if judgment.instruction is None:
            raise UsageError(f"{judgment.place}: has neither `index` nor `instruction`")
        try:
            return self._instructions.index(judgment.instruction)
        except UsageError as error:
            raise UsageError(f"{judgment.place}: {error}") from None

    @property
    def _instructions(self) -> Instructions:
        """The reference's list, the hub's if it is here, that of a complete model, or the hub's."""
        if self._list is None:
            known = read_instructions(self._options.reference) or hub_instructions(fetch=False)
            self._list = known or self._complete() or self._fetched()
        return self._list

    def _complete(self) -> Instructions | None:
        """The instructions of a model that has them all, in the order of its rows."""
        for each in self._found:
            texts = [one.instruction for one in each.judgments if one.instruction is not None]
            if len(texts) == len(set(texts)) == len(each.judgments) == self._size:
                self.warnings.append(
                    f"no list of instructions: that of {each.model}'s {self._size} rows, in order, is taken "
                    "for it (instructions.jsonl in the reference's folder names another)"
                )
                return Instructions(texts, f"the rows of {each.model}")
        return None

    def _fetched(self) -> Instructions:
        try:
            found = hub_instructions(fetch=True)
        except UsageError as error:
            raise UsageError(
                f"{str(error).partition(': download')[0]}: rows that give no `index` need instructions.jsonl "
                "(index, instruction) in the folder --reference DIR, or --row-index"
            ) from None
        assert found is not None
        return found


def _row(judgment: Judgment) -> int:
    return -1 if judgment.row is None else judgment.row


def _have_rows(judgments: Sequence[Judgment]) -> bool:
    return all(one.row is not None for one in judgments)


def _missing(keyed: Keyed, reference: Reference, options: Options) -> Iterator[str]:
    size = len(reference.difficulty)
    if len(keyed.instructions) == size:
        return
    absent = sorted(set(range(size)) - set(keyed.instructions.tolist()))
    if options.row_index:
        yield (
            f"{len(keyed.instructions)} rows for {size} instructions: by row position they take the difficulties "
            f"of the first {len(keyed.instructions)}, as in the official scorer"
        )
    else:
        yield f"{len(absent)} of {size} instructions are missing: {_listed(absent)}"


def _is_far(raw: float, controlled: float) -> bool:
    """The official scorer's rule for a length-controlled win rate that may be a failure of the fit."""
    low = min(raw - raw / 4, raw - 10)
    high = max(raw + (100 - raw) / 4, raw + 10)
    return not low <= controlled <= high


def _listed(values: Sequence[object]) -> str:
    more = f" and {len(values) - SHOWN} more" if len(values) > SHOWN else ""
    return ", ".join(map(str, values[:SHOWN])) + more


def _rows(number: int) -> str:
    return f"{number} row{'' if number == 1 else 's'}"


def _ends(estimate: Estimate | None) -> list[float] | None:
    return [estimate.low, estimate.high] if estimate else None


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
