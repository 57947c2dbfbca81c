"""Which of two labelled candidates a reply prefers, by log-probabilities or by its words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moa.errors import UsageError
from moa.nodes.preference import Preference, labels_in, read_preference
from moa.nodes.read import read_reply
from moa.spec.agent import AgentSpec

DIRECT = AgentSpec(name="judge", reads="preference")
BRACKETS = r"\[\[\s{0,3}([^\[\]\n]{1,60}?)\s{0,3}\]\]"
REASONED = AgentSpec(name="judge", reads="preference", pattern=BRACKETS)
KQ = ("K", "Q")


def spoken(*tokens: str | tuple[str, Mapping[str, float]]) -> dict[str, Any]:
    """Log-probabilities in the chat API's shape: tokens, some with probabilities of their alternatives."""
    return {"content": [_token(token) for token in tokens]}


def _token(token: str | tuple[str, Mapping[str, float]]) -> dict[str, Any]:
    text, others = token if isinstance(token, tuple) else (token, {token: 1.0})
    tops = [{"token": other, "logprob": math.log(p), "bytes": None} for other, p in others.items()]
    return {"token": text, "logprob": -0.1, "bytes": list(text.encode()), "top_logprobs": tops}


def read(
    text: str, logprobs: Any = None, agent: AgentSpec = DIRECT, labels: tuple[str, str] = KQ
) -> Preference | None:
    return read_preference(agent, text, logprobs, labels)


def found(
    text: str, logprobs: Any = None, agent: AgentSpec = DIRECT, labels: tuple[str, str] = KQ
) -> Preference:
    preference = read(text, logprobs, agent, labels)
    assert preference is not None
    return preference


# The formula


def test_it_is_the_share_of_the_first_label_among_both() -> None:
    preference = found("K", spoken(("K", {"K": 0.6, "Q": 0.2, "The": 0.1})))
    assert preference == pytest.approx(0.75)
    assert preference.method == "logprobs"
    assert preference.probabilities == pytest.approx((0.6, 0.2))


def test_alpaca_eval_takes_its_labels_to_the_letter() -> None:
    tops = {"m": 0.5, "M": 0.25, " m": 0.2}
    assert found("m", spoken(("m", tops)), labels=("m", "M")) == pytest.approx(2 / 3)


def test_spellings_of_a_label_are_summed() -> None:
    tops = {"K": 0.2, " K": 0.2, "k": 0.1, "**K": 0.1, "Q": 0.1, " q": 0.1, "Kind": 0.15}
    assert found("K", spoken(("K", tops))) == pytest.approx(0.6 / 0.8)


@pytest.mark.parametrize(("tops", "value"), [({"K": 0.9, "So": 0.1}, 1.0), ({"Q": 1e-9, "So": 0.9}, 0.0)])
def test_a_label_that_is_missing_has_no_probability(tops: Mapping[str, float], value: float) -> None:
    assert found("So", spoken(("So", tops))) == value


def test_without_either_label_there_is_no_preference() -> None:
    assert read("Well", spoken(("Well", {"Well": 0.9, "So": 0.1}))) is None


def test_probabilities_too_small_for_a_float_still_weigh() -> None:
    tops = [{"token": "K", "logprob": -1000.0}, {"token": "Q", "logprob": -1001.0}]
    logprobs = {"content": [{"token": "So", "logprob": 0.0, "top_logprobs": tops}]}
    assert found("So", logprobs) == pytest.approx(1 / (1 + math.exp(-1)))


@given(st.floats(-60, 0), st.floats(-60, 0))
def test_exchanging_the_labels_exchanges_the_shares(first: float, second: float) -> None:
    tops = [{"token": "K", "logprob": first}, {"token": "Q", "logprob": second}]
    logprobs = {"content": [{"token": "K", "logprob": first, "top_logprobs": tops}]}
    one, other = found("K", logprobs), found("K", logprobs, labels=("Q", "K"))
    assert 0 <= one <= 1
    assert one + other == pytest.approx(1)


# Where the label stands


@pytest.mark.parametrize(
    "tokens",
    [
        ["\n", ("K", {"K": 0.6, "Q": 0.2})],
        ["**", ("K", {"K": 0.6, "Q": 0.2}), "**"],
        ["Response", " ", ("K", {"K": 0.6, "Q": 0.2})],
        ["The", " better", " one", " is", (" K", {" K": 0.6, " Q": 0.2}), "."],
        ["<think>", "maybe Q", "</think>", "\n\n", ("K", {"K": 0.6, "Q": 0.2})],
    ],
)
def test_the_label_is_found_behind_other_tokens(tokens: Sequence[Any]) -> None:
    text = "".join(token if isinstance(token, str) else token[0] for token in tokens)
    assert found(text, spoken(*tokens)) == pytest.approx(0.75)


def test_a_reply_of_space_alone_is_judged_by_its_first_token() -> None:
    assert found("", spoken((" ", {" ": 0.5, "K": 0.3, "Q": 0.1}))) == pytest.approx(0.75)


def test_a_chain_of_thought_is_weighed_at_its_last_verdict() -> None:
    tokens: list[Any] = [
        "First [[",
        ("Q", {"Q": 0.9, "K": 0.1}),
        "]] but then [[",
        ("K", {"K": 0.6, "Q": 0.2}),
        "]]",
    ]
    text = "".join(token if isinstance(token, str) else token[0] for token in tokens)
    assert found(text, spoken(*tokens), REASONED) == pytest.approx(0.75)


