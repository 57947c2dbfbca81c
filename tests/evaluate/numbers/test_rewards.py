"""WildBench's, Arena-Hard's and MT-bench's rules, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from moa.errors import UsageError
from moa.evaluate.numbers.rewards import (
    arena_hard_rows,
    arena_hard_score,
    mt_bench,
    task_macro,
    wildbench_mix,
    wildbench_reward,
    wildbench_score,
    wildbench_values,
    without_long_winners,
)

NAN = math.nan
ALL = ["A++", "A+", "A=B", "B+", "B++"]


def test_a_verdict_is_seen_from_the_models_side() -> None:
    assert wildbench_values(ALL, [True] * 5).tolist() == [1, 0.5, 0, -0.5, -1]
    assert wildbench_values(ALL, [False] * 5).tolist() == [-1, -0.5, 0, 0.5, 1]


@pytest.mark.parametrize(
    ("verdict", "model", "reference", "worth"),
    [
        ("A+", 1500, 1000, 0.5),  # exactly K longer still wins
        ("A+", 1501, 1000, 0.0),
        ("A++", 9000, 10, 1.0),  # "much" never changes
        ("B+", 1000, 1501, 0.0),  # a slight loss to a longer answer is a tie as well
        ("B+", 1000, 1500, -0.5),
        ("B+", 9000, 10, -0.5),
        ("B++", 10, 9000, -1.0),
        ("A+", 10, 9000, 0.5),
    ],
)
def test_the_length_rule(verdict: str, model: int, reference: int, worth: float) -> None:
    found = wildbench_reward([verdict], [True], [model], [reference], margin=500)
    assert found.reward.value == worth
    assert found.shortened == (worth == 0)


@pytest.mark.parametrize("margin", [-1, math.inf])
def test_the_length_rule_can_be_switched_off(margin: float) -> None:
    values = wildbench_values(["A+", "B+"], [True, True])
    assert without_long_winners(values, [9000, 1], [1, 9000], margin).tolist() == [0.5, -0.5]


def test_the_reward_counts_unparsed_verdicts_and_ours_does_not() -> None:
    found = wildbench_reward(["A++", "A+", "A=B", "B+", None], [True] * 5, [1] * 5, [1] * 5)
    assert found.reward.value == pytest.approx((1 + 0.5 - 0.5) / 5)
    assert found.parsed_reward.value == pytest.approx((1 + 0.5 - 0.5) / 4)
    counts = (found.much_better, found.slightly_better, found.ties, found.slightly_worse, found.much_worse)
    assert counts == (1, 1, 1, 1, 0)
    assert (found.unparsed, found.reward.n, found.parsed_reward.n) == (1, 5, 4)


def test_mix_is_the_mean_over_references() -> None:
    found = wildbench_mix({"gpt": [1, 0, NAN], "haiku": [0.5, 0.5, 1], "llama": [0, 1, -1]})
    assert found.value == pytest.approx((1.5 + 1.5 + 0) / 9)
    assert found.n == 3


def test_wildbench_refuses_what_it_cannot_read() -> None:
    with pytest.raises(UsageError, match="row 1: 'A' is not a WildBench verdict"):
        wildbench_values(["A+", "A"], [True, True])
    with pytest.raises(UsageError, match="no verdict could be read"):
        wildbench_reward([None], [True], [1], [1])
    with pytest.raises(UsageError, match="2 verdicts and lengths"):
        wildbench_reward(["A+", "A+"], [True, True], [1], [1])
    with pytest.raises(UsageError, match="1 verdicts and 2 positions"):
        wildbench_values(["A+"], [True, True])
    with pytest.raises(UsageError, match="aligned by question"):
        wildbench_mix({"gpt": [1], "haiku": [1, 2]})


def test_score_stretches_the_grades() -> None:
    found = wildbench_score([7, 8, 9, NAN])
    assert found.value == 6
    assert found.standard_error == pytest.approx(2 / math.sqrt(3))
    assert found.n == 3


def test_a_macro_mean_weighs_tasks_and_not_questions() -> None:
    scores, tasks = [1.0, 2.0, 3.0, 9.0, 11.0, NAN], ["chat", "chat", "chat", "code", "code", "code"]
    found = task_macro(scores, tasks)
    assert found.value == 6
    # The errors of both means, 1/sqrt(3) and 1, each with half the weight.
    assert found.standard_error == pytest.approx(math.sqrt(1 / 3 + 1) / 2)
    assert task_macro(scores, tasks, weights={"chat": 3, "code": 1}).value == 4


def test_a_macro_mean_needs_every_task() -> None:
    with pytest.raises(UsageError, match="task code has no score"):
        task_macro([1.0, NAN], ["chat", "code"])
    with pytest.raises(UsageError, match="no weight for code"):
        task_macro([1.0, 2.0], ["chat", "code"], weights={"chat": 1})
    with pytest.raises(UsageError, match="give one task a score"):
        task_macro([1.0], ["chat", "code"])


def test_arena_hard_labels_and_weights() -> None:
    labels = ["A>>B", "A>B", "A=B", "B>A", "B>>A", "A<B", "A<<B", "B<A", "B<<A", "B=A"]
    rows = arena_hard_rows(labels, [True] * 10)
    assert rows.scores.tolist() == [1, 1, 0.5, 0, 0, 0, 0, 1, 1, 0.5]
    assert rows.weights.tolist() == [3, 1, 1, 1, 3, 1, 3, 1, 3, 1]
    swapped = arena_hard_rows(labels, [False] * 10)
    assert swapped.scores.tolist() == [0, 0, 0.5, 1, 1, 1, 1, 0, 0, 0.5]


def test_an_unparsed_game_drops_its_question() -> None:
    labels = ["A>B", None, "B>A", "A>>B"]
    rows = arena_hard_rows(labels, [False, True, False, True], questions=["p", "p", "q", "q"])
    assert rows.rows.tolist() == [2, 3]
    assert rows.scores.tolist() == [1, 1]
    assert rows.dropped == 2
    assert arena_hard_rows(labels, [True] * 4).rows.tolist() == [0, 2, 3]


def test_the_score_is_the_mean_of_repeated_rows() -> None:
    labels, first, asked = ["A>>B", "A>B", "A=B", "B>A"], [True, False, True, False], [1, 1, 2, 2]
    found = arena_hard_score(labels, first, asked)
    assert found.value == pytest.approx((3 * 1 + 0 + 0.5 + 1) / 6)
    assert found.n == 2
    assert found.low <= found.value <= found.high
    assert found == arena_hard_score(labels, first, asked)


def test_arena_hard_refuses_other_labels() -> None:
    with pytest.raises(UsageError, match=r"row 0: 'A\+\+' is not an Arena-Hard verdict"):
        arena_hard_rows(["A++"], [True])
    with pytest.raises(UsageError, match="there is no score"):
        arena_hard_score([None, "A>B"], [True, False], ["p", "p"])
    with pytest.raises(UsageError, match="one label, position and question"):
        arena_hard_rows(["A>B"], [True, False])


def test_mt_bench_means_per_turn() -> None:
    found = mt_bench(np.array([[9, 7], [8, NAN], [10, 6]]))
    assert [turn.value for turn in found.turns] == [9, 6.5]
    assert found.overall.value == 8
    # Each question's grades add up to 8 a grade, so questions do not differ at all.
    assert found.overall.standard_error == 0
    assert (found.overall.n, found.unparsed) == (3, 1)


def test_mt_bench_needs_grades_in_each_turn() -> None:
    with pytest.raises(UsageError, match="turn 2 has no grade"):
        mt_bench(np.array([[9, NAN], [8, NAN]]))
    with pytest.raises(UsageError, match="questions x turns"):
        mt_bench([9, 8])
