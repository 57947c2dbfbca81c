"""Ballots of votes over subsets, as they are read from an experiment: what failed among them is not forgotten."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from moa.backends.base import Completion, Emit, Request
from moa.backends.simulated import Simulated
from moa.errors import ServerFailedError
from moa.evaluate.board import board
from moa.evaluate.deception.ballots import read_ballots
from moa.evaluate.deception.grid import grid
from moa.evaluate.deception.insights import insights
from moa.evaluate.deception.matrix import NONE, matrices
from moa.evaluate.folder import Folder
from moa.evaluate.opening import opened
from moa.evaluate.study import study
from moa.graph.bind import Bindings
from moa.run.retry import RetryPolicy
from moa.run.runner import Runner
from moa.spec.catalogue import load_eval
from moa.spec.evaluation import AnswerSpec
from moa.spec.model import ModelSpec

DEFENCE = "dropout-vote(size=1)"


class Moody:
    """A simulated member that fails where `refuses` says so."""

    def __init__(self, refuses: str) -> None:
        self.refuses = refuses
        self.inner = Simulated(ModelSpec(name="m", provider="sim", options={"skill": 1.0, "answer": "B"}))

    async def complete(self, request: Request, emit: Emit | None = None) -> Completion:
        said = json.dumps(request.messages)
        if self.refuses in said:
            raise ServerFailedError("out of order", status=500)
        return await self.inner.complete(request, emit)

    async def aclose(self) -> None:
        """Nothing to release."""


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Three questions; in the second `b` drafts nothing, in the third nobody does."""
    rows = [
        {"id": f"q{n}", "question": f"Question {n}?", "options": [*"wxyz"], "answer": "B"} for n in range(3)
    ]
    data = tmp_path / "items.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    alter = grid(load_eval("sample_choice").spec, [], [DEFENCE], None)
    graph = tmp_path / "three.yaml"
    graph.write_text(
        "nodes:\n  drafts: {agent: proposer, models: [a, b, c]}\n"
        "  answer: {agent: aggregator, model: a, inputs: drafts, quorum: 2, deadline: 60}\n"
    )
    models = {name: ModelSpec(name=name, provider="lent", model=name) for name in "abc"}
    bindings = Bindings(models=models)
    out = tmp_path / "out"
    planned = study("sample_choice", [str(graph)], bindings, out=out, data=data, alter=alter)

    async def run(folder: Folder) -> None:
        backends = {"a": Moody("Question 2"), "b": Moody("Question "), "c": Moody("Question 2")}
        backends["b"].refuses = "Question 1"
        async with Runner(backends=backends, retry=RetryPolicy(attempts=1)) as runner:
            await planned.trials(runner, folder).run()

    with opened(out, planned.design, planned.items) as opened_folder:
        asyncio.run(run(opened_folder))
    return Folder(out)


def test_a_ballot_that_failed_has_its_subset_and_no_vote(folder: Folder) -> None:
    entrant = next(each for each in folder.experiment.entrants if each.defence)
    found = read_ballots(folder, entrant, AnswerSpec(read="letter"))
    assert found is not None
    assert found.references == ("drafts[0]", "drafts[1]", "drafts[2]")
    votes = {item: {ballot.subset: ballot.vote for ballot in cast} for item, cast in found.cast.items()}
    assert votes["q0"] == {(0,): "B", (1,): "B", (2,): "B"}
    assert votes["q1"] == {(0,): "B", (1,): None, (2,): "B"}


def test_what_failed_counts_for_the_adversary_and_a_lost_question_as_not_certified(folder: Folder) -> None:
    standings = board([folder], bootstrap=10)
    [matrix] = matrices(standings)
    [certified] = insights(matrix, standings).certified
    # Three equal ballots withstand one. Two and a lost one do not: the adversary turns one of the two, and a tie
    # goes to whoever came first.
    assert certified.attack == NONE
    assert certified.answers == {"q0": 1, "q1": 0, "q2": None}
    assert [round(rate.value, 1) for rate in certified.rates[:2]] == [66.7, 33.3]
