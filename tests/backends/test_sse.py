"""The splitter gives the same events however the network cuts the bytes."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moa.backends.sse import EventSplitter


def split(*chunks: bytes) -> list[bytes]:
    splitter = EventSplitter()
    events = [event for chunk in chunks for event in splitter.feed(chunk)]
    left = splitter.close()
    return [*events, left] if left else events


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_every_line_ending_ends_a_line(end: bytes) -> None:
    stream = b"data: a" + end + b"data: b" + end + end + b"data:c" + end + end
    assert split(stream) == [b"a\nb", b"c"]
    assert split(*(bytes([byte]) for byte in stream)) == [b"a\nb", b"c"]


def test_comments_and_other_fields_are_passed_over() -> None:
    stream = b"\xef\xbb\xbf: keep-alive\n\nevent: message\nid: 1\ndata: x\nretry: 5\n\n: bye\n\n"
    assert split(stream) == [b"x"]


def test_only_one_space_belongs_to_the_field() -> None:
    assert split(b"data:  x \n\ndata\n\n") == [b" x ", b""]


def test_half_an_event_is_left_over() -> None:
    splitter = EventSplitter()
    assert splitter.feed(b'data: a\n\ndata: {"x": "y') == [b"a"]
    assert splitter.close() == b'{"x": "y'


def test_nothing_is_left_after_a_blank_line() -> None:
    splitter = EventSplitter()
    assert splitter.feed(b"data: a\n\n") == [b"a"]
    assert splitter.close() == b""


def test_a_character_across_chunks_is_whole_again() -> None:
    text = "é☃😀".encode()
    stream = b"data: " + text + b"\n\n"
    for cut in range(len(stream)):
        assert split(stream[:cut], stream[cut:]) == [text]


def test_a_line_of_two_megabytes_in_small_chunks() -> None:
    stream = b"data: " + b"x" * 2_000_000 + b"\n\n"
    chunks = [stream[at : at + 1000] for at in range(0, len(stream), 1000)]
    (event,) = split(*chunks)
    assert len(event) == 2_000_000


LINES = st.lists(
    st.sampled_from([b"", b"data: a", b"data:b", b"data: \xc3\xa9", b"data", b": c", b"event: e", b"x"]),
    max_size=12,
)


@given(
    st.lists(st.tuples(LINES, st.sampled_from([b"\n", b"\r", b"\r\n"])), max_size=4),
    st.lists(st.integers(0, 400), max_size=12),
)
def test_any_chunking_gives_the_same_events(parts: list[tuple[list[bytes], bytes]], cuts: list[int]) -> None:
    stream = b"".join(line + end for lines, end in parts for line in lines)
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    chunks = [stream[start:stop] for start, stop in pairwise(places)]
    assert split(*chunks) == split(stream)
