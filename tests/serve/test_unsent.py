"""What of a streamed text may go out when the text may begin anew."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moa.serve.unsent import Diverged, Unsent

PIECES = st.lists(st.text("ab \n", max_size=4), max_size=12)


@given(PIECES)
def test_what_is_sent_is_the_stripped_text(pieces: list[str]) -> None:
    unsent, text = Unsent(), "".join(pieces)
    sent = [unsent.add(piece) for piece in pieces]
    assert all(part == "" or text.strip().startswith("".join(sent[: n + 1])) for n, part in enumerate(sent))
    assert "".join(sent) + unsent.finish(text) == text.strip()


@given(PIECES, st.integers(0, 12), PIECES)
def test_a_text_that_begins_anew_goes_on_or_is_refused(
    first: list[str], broken: int, again: list[str]
) -> None:
    unsent, text = Unsent(), "".join(again)
    sent = "".join([unsent.add(piece) for piece in first[:broken]])
    try:
        sent += unsent.add("", restart=True)
        sent += "".join([unsent.add(piece) for piece in again])
        sent += unsent.finish(text)
    except Diverged:
        assert not text.strip().startswith("".join(first[:broken]).strip())
    else:
        assert sent == text.strip()


def test_the_same_text_again_is_sent_once() -> None:
    unsent = Unsent()
    assert unsent.add("so it ") == "so it"
    assert unsent.add("so", restart=True) == "" and unsent.add(" it is ") == " is"
    assert unsent.add("done") == " done" and unsent.finish("so it is done") == ""


def test_another_text_cannot_replace_what_was_sent() -> None:
    unsent = Unsent()
    unsent.add("yes")
    with pytest.raises(Diverged):
        unsent.add("no", restart=True)
