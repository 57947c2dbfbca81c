"""Verdicts in words turned to numbers: WildBench, Arena-Hard and MT-bench."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from moa.errors import UsageError
from moa.evaluate.numbers.intervals import (
    LEVEL,
    REPLICATES,
    Estimate,
    Floats,
    Integers,
    Labels,
    Seed,
    around,
    bootstrap,
    mean,
    normal_quantile,
)

WILDBENCH = {"A++": 1.0, "A+": 0.5, "A=B": 0.0, "B+": -0.5, "B++": -1.0}
"""What a WildBench verdict is worth to the one shown as A."""
SLIGHT = 0.5
LENGTH_MARGIN = 500.0
"""Characters by which a slight winner may be longer and still win."""

ARENA_HARD = {
    "A>>B": (1.0, True),
    "A>B": (1.0, False),
    "A=B": (0.5, False),
    "A<B": (0.0, False),
    "A<<B": (0.0, True),
    "B<<A": (1.0, True),
    "B<A": (1.0, False),
    "B=A": (0.5, False),
    "B>A": (0.0, False),
    "B>>A": (0.0, True),
}
"""An Arena-Hard verdict's score for the one shown as A, and whether it is a strong one."""
STRONG = 3


@dataclass(frozen=True, slots=True)
class WildBenchReward:
    """WB-Reward against one reference, from -1 to 1 (WildBench prints it times 100).

    `reward` divides by all verdicts, unparsed ones included, as WildBench's code does; `parsed_reward` by those
    that could be read. Counts are after the length rule, which turned `shortened` slight verdicts into ties.
    """

    reward: Estimate
    parsed_reward: Estimate
    much_better: int
    slightly_better: int
    ties: int
    slightly_worse: int
    much_worse: int
    unparsed: int
    shortened: int


def wildbench_values(verdicts: Sequence[str | None], model_is_first: Sequence[bool]) -> Floats:
    """What each verdict is worth to the model, from -1 (much worse) to 1; NaN for None, an unparsed one.

    Raises:
        UsageError: for a label that is none of WildBench's five.
    """
    if len(verdicts) != len(model_is_first):
        raise UsageError(f"{len(verdicts)} verdicts and {len(model_is_first)} positions: give one a verdict")
    unknown = next(((row, v) for row, v in enumerate(verdicts) if v is not None and v not in WILDBENCH), None)
    if unknown is not None:
        raise UsageError(
            f"row {unknown[0]}: {unknown[1]!r} is not a WildBench verdict ({', '.join(WILDBENCH)})"
        )
    worth = [np.nan if verdict is None else WILDBENCH[verdict] for verdict in verdicts]
    return np.array(worth) * np.where(model_is_first, 1.0, -1.0)


def without_long_winners(
    values: Floats,
    model_lengths: npt.ArrayLike,
    reference_lengths: npt.ArrayLike,
    margin: float = LENGTH_MARGIN,
) -> Floats:
    """The length rule: a slight verdict is a tie where its winner is more than `margin` characters longer.

    Exactly `margin` longer still wins; "much" verdicts never change; -1 or infinity switches the rule off.
    """
    longer = np.asarray(model_lengths, dtype=np.float64) - np.asarray(reference_lengths, dtype=np.float64)
    if longer.shape != values.shape:
        raise UsageError(
            f"{len(values)} verdicts and lengths of shape {longer.shape}: give both lengths a verdict"
        )
    if margin == -1 or np.isinf(margin):
        return values.copy()
    too_long = ((values == SLIGHT) & (longer > margin)) | ((values == -SLIGHT) & (-longer > margin))
    return np.where(too_long, 0.0, values)


