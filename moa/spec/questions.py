"""What an evaluation's own parts say about each other, checked where they stand in the file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from moa.errors import Problem
from moa.spec.agent import Spec
from moa.spec.document import Document, Path
from moa.spec.evaluation import EvalSpec, Number
from moa.spec.prompts import at_line
from moa.spec.template import TemplateMistake, check

_OF_PAIRS: tuple[Number, ...] = (
    "win-rate",
    "length-controlled",
    "discrete-win-rate",
    "style-controlled",
    "wb-reward",
    "bradley-terry",
    "elo",
)
NUMBERS: Mapping[str, tuple[Number, ...]] = {
    "pairwise": _OF_PAIRS,
    "score": ("mean-score", "wb-score"),
    "checklist": ("pass-rate",),
    "answer": ("accuracy", "parse-rate"),
}
"""The figures that can be had from each way to judge."""


class _Mistake(NamedTuple):
    loc: Path
    message: str


def find_question_problems(spec: Spec, document: Document, lost: Iterable[Path] = ()) -> list[Problem]:
    """The mistakes in an evaluation's templates, and numbers that its way to judge cannot give.

    What rests on a value that is among the `lost` is left out. Empty for any other kind of spec.
    """
    if not isinstance(spec, EvalSpec):
        return []
    found = [at_line((field,), mistake, document) for field, mistake in _templates(spec)]
    if not any(place[0] in {"judge", "answer"} for place in lost):
        found += [document.problem(mistake.loc, mistake.message) for mistake in _misfits(spec)]
    return found


def _templates(spec: EvalSpec) -> Iterator[tuple[str, TemplateMistake]]:
    for field, template in (("prompt", spec.prompt), ("system", spec.system)):
        for mistake in check(template, None) if template is not None else ():
            yield field, mistake


def _misfits(spec: EvalSpec) -> Iterator[_Mistake]:
    way = spec.judge.kind if spec.judge else "answer"
    for index, number in enumerate(spec.numbers):
        if number not in NUMBERS[way]:
            message = f"`{number}` cannot be had from `{way}`; these can: {', '.join(NUMBERS[way])}"
            yield _Mistake(("numbers", index), message)
    if spec.baseline is not None and way != "pairwise":
        yield _Mistake(("baseline",), "only a pairwise judge compares with a baseline")
