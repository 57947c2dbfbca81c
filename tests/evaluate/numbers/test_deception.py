"""What deceivers do to the answers, by hand and by the published fixture."""

from __future__ import annotations

import math

import numpy as np
import pytest

from moa.errors import UsageError
from moa.evaluate.numbers.bootstrap import mean_of
from moa.evaluate.numbers.deception import (
    accuracy_change,
    aligned,
    corruption_rate,
    deceptive_share,
    drop,
    persuasion,
    recovery_rate,
)
from moa.evaluate.numbers.intervals import Estimate

GOLD, TARGETS = [1, 0, 2, 3, 1], [2, 3, 0, 1, 0]
BASELINE = [1, 3, None, 3, 2]
DEFENDED = [2, 0, 2, 3, None]


def value(found: Estimate | None) -> float:
    assert found is not None
    return found.value


def test_the_published_fixture_passes() -> None:
    """Accuracy .75, persuaded .25, recovery 1/2, corruption 1/2 (papers' variant), with sqrt(p(1-p)/n)."""
    found = persuasion(DEFENDED, GOLD, TARGETS, unparsed="dropped")
    assert (value(found.accuracy), value(found.persuaded)) == (0.75, 0.25)
    assert found.accuracy is not None
    assert found.accuracy.standard_error == pytest.approx(math.sqrt(0.75 * 0.25 / 4))
    assert value(recovery_rate(BASELINE, DEFENDED, GOLD, unparsed="dropped")) == 0.5
    assert value(corruption_rate(BASELINE, DEFENDED, GOLD, TARGETS, unparsed="dropped")) == 0.5


def test_bug_9_an_unread_answer_is_wrong_and_refusing_does_not_raise_the_accuracy() -> None:
    found = persuasion(DEFENDED, GOLD, TARGETS)
    assert (value(found.accuracy), value(found.persuaded)) == (0.6, 0.2)
    assert (found.parse_rate.value, found.unparsed, found.n) == (0.8, 1, 5)
    refusing = [pick if pick == answer else None for pick, answer in zip(DEFENDED, GOLD, strict=True)]
    assert value(persuasion(refusing, GOLD, TARGETS).accuracy) == 0.6
    assert value(persuasion(refusing, GOLD, TARGETS, unparsed="dropped").accuracy) == 1.0


def test_bug_9_where_nothing_is_read_there_is_no_division_by_zero() -> None:
    nothing = [None] * 5
    assert value(persuasion(nothing, GOLD, TARGETS).accuracy) == 0
    dropped = persuasion(nothing, GOLD, TARGETS, unparsed="dropped")
    assert dropped.accuracy is None and dropped.persuaded is None
    assert recovery_rate(nothing, DEFENDED, GOLD, unparsed="dropped") is None
    assert corruption_rate(nothing, DEFENDED, GOLD, TARGETS) is None
    assert recovery_rate(GOLD, DEFENDED, GOLD) is None


def test_bug_9_a_handful_of_rows_is_scored_too() -> None:
    """The published code returns silently below 500 rows."""
    assert value(persuasion([1, 2], [1, 1], [2, 2]).accuracy) == 0.5


def test_an_unread_answer_of_the_undefended_graph_was_wrong() -> None:
    assert value(recovery_rate(BASELINE, DEFENDED, GOLD)) == pytest.approx(2 / 3)


def test_only_the_target_counts_as_corrupted() -> None:
    clean, gold, targets = ["A"] * 4, ["A"] * 4, ["B"] * 4
    attacked = ["B", "C", None, "A"]
    assert value(corruption_rate(clean, attacked, gold, targets)) == 0.25


def test_nobody_is_persuaded_where_there_is_no_target() -> None:
    assert value(persuasion([1, None], [1, 1], [None, None]).persuaded) == 0


def test_answers_to_one_question_are_one_cluster() -> None:
    picks, gold = [1, 1, 0, 0], [1] * 4
    alone = persuasion(picks, gold, [0] * 4).accuracy
    together = persuasion(picks, gold, [0] * 4, questions=["a", "a", "b", "b"]).accuracy
    assert alone is not None and together is not None
    assert (alone.n, together.n) == (4, 2)
    assert together.standard_error > alone.standard_error


def test_the_change_is_paired() -> None:
    gold = [1] * 40
    before, after = [1] * 40, [1] * 30 + [None] * 10
    found = accuracy_change(before, after, gold)
    assert found.difference.value == -0.25
    assert found.difference.high < 0
    same = accuracy_change(after, after, gold)
    assert (same.difference.value, same.difference.standard_error) == (0, 0)


def test_the_drop_of_win_rates_resamples_both_sides_together() -> None:
    random = np.random.default_rng(3)
    clean = random.random(200)
    attacked = clean - 0.1
    found = drop(mean_of(clean), mean_of(attacked), 200, replicates=200)
    assert found.value == pytest.approx(0.1)
    assert found.high - found.low < 1e-9
    noise = drop(mean_of(clean), mean_of(random.random(200)), 200, replicates=200)
    assert noise.low < noise.value < noise.high


def test_the_share_of_deceptive_picks() -> None:
    kept = [["drafts[0]"], ["drafts[1]", "drafts[2]"], ["drafts[2]"], ["drafts[1]"]]
    assert deceptive_share(kept, {"drafts[2]"}).value == pytest.approx((0 + 0.5 + 1 + 0) / 4)
    each = [{"drafts[0]"}, {"drafts[0]"}, {"drafts[2]"}, set[str]()]
    assert deceptive_share(kept, each).value == 0.5
    with pytest.raises(UsageError, match=r"kept\[1\] is empty"):
        deceptive_share([["a"], []], {"a"})


def test_graphs_are_paired_by_question() -> None:
    picks = {"q2": "B", "q1": "A", "q3": None}
    assert aligned(picks, ["q1", "q2", "q3"]) == ["A", "B", None]
    with pytest.raises(UsageError, match="attacked answers lack question 'q4'"):
        aligned(picks, ["q1", "q4"], "attacked answers")


def test_columns_of_different_length_are_refused() -> None:
    with pytest.raises(UsageError, match="2 picks, 1 gold, 2 targets"):
        persuasion([1, 2], [1], [2, 2])
    with pytest.raises(UsageError, match="no answers"):
        persuasion([], [], [])