def wildbench_reward(
    verdicts: Sequence[str | None],
    model_is_first: Sequence[bool],
    model_lengths: npt.ArrayLike,
    reference_lengths: npt.ArrayLike,
    *,
    margin: float = LENGTH_MARGIN,
    level: float = LEVEL,
) -> WildBenchReward:
    """WB-Reward (Lin et al. 2024, arXiv:2406.04770) of one model against one reference, one verdict a question.

    Raises:
        UsageError: when the columns differ in length, a label is unknown, or no verdict could be read.
    """
    raw = wildbench_values(verdicts, model_is_first)
    values = without_long_winners(raw, model_lengths, reference_lengths, margin)
    parsed = values[~np.isnan(values)]
    if not len(parsed):
        raise UsageError("no verdict could be read: there is no reward")
    count = Counter(parsed.tolist())
    return WildBenchReward(
        mean(np.nan_to_num(values, nan=0.0), level=level),
        mean(parsed, level=level),
        much_better=count[1.0],
        slightly_better=count[SLIGHT],
        ties=count[0.0],
        slightly_worse=count[-SLIGHT],
        much_worse=count[-1.0],
        unparsed=len(values) - len(parsed),
        shortened=int(np.sum((values == 0) & (np.abs(raw) == SLIGHT))),
    )


def wildbench_mix(values: Mapping[str, npt.ArrayLike], *, level: float = LEVEL) -> Estimate:
    """WB-Reward-Mix: the mean over references of the rewards; questions are drawn, with all their references.

    `values` holds one vector a reference, aligned by question, after the length rule; unparsed ones (NaN) count
    as 0, as in each reward.
    """
    rows = [np.asarray(column, dtype=np.float64) for column in values.values()]
    if not rows or len({len(row) for row in rows}) > 1:
        raise UsageError("WB-Reward-Mix needs the values of one or more references, aligned by question")
    return mean(np.nan_to_num(np.stack(rows), nan=0.0).mean(axis=0), level=level)


def wildbench_score(scores: npt.ArrayLike, *, level: float = LEVEL) -> Estimate:
    """WB-Score: `(mean - 5) * 2` of grades from 1 to 10, from -8 to 10 (WildBench prints it times 10).

    Unparsed grades (NaN) are left out: count them beside.
    """
    given = np.asarray(scores, dtype=np.float64)
    return mean(given[~np.isnan(given)], level=level).scaled(2.0, -10.0)


def task_macro(
    scores: npt.ArrayLike,
    tasks: Sequence[str],
    *,
    weights: Mapping[str, float] | None = None,
    level: float = LEVEL,
) -> Estimate:
    """The mean over tasks of each task's mean, equally or by given weights; the tasks are fixed, questions are drawn.

    Raises:
        UsageError: when a task has no parsed score, or no weight where weights are given.
    """
    given = np.asarray(scores, dtype=np.float64)
    if len(given) != len(tasks):
        raise UsageError(f"{len(given)} scores and {len(tasks)} tasks: give one task a score")
    names = list(dict.fromkeys(tasks))
    missing = [name for name in names if weights is not None and name not in weights]
    if missing:
        raise UsageError(f"no weight for {', '.join(missing)}")
    labels, parsed = np.array(tasks), ~np.isnan(given)
    means = [mean(_of_task(given, labels, parsed, name), level=level) for name in names]
    shares = np.array([1.0 if weights is None else weights[name] for name in names])
    return _weighted(means, shares / shares.sum(), level)


def _of_task(given: Floats, labels: npt.NDArray[Any], parsed: npt.NDArray[np.bool_], name: str) -> Floats:
    kept: Floats = given[(labels == name) & parsed]
    if not len(kept):
        raise UsageError(f"task {name} has no score that could be read")
    return kept


def _weighted(means: list[Estimate], shares: Floats, level: float) -> Estimate:
    """The weighted mean of independent estimates, with a normal interval."""
    value = float(sum(share * part.value for share, part in zip(shares, means, strict=True)))
    error = float(
        np.sqrt(sum((share * part.standard_error) ** 2 for share, part in zip(shares, means, strict=True)))
    )
    return around(value, error, normal_quantile(level), sum(part.n for part in means), "task macro, normal")


