"""Positions of proposers: the codes of the paper, and seeded draws."""

from __future__ import annotations

import pytest

from moa.errors import UsageError
from moa.graph.layers import Seat, is_code, layers, read_code, sample_seats
from tests.graph.sketch import compiled

TWO_LAYERS = """
drafts:  {agent: proposer, models: [a, b, c]}
refined: {agent: aggregator, models: [a, b, c], inputs: drafts}
answer:  {agent: aggregator, model: a, inputs: refined}
"""
LAYERS = (("drafts[0]", "drafts[1]", "drafts[2]"), ("refined[0]", "refined[1]", "refined[2]"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (TWO_LAYERS, LAYERS),
        ("drafts: {agent: proposer, models: [a, b]}\nanswer: {select: longest, inputs: drafts}",
         (("drafts[0]", "drafts[1]"),)),
        ("drafts: {agent: proposer, models: [a, b, c]}\nkept: {select: {top-k: {k: 1}}, agent: chooser, model: a, inputs: drafts}\n"
         "more: {agent: aggregator, model: a, inputs: kept}\nanswer: {agent: aggregator, model: a, inputs: more}",
         (("drafts[0]", "drafts[1]", "drafts[2]"), ("more",))),
        ("drafts: {agent: proposer, model: a, samples: 5}\nanswer: {agent: aggregator, model: a, inputs: drafts, window: {size: 3, keep: 1}}",
         (tuple(f"drafts[{n}]" for n in range(5)),)),
        ("drafts: {agent: proposer, models: [a, b]}\ntalk: {agent: aggregator, models: [a, b], inputs: drafts, rounds: {times: 2, replace: drafts}}\n"
         "answer: {agent: aggregator, model: a, inputs: talk}",
         (("drafts[0]", "drafts[1]"), ("talk[0][0]", "talk[0][1]"), ("talk[1][0]", "talk[1][1]"))),
        ("drafts: {agent: proposer, models: [a, b]}\nrefined: {agent: aggregator, model: a, inputs: drafts}\n"
         "answer: {agent: aggregator, model: a, inputs: [drafts, refined]}",
         (("drafts[0]", "drafts[1]"), ("refined",))),
        ("answer: {agent: proposer, model: a}", ()),
    ],
)  # fmt: skip
def test_layers_hold_the_proposers(text: str, expected: object) -> None:
    assert layers(compiled(text)) == expected


def test_bug_2_layers_follow_the_wiring_and_not_a_count_of_models() -> None:
    """The published code finds the last references by dividing positions by the number of distinct models."""
    twins = TWO_LAYERS.replace("[a, b, c]", "[a, a, a]")
    three = twins.replace("answer:  {agent: aggregator, model: a, inputs: refined}",
                          "third: {agent: aggregator, models: [a, a], inputs: refined}\n"
                          "answer: {agent: aggregator, model: a, inputs: third}")  # fmt: skip
    assert layers(compiled(twins)) == LAYERS
    assert layers(compiled(three)) == (*LAYERS, ("third[0]", "third[1]"))


def test_codes_name_roles_by_position() -> None:
    assert read_code("000_003", LAYERS) == [Seat("refined[2]", "opposer")]
    assert read_code("100_020", LAYERS) == [Seat("drafts[0]", "deceiver"), Seat("refined[1]", "promoter")]
    assert read_code("000_000", LAYERS) == []
    assert is_code("000_003") and not is_code("004_000") and not is_code("000_") and not is_code("none")


@pytest.mark.parametrize("code", ["000", "0000_000", "000_000_000", "00_0003"])
def test_a_code_that_does_not_fit_is_refused(code: str) -> None:
    """Bug 12: the published code makes the error and forgets to raise it."""
    with pytest.raises(UsageError, match=f"{code}' does not fit the graph, whose proposers are 000_000"):
        read_code(code, LAYERS)


def test_bug_11_positions_are_drawn_by_their_seed_alone() -> None:
    """The published code draws them from the global generator before it is seeded."""
    drawn = [sample_seats([(1, "promoter"), (2, "opposer")], LAYERS, seed) for seed in (7, 7, 8)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert sorted(seat.role for seat in drawn[0]) == ["opposer", "opposer", "promoter"]
    assert len({seat.node for seat in drawn[0]}) == 3
    taken = {sample_seats([(1, "opposer")], LAYERS, seed)[0].node for seed in range(60)}
    assert taken == {node for layer in LAYERS for node in layer}


def test_more_deceivers_than_proposers_are_refused() -> None:
    with pytest.raises(UsageError, match="7 deceivers are more than the 6 proposers"):
        sample_seats([(7, "opposer")], LAYERS, 0)
