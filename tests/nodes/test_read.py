"""Verdicts in replies, as models really write them."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moa.nodes.read import read_reply
from moa.spec.agent import AgentSpec, Reads

KINDS: list[Reads] = ["text", "choice", "score", "ranking", "json"]


def read(reads: Reads, text: str, count: int = 5, pattern: str | None = None) -> Any:
    return read_reply(AgentSpec(name="judge", reads=reads, pattern=pattern), text, count)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("[[3]]", 3),
        ("[[2]] because Response 1 is wrong", 2),
        ("Response 1 is long. Response 3 is best.", 3),
        ("Response 3 is better than Response 1", 3),
        ("Response 3 wins", 3),
        ("best: 3", 3),
        ("I compared them all.\n\n3", 3),
        ("**3**", 3),
        ("1", 1),
        ("The most consistent response is Response 2.", 2),
        ("The most consistent response is Response 2. Response 4 differs.", 2),
        ("Answer: (4)", 4),
        ("Final answer: **Response 5**", 5),
        ("The best response is [4]", 4),
        ("Best response:\n\n**Response 2**", 2),
        ("I'd go with response #2", 2),
        ("I pick [1]", 1),
        ("My choice: 2.", 2),
        ("Response 2 is not the best. I choose 1", 1),
        ("The best one is Response 4, not Response 2.", 4),
        ("Both Response 1 and Response 2 are wrong, so Response 3", 3),
        ("Response 1: good, 7/10\nResponse 2: bad, 3/10\nBest: 1", 1),
        ("1. Response A\n2. it lists 3 things\nThe winner is response 4!", 4),
        ("In 2024, Response 2", 2),
        ("<think>best: 2</think>Best: 3", 3),
    ],
)
def test_a_choice_is_the_verdict(text: str, number: int) -> None:
    assert read("choice", text) == number


@pytest.mark.parametrize(
    "text",
    [
        "",
        "There are 5 responses. I like none.",
        "3.5",
        "Best: 9",
        "Best: Response 12",
        "0",
        "[[0]]",
        "Score 7/10",
        "<think>best: 2",
    ],
)
def test_a_choice_that_is_not_made_is_none(text: str) -> None:
    assert read("choice", text) is None


def test_options_restated_before_the_verdict_are_not_the_verdict() -> None:
    """The Doge code takes the first `(d)` in sight, and so an option that is merely quoted."""
    assert read("choice", "Options: (1) red (2) green (3) blue.\nAnswer: (2)") == 2


def test_numbers_of_two_digits_are_read_whole() -> None:
    assert read("choice", "Best: 12", count=15) == 12


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("7/10", 7.0),
        ("Score: 8.5", 8.5),
        ("I'd say 7 out of 10 at first. Score: 6/10", 6.0),
        ("Score: 3/10 at first; final score: 4/10", 4.0),
        ("8", 8.0),
        ("[[6]]", 6.0),
        ("Rating is **9**", 9.0),
        ("The overall score is 10.", 10.0),
        ("I'd give it 7, really 7.", 7.0),
        ("Score: -1", -1.0),
    ],
)
def test_a_score_is_the_last_one_given(text: str, score: float) -> None:
    assert read("score", text) == score


@pytest.mark.parametrize("text", ["", "good", "between 3 and 5"])
def test_a_score_that_is_not_given_is_none(text: str) -> None:
    assert read("score", text) is None


@pytest.mark.parametrize(
    ("text", "ranking"),
    [
        ("[4] > [2] > [1]", [4, 2, 1]),
        ("First thought: [1] > [2]\nFinal: **[2] > [1]**", [2, 1]),
        ("4, 2, 1", [4, 2, 1]),
        ("[4, 2, 1]", [4, 2, 1]),
        ("Response 4 > Response 2", [4, 2]),
        ("1. Response 4\n2. Response 1", [4, 1]),
        ("best: 2", [2]),
    ],
)
def test_a_ranking_is_read_in_each_common_form(text: str, ranking: list[int]) -> None:
    assert read("ranking", text) == ranking


def test_a_ranking_drops_repeats_and_strangers_and_invents_nobody() -> None:
    assert read("ranking", "[4] > [4] > [9] > [2]") == [4, 2]
    assert read("ranking", "[8] > [9]") is None
    assert read("ranking", "they are all fine") is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('Here: ```json\n{"a": 1}\n``` done', {"a": 1}),
        ('```\n{"a": 1}\n```', {"a": 1}),
        ('{"a": {"b": [1]}} and then {"c": 2}', {"c": 2}),
        ("[1, 2]", None),
        ("{a: 1}", None),
        ("", None),
    ],
)
def test_json_is_the_last_object(text: str, value: Any) -> None:
    assert read("json", text) == value


def test_text_is_the_text() -> None:
    assert read("text", " as it is ") == " as it is "


@pytest.mark.parametrize(
    ("reads", "pattern", "text", "value"),
    [
        ("choice", r"pick (\d)", "pick 2, no, pick 3. [[1]]", 3),
        ("choice", r"pick (\d)", "[[1]]", None),
        ("choice", r"pick (\d)", "pick 9", None),
        ("score", r"^grade=(.*)$", "grade=2\ngrade=4.5", 4.5),
        ("ranking", r"order: (.*)", "order: 3 1 3", [3, 1]),
        ("json", r"<out>(.*)</out>", '<out>{"a": 1}</out> {"b": 2}', {"a": 1}),
        ("text", r"<out>(.*)</out>", "x <out>yes</out>", "yes"),
    ],
)
def test_a_pattern_reads_its_last_match(reads: Reads, pattern: str, text: str, value: Any) -> None:
    assert read(reads, text, pattern=pattern) == value


@pytest.mark.parametrize("reads", KINDS)
@given(text=st.text() | st.text(alphabet='0123456789[]{}()>,.:/"` \nbestresponse'), count=st.integers(0, 20))
def test_no_text_raises_and_no_number_is_made_up(reads: Reads, text: str, count: int) -> None:
    value = read(reads, text, count)
    if reads == "choice":
        assert value is None or 1 <= value <= count
    if reads == "ranking":
        assert value is None or (
            value and set(value) <= set(range(1, count + 1)) and len(set(value)) == len(value)
        )


@pytest.mark.parametrize(
    "unit", ["best ", "(", "1 ", "response 1 ", "{", '{"a":', "[[", " ", "\n", "1>", "score*", "<think>"]
)
def test_hostile_replies_take_no_time(unit: str) -> None:
    text = unit * (50_000 // len(unit))
    began = time.process_time()
    for reads in KINDS:
        read(reads, text)
    assert time.process_time() - began < 5
