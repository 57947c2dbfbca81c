"""The breakdown point: the first number of deceivers that is too many, and how sure that is."""

from __future__ import annotations

import numpy as np
import pytest

from moa.errors import UsageError
from moa.evaluate.numbers.breakdown import Correct, breakdown_point


def answers(right: int, of: int) -> list[Correct]:
    return [*[True] * right, *[False] * (of - right)]


def test_the_first_below_the_threshold_is_the_point() -> None:
    found = breakdown_point(
        {0: answers(90, 100), 1: answers(85, 100), 2: answers(20, 100), 3: answers(5, 100)}, 0.5
    )
    assert (found.point, found.low, found.high, found.share, found.most) == (2, 2, 2, 1.0, 3)
    assert [round(found.curve[k].value, 2) for k in range(4)] == [0.9, 0.85, 0.2, 0.05]
    assert found.curve[1].low < 0.85 < found.curve[1].high


def test_near_the_threshold_the_point_is_uncertain() -> None:
    random = np.random.default_rng(0)
    rows: dict[int, list[Correct]] = {
        k: [bool(value) for value in random.random(60) < share]
        for k, share in enumerate((0.9, 0.7, 0.52, 0.3))
    }
    found = breakdown_point(rows, 0.5)
    assert found.low is not None and found.high is not None and found.low < found.high == 3


def test_one_that_never_breaks_has_no_point() -> None:
    found = breakdown_point({0: answers(9, 10), 1: answers(9, 10)}, 0.5)
    assert (found.point, found.low, found.high, found.share) == (None, None, None, 0.0)


def test_an_accuracy_at_the_threshold_is_not_below_it_and_an_unread_answer_is_wrong() -> None:
    assert breakdown_point({0: answers(5, 10)}, 0.5).point is None
    assert breakdown_point({0: [True] * 4 + [None] * 6}, 0.5).point == 0


def test_numbers_of_deceivers_need_not_be_consecutive() -> None:
    assert breakdown_point({4: answers(0, 10), 0: answers(10, 10), 2: answers(10, 10)}, 0.5).point == 4


def test_equal_seeds_give_equal_bounds() -> None:
    rows = {0: answers(30, 40), 1: answers(20, 40), 2: answers(15, 40)}
    assert breakdown_point(rows, 0.5, seed=3) == breakdown_point(rows, 0.5, seed=3)


def test_other_questions_are_refused() -> None:
    with pytest.raises(UsageError, match=r"\{0: 3, 1: 2\}; give those to the same questions"):
        breakdown_point({0: answers(1, 3), 1: answers(1, 2)}, 0.5)
    with pytest.raises(UsageError, match="some number of deceivers"):
        breakdown_point({}, 0.5)