class ArenaHardRows(NamedTuple):
    """Scores of the model (1, 0.5, 0), their weights, and the row of the input each came from.

    `dropped` are input rows left out: unparsed ones, and the other games of the same question.
    """

    scores: Floats
    weights: Floats
    rows: Integers
    dropped: int


def arena_hard_rows(
    labels: Sequence[str | None],
    model_is_first: Sequence[bool],
    *,
    questions: Labels | None = None,
    strong: int = STRONG,
) -> ArenaHardRows:
    """Arena-Hard's verdicts as weighted scores: a strong verdict counts `strong` times, a tie is half a win.

    With `questions` (of one model), one unparsed game drops the question's other game too, as Arena-Hard does.

    Raises:
        UsageError: for a label that is not Arena-Hard's.
    """
    if len(labels) != len(model_is_first) or (questions is not None and len(questions) != len(labels)):
        raise UsageError("Arena-Hard needs one label, position and question a game")
    unknown = next(((row, v) for row, v in enumerate(labels) if v is not None and v not in ARENA_HARD), None)
    if unknown is not None:
        raise UsageError(f"row {unknown[0]}: {unknown[1]!r} is not an Arena-Hard verdict")
    asked = list(range(len(labels))) if questions is None else list(questions)
    broken = {question for question, label in zip(asked, labels, strict=True) if label is None}
    kept = [row for row, question in enumerate(asked) if question not in broken]
    pairs = [ARENA_HARD[label] for label in (labels[row] for row in kept) if label is not None]
    first = np.array([model_is_first[row] for row in kept], dtype=np.bool_)
    scores = np.array([score for score, _ in pairs], dtype=np.float64)
    weights = np.array([float(strong) if much else 1.0 for _, much in pairs])
    return ArenaHardRows(
        np.where(first, scores, 1 - scores), weights, np.array(kept, dtype=np.int64), len(labels) - len(kept)
    )


def arena_hard_score(
    labels: Sequence[str | None],
    model_is_first: Sequence[bool],
    questions: Labels,
    *,
    strong: int = STRONG,
    level: float = LEVEL,
    replicates: int = REPLICATES,
    seed: Seed = 0,
) -> Estimate:
    """Arena-Hard's score of one model against the baseline: the weighted mean, as a fraction.

    The interval draws questions with both of their games (Arena-Hard draws games, and reports level 0.9).
    """
    rows = arena_hard_rows(labels, model_is_first, questions=questions, strong=strong)
    if not len(rows.scores):
        raise UsageError("no verdict could be read: there is no score")
    repeats = rows.weights.astype(np.int64)
    asked = [questions[row] for row in np.repeat(rows.rows, repeats).tolist()]
    drawn = np.repeat(rows.scores, repeats)
    return bootstrap(
        drawn, clusters=asked, level=level, method="percentile", replicates=replicates, seed=seed
    )


@dataclass(frozen=True, slots=True)
class MTBench:
    """MT-bench grades from 1 to 10: the mean of each turn, and of all, with questions as the unit."""

    turns: tuple[Estimate, ...]
    overall: Estimate
    unparsed: int


def mt_bench(scores: npt.ArrayLike, *, level: float = LEVEL) -> MTBench:
    """The means of a matrix of grades, questions x turns; NaN for one that could not be read.

    Unparsed grades are left out, as FastChat does, and counted.

    Raises:
        UsageError: when it is no matrix, or a turn has no grade.
    """
    given = np.asarray(scores, dtype=np.float64)
    if given.ndim != 2:
        raise UsageError(f"MT-bench needs questions x turns; got an array of shape {given.shape}")
    read = ~np.isnan(given)
    empty = np.flatnonzero(~read.any(axis=0))
    if len(empty):
        raise UsageError(f"turn {empty[0] + 1} has no grade that could be read")
    turns = tuple(mean(column[seen], level=level) for column, seen in zip(given.T, read.T, strict=True))
    questions = np.nonzero(read)[0]
    return MTBench(turns, mean(given[read], clusters=questions, level=level), int((~read).sum()))
