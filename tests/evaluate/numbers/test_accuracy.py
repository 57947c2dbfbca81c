"""Accuracy and checklists by hand."""

from __future__ import annotations

import pytest

from moa.errors import UsageError
from moa.evaluate.numbers.accuracy import accuracy, exact_match, pass_rate


def test_an_unparsed_answer_is_wrong_and_shown_beside() -> None:
    found = accuracy([True, False, None, True, None])
    assert found.accuracy.value == pytest.approx(0.4)
    assert found.parse_rate.value == pytest.approx(0.6)
    assert found.accuracy_when_parsed is not None
    assert found.accuracy_when_parsed.value == pytest.approx(2 / 3)
    assert (found.correct, found.unparsed, found.n) == (2, 2, 5)


def test_the_error_is_that_of_a_mean() -> None:
    assert accuracy([True] * 3 + [False]).accuracy.standard_error == pytest.approx(0.25)


def test_all_right_leaves_room_below() -> None:
    found = accuracy([True] * 20).accuracy
    assert found.high == 1
    assert 0.8 < found.low < 0.9


def test_nothing_parsed_is_no_accuracy_when_parsed() -> None:
    found = accuracy([None, None])
    assert found.accuracy.value == 0
    assert found.parse_rate.value == 0
    assert found.accuracy_when_parsed is None


def test_samples_of_one_question_are_clustered() -> None:
    found = accuracy([True, True, False, None], questions=["p", "p", "q", "q"])
    assert (found.accuracy.n, found.n) == (2, 4)
    assert found.accuracy_when_parsed is not None
    assert found.accuracy_when_parsed.n == 2


def test_no_answers_are_refused() -> None:
    with pytest.raises(UsageError, match="no values"):
        accuracy([])


def test_exact_match_normalises_both() -> None:
    assert exact_match([" 42 ", "42.0", None], ["42", "42", "42"]) == [True, False, None]
    assert exact_match(["Yes"], ["yes"], str.casefold) == [True]
    with pytest.raises(UsageError, match="1 answers and 2 references"):
        exact_match(["a"], ["a", "b"])


def test_checklists_count_checks_and_answers() -> None:
    found = pass_rate([[True, True, False, None], [True, True]])
    assert found.drfr.value == pytest.approx(4 / 6)
    assert found.per_answer.value == pytest.approx((0.5 + 1) / 2)
    assert found.all_passed.value == 0.5
    assert (found.checks, found.unparsed, found.drfr.n) == (6, 1, 2)


def test_an_empty_checklist_is_refused() -> None:
    with pytest.raises(UsageError, match="checklist 1 is empty"):
        pass_rate([[True], []])
