"""What a plan promises: who counts as corrupted, and which graphs promise nothing."""

from __future__ import annotations

import pytest

import moa
from moa.evaluate.deception.promise import Promise, described, promise


def promised(graph: str, defence: str) -> Promise | None:
    return promise(moa.defend(graph, defence).plan())


@pytest.mark.parametrize(
    ("graph", "defence", "references", "agents"),
    [
        ("moa-lite", "dropout-vote", 0, 0),
        ("moa-lite", "dropout-vote(size=1)", 2, 2),
        ("moa-lite", "dropout-vote(size=2)", 1, 1),
        ("moa", "dropout-vote(size=1)", 2, 0),
        ("moa-3-3-1", "dropout-vote(size=1)", 1, 0),
    ],
)
def test_an_agent_that_all_references_hear_corrupts_all_of_them(
    graph: str, defence: str, references: int, agents: int
) -> None:
    found = promised(graph, defence)
    assert found is not None
    assert (found.certifiable, found.agents) == (references, agents)


@pytest.mark.parametrize("defence", ["none", "cluster-filter", "vote", "dropout-medoid", "trimmed-vote"])
def test_only_a_majority_over_subsets_promises_anything(defence: str) -> None:
    assert promised("moa-lite", defence) is None


def test_a_sample_of_subsets_is_counted_as_it_was_drawn() -> None:
    found = promised("moa-lite", "dropout-sample(size=1,count=5,seed=3)")
    assert found is not None
    assert (found.ballots, found.certifiable, len(found.references)) == (5, 2, 5)


def test_the_words_name_a_better_size_where_there_is_one() -> None:
    found = promised("moa-lite", "dropout-vote(size=2)")
    assert found is not None
    assert described(found) == (
        "15 equal ballots withstand 1 of 6 corrupted references; "
        "subsets of size 1 would withstand 2, for 6 calls"
    )
    best = promised("moa-lite", "dropout-vote(size=1)")
    assert best is not None and best.best is None
