import enum
import json
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moa.errors import UsageError
from moa.run.keys import (
    LONG,
    Texts,
    base_key,
    canonical,
    condensed,
    digest,
    expanded,
    request_key,
    sample_key,
    split_key,
)

MESSAGES = [{"role": "user", "content": "Why is the sky blue?"}]
GOLDEN_SHORT = "095889724556b82cc2ba280ae4b03918cc53c2824587808f543958389ee46a7e"
GOLDEN_LONG = "1d3456cc846c28fbd2b1ff192860a9bf4d1989b82fd612c8d03f25b48ba3082b"

TEXTS = st.text(max_size=20) | st.text(min_size=LONG, max_size=LONG + 3)
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("ab#") | TEXTS, inner, max_size=4)
    ),
    max_leaves=12,
)


class Role(enum.StrEnum):
    USER = "user"


class Level(enum.IntEnum):
    THREE = 3


@given(JSON_VALUES)
def test_canonical_json_means_what_was_written(value: Any) -> None:
    assert json.loads(canonical(value)) == value


@given(st.dictionaries(TEXTS, NUMBERS, max_size=5))
def test_the_order_of_keys_does_not_matter(value: dict[str, float]) -> None:
    assert canonical(dict(reversed(value.items()))) == canonical(value)


@given(JSON_VALUES)
def test_condensed_json_comes_back_whole(value: Any) -> None:
    texts: Texts = {}
    assert expanded(json.loads(condensed(value, texts)), texts.__getitem__) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": 1, "a": [1.0, -0.0, 0.5]}, '{"a":[1,0,0.5],"b":1}'),
        ((True, False, None, 1), "[true,false,null,1]"),
        (1e22, "1e+22"),
        (10**22, "10000000000000000000000"),
        ({"role": Role.USER, "level": Level.THREE}, '{"level":3,"role":"user"}'),
        (MappingProxyType({"é": 'a"\n'}), '{"é":"a\\"\\n"}'),
    ],
)
def test_canonical_form(value: Any, text: str) -> None:
    assert canonical(value) == text


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (float("nan"), "nan"),
        ({"temperature": float("inf")}, "inf"),
        ({1: "a"}, "key 1"),
        ({1: "a", "b": "c"}, "plain JSON"),
        ([b"bytes"], "bytes"),
        ({"tools": {object}}, "set"),
    ],
)
def test_what_json_cannot_hold_is_refused(value: Any, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        canonical(value)


def test_a_value_that_holds_itself_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(UsageError, match="recursion"):
        canonical(value)


def test_keys_stay_what_they_were() -> None:
    """These are in users' stores: a change here would ask everything anew."""
    long = [{"role": "user", "content": "x" * LONG}]
    assert base_key("sim:a", MESSAGES, {"temperature": 0.7, "top_p": 1.0}) == GOLDEN_SHORT
    assert base_key("sim:a", long, {}) == GOLDEN_LONG


def test_the_base_is_the_digest_of_the_condensed_request() -> None:
    long = [{"role": "user", "content": "x" * 1000}]
    written = f'["sim:a",[{{"content":{{"#":"{digest("x" * 1000)}"}},"role":"user"}}],{{"n":1}}]'
    assert base_key("sim:a", long, {"n": 1}) == digest(written)


def test_equal_requests_have_one_key() -> None:
    mine = request_key("sim:a", MESSAGES, {"temperature": 1, "top_p": 0.5}, 3)
    yours = request_key("sim:a", tuple(MESSAGES), {"top_p": 0.5, "temperature": 1.0}, 3)
    assert mine == yours


@pytest.mark.parametrize(
    "other",
    [
        request_key("sim:b", MESSAGES, {"temperature": 1}, 0),
        request_key("sim:a", [*MESSAGES, *MESSAGES], {"temperature": 1}, 0),
        request_key("sim:a", MESSAGES, {"temperature": 2}, 0),
        request_key("sim:a", MESSAGES, {"temperature": True}, 0),
        request_key("sim:a", MESSAGES, {"temperature": "1"}, 0),
        request_key("sim:a", MESSAGES, {}, 0),
        request_key("sim:a", MESSAGES, {"temperature": 1}, 1),
    ],
)
def test_different_requests_have_different_keys(other: str) -> None:
    assert other != request_key("sim:a", MESSAGES, {"temperature": 1}, 0)


def test_a_text_and_its_reference_have_different_keys() -> None:
    text = "x" * LONG
    reference = {"#": digest(text)}
    assert base_key("a", [{"content": text}], {}) != base_key("a", [{"content": reference}], {})


def test_a_key_can_be_taken_apart() -> None:
    assert split_key(sample_key("b" * 64, 12)) == ("b" * 64, 12)


@pytest.mark.parametrize("key", ["", "abc", "abc.", "abc.x"])
def test_what_is_no_key_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        split_key(key)


def test_lone_surrogates_have_keys_too() -> None:
    keys = {base_key("a", [{"content": text}], {}) for text in ("\ud800", "\ud801", "\ud800" * LONG)}
    assert len(keys) == 3
