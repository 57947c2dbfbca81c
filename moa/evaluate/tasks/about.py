"""What an evaluation asks, and what it takes to run it, in words."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from moa.evaluate.tasks.hub import described, here
from moa.evaluate.tasks.load import count_items
from moa.spec.evaluation import EvalSpec, JudgeSpec

_USUAL = {"pairwise": "judge-pairwise", "score": "judge-score", "checklist": "checklist-answerer"}
_ORDERS = {
    "both": "in both orders",
    "seeded": "in one order, drawn by seed",
    "fixed": "with the baseline first",
}
_READS = {
    "number": "the number it comes to",
    "boxed": "the formula in its box",
    "letter": "the letter of an option",
    "index": "the number of an option",
    "literal": "the Python literal it comes to",
    "text": "its words",
}


class About(NamedTuple):
    """How many items there are, where the files are on this machine, and what a run needs."""

    items: int | None
    """None where the data are not on this machine."""
    needs: tuple[str, ...]


def about(spec: EvalSpec, near: Path | None, environ: Mapping[str, str] = os.environ) -> About:
    """What there is to know of an evaluation before it is run; nothing is downloaded.

    Raises `UsageError` where its data are on this machine and cannot be read.
    """
    known = here(spec.data, near, environ) is not None
    return About(count_items(spec, near) if known else None, tuple(_needs(spec, near, known, environ)))


def _needs(spec: EvalSpec, near: Path | None, known: bool, environ: Mapping[str, str]) -> Iterator[str]:
    if not known:
        remedy = (
            "--data FILE names yours"
            if spec.data.path
            else "downloaded when it is first used, or --data FILE"
        )
        yield f"data: {described(spec.data)} ({remedy})"
    if spec.judge is not None:
        yield _judge(spec.judge)
    if spec.answer is not None:
        yield f"no judge: of each answer {_READS[spec.answer.read]} is compared with the right one"
    if spec.baseline is not None:
        there = here(spec.baseline, near, environ) is not None
        where = "on this machine" if there else f"downloaded: {described(spec.baseline)}"
        yield f"baseline: recorded outputs of {spec.baseline.name} ({where})"
    elif spec.judge is not None and spec.judge.kind == "pairwise":
        yield "baseline: an entrant (--baseline NAME; `single` where it takes part)"


def _judge(judge: JudgeSpec) -> str:
    who = f"the graph `{judge.graph}`" if judge.graph else f"the agent `{judge.agent or _USUAL[judge.kind]}`"
    how = f", {_ORDERS[judge.order]}" if judge.kind == "pairwise" else ""
    model = "a model that you name with --judge" if judge.model == "judge" else f"the model {judge.model}"
    return f"judge: {who} on {model}{how}"
