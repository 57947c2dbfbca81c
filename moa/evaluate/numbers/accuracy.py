"""Right or wrong: accuracy with unparsed answers as wrong, exact match, and checklists."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from moa.errors import UsageError
from moa.evaluate.numbers.intervals import LEVEL, Estimate, Labels, bounded_mean, mean

Verdict = bool | float | None


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Fractions: of all answers that are right, of those that could be read, and of those that were read."""

    accuracy: Estimate
    parse_rate: Estimate
    accuracy_when_parsed: Estimate | None
    correct: int
    unparsed: int
    n: int


@dataclass(frozen=True, slots=True)
class PassRate:
    """Checklists: `drfr` is the share of all checks that pass, `per_answer` the mean over answers of their share.

    Checks that the judge left open count as failed and are counted in `unparsed`.
    """

    drfr: Estimate
    per_answer: Estimate
    all_passed: Estimate
    checks: int
    unparsed: int


def accuracy(
    correct: Sequence[Verdict], *, questions: Labels | None = None, level: float = LEVEL
) -> Accuracy:
    """How many answers are right; None is an answer that could not be read, and counts as wrong.

    `questions` names each answer's question where a question was answered several times. The interval is
    Wilson's at the effective sample size.

    Raises:
        UsageError: when there are no answers, or a value is not from 0 to 1.
    """
    read = [row for row, verdict in enumerate(correct) if verdict is not None]
    values = np.array([0.0 if verdict is None else float(verdict) for verdict in correct])
    parsed = np.array([float(verdict is not None) for verdict in correct])
    labels = None if questions is None else [questions[row] for row in read]
    return Accuracy(
        bounded_mean(values, clusters=questions, level=level),
        bounded_mean(parsed, clusters=questions, level=level),
        bounded_mean(values[read], clusters=labels, level=level) if read else None,
        correct=int(np.sum(values == 1)),
        unparsed=len(correct) - len(read),
        n=len(correct),
    )


def exact_match(
    answers: Sequence[str | None], references: Sequence[str], normalise: Callable[[str], str] = str.strip
) -> list[bool | None]:
    """Whether each answer equals its reference after normalising both; None stays None.

    Raises:
        UsageError: when there is not one reference for each answer.
    """
    if len(answers) != len(references):
        raise UsageError(f"{len(answers)} answers and {len(references)} references: give one an answer")
    return [
        None if answer is None else normalise(answer) == normalise(reference)
        for answer, reference in zip(answers, references, strict=True)
    ]


def pass_rate(checklists: Sequence[Sequence[bool | None]], *, level: float = LEVEL) -> PassRate:
    """The decomposed requirements following ratio (Qin et al. 2024, arXiv:2401.03601) and TICK's mean pass rate.

    One checklist an answer: True passed, False failed, None not decided. TICK: Cook et al. 2024, arXiv:2410.03608.

    Raises:
        UsageError: when a checklist is empty; names it.
    """
    empty = [row for row, checks in enumerate(checklists) if not checks]
    if empty:
        raise UsageError(f"checklist {empty[0]} is empty: an answer without checks has no pass rate")
    values = [float(bool(check)) for checks in checklists for check in checks]
    answers = [row for row, checks in enumerate(checklists) for _ in checks]
    shares = [sum(map(bool, checks)) / len(checks) for checks in checklists]
    return PassRate(
        bounded_mean(values, clusters=answers, level=level),
        mean(shares, level=level),
        bounded_mean([float(all(checks)) for checks in checklists], level=level),
        checks=len(values),
        unparsed=sum(check is None for checks in checklists for check in checks),
    )