def test_a_label_inside_a_larger_token_is_found() -> None:
    logprobs = spoken("So: ", ("[[K", {"[[K": 0.6, "[[Q": 0.2, "[[": 0.2}), "]]")
    assert found("So: [[K]]", logprobs, REASONED) == pytest.approx(0.75)


def test_labels_of_several_tokens_part_where_they_differ() -> None:
    labels = ("Answer-17", "Answer-42")
    logprobs = spoken("Answer", "-", ("17", {"17": 0.6, "42": 0.1, "4": 0.1, "99": 0.2}))
    assert found("Answer-17", logprobs, labels=labels) == pytest.approx(0.75)


def test_a_thought_without_an_end_is_no_verdict() -> None:
    assert read("<think>K", spoken("<think>", ("K", {"K": 0.6, "Q": 0.2}))) is None


def test_a_chain_of_thought_that_was_cut_off_is_not_read_at_its_first_token() -> None:
    assert read("K is", spoken(("K", {"K": 0.6, "Q": 0.4}), " is"), REASONED) is None


def test_without_alternatives_the_text_decides() -> None:
    logprobs = {"content": [{"token": "Q", "logprob": -0.7, "top_logprobs": []}]}
    assert (found("Q", logprobs), found("Q", logprobs).method) == (0.0, "text")


@pytest.mark.parametrize(
    "logprobs",
    [
        None,
        {},
        {"content": None},
        {"content": ["K"]},
        {"content": [{"token": None, "top_logprobs": [None, {"token": 3}, {"token": "K", "logprob": None}]}]},
        [],
        "K",
    ],
)
def test_odd_log_probabilities_leave_the_text_or_nothing(logprobs: Any) -> None:
    assert read("K", logprobs) in (None, 1.0)


# The text's verdict


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("K", 1.0),
        ("q", 0.0),
        (" **Q** ", 0.0),
        ("(K)", 1.0),
        ("Response K", 1.0),
        ("K.", 1.0),
        ("[[Q]]", 0.0),
        ("Q is rambling, so the better response is K.", 1.0),
        ("The answer is Q.", 0.0),
        ("K\n\nQ has a mistake in its second line.", 1.0),
        ("Both try hard.\nVerdict: Q", 0.0),
    ],
)
def test_a_label_is_read_from_few_words(text: str, value: float) -> None:
    assert found(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Neither.",
        "K or Q?",
        "K and Q are alike",
        "Kind regards",
        "A",
        "tie",
        "The better one is not K",
        "K+Q",
    ],
)
def test_what_is_no_verdict_is_not_read_as_one(text: str) -> None:
    assert read(text) is None


@pytest.mark.parametrize(
    ("verdict", "value", "grade"),
    [
        ("K", 1.0, None),
        ("q", 0.0, None),
        ("tie", 0.5, None),
        ("K++", 1.0, "A++"),
        ("K+", 0.75, "A+"),
        ("K=Q", 0.5, "A=B"),
        ("Q=K", 0.5, "A=B"),
        ("Q+", 0.25, "B+"),
        ("Q++", 0.0, "B++"),
        ("K>>Q", 1.0, "A>>B"),
        ("K > Q", 0.75, "A>B"),
        ("Q>K", 0.25, "B>A"),
        ("Q>>K", 0.0, "B>>A"),
        ("K<<Q", 0.0, "B>>A"),
    ],
)
def test_a_pattern_allows_ties_and_grades(verdict: str, value: float, grade: str | None) -> None:
    preference = found(f"Well.\n[[{verdict}]]", agent=REASONED)
    assert (preference, preference.grade, preference.method) == (value, grade, "text")


@pytest.mark.parametrize("verdict", ["A", "K>K", "K+++", "B=A", "K++Q", "...", "nobody", "K-"])
def test_other_verdicts_are_unreadable_and_no_earlier_one_is_taken(verdict: str) -> None:
    assert read(f"[[K]] at first. [[{verdict}]]", agent=REASONED) is None


def test_grades_are_read_from_the_text_even_with_log_probabilities() -> None:
    logprobs = spoken("[[", ("K", {"K": 0.9, "Q": 0.1}), "=Q", "]]")
    assert found("[[K=Q]]", logprobs, REASONED).grade == "A=B"


def test_a_certain_loss_is_not_taken_for_no_preference() -> None:
    logprobs = spoken("[[", ("Q", {"Q": 1.0}), "]]")
    preference = found("[[Q]]", logprobs, REASONED)
    assert (preference, preference.method) == (0.0, "logprobs")


@given(st.text(max_size=200))
def test_any_text_is_read_or_not(text: str) -> None:
    for agent in (DIRECT, REASONED):
        assert (preference := read(text, agent=agent)) is None or 0 <= preference <= 1


# The labels


def test_labels_come_with_the_question() -> None:
    assert read_reply(DIRECT, "Q", 0, given={"labels": ["K", "Q"]}) == 0.0


@pytest.mark.parametrize("labels", [None, "KQ", ["K"], ["K", ""], ["K", 2], ["K", "**"]])
def test_without_labels_nothing_can_be_read(labels: Any) -> None:
    with pytest.raises(UsageError, match="agent 'judge' reads a preference: pass the names"):
        labels_in(DIRECT, {"labels": labels})
