"""A key is shown nowhere."""

from __future__ import annotations

import pytest

from moa.backends.redact import MASK, Secret, redact

KEY = "sk-proj-abcDEF123456ghiJKL789"


@pytest.mark.parametrize(
    "text",
    [
        f"Incorrect API key provided: {KEY}.",
        f"Authorization: Bearer {KEY}",
        f"bad key {KEY[:14]}*** (first part)",
        f"bad key ***{KEY[-10:]}",
        f"{KEY}{KEY}",
        f'{{"key": "{KEY}"}}',
    ],
)
def test_no_piece_of_the_key_remains(text: str) -> None:
    shown = redact(text, Secret(KEY))
    assert MASK in shown
    assert not any(KEY[at : at + 8] in shown for at in range(len(KEY) - 7))


def test_the_rest_of_the_message_stays() -> None:
    assert redact(f"Incorrect API key provided: {KEY}. See the docs.", Secret(KEY)) == (
        f"Incorrect API key provided: {MASK}. See the docs."
    )
    assert redact("nothing to hide", Secret(KEY)) == "nothing to hide"


@pytest.mark.parametrize(
    "other", ["sk-or-v1-0123456789abcdef0123", "gsk_0123456789abcdef0123", "Bearer abc.def"]
)
def test_what_looks_like_another_key_goes_too(other: str) -> None:
    assert MASK in redact(f"said {other} here")


def test_short_stand_ins_are_masked_whole_and_ordinary_words_stay() -> None:
    assert redact("token EMPTY refused", Secret("EMPTY")) == f"token {MASK} refused"
    assert redact("no key", Secret("no")) == "no key"


def test_a_secret_shows_itself_only_where_asked() -> None:
    secret = Secret(KEY)
    assert KEY not in f"{secret} {secret!r}"
    assert secret.reveal() == KEY
