"""Every way in which a server says when to come back."""

from __future__ import annotations

import pytest

from moa.backends.headers import duration, retry_delay

NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "20"}, 20.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "Tue, 14 Nov 2023 22:13:50 GMT"}, 30.0),
        ({"retry-after": "Tue, 14 Nov 2023 22:00:00 GMT"}, 0.0),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "x", "retry-after": "9"}, 9.0),
        ({"x-ratelimit-reset-requests": "1s"}, 1.0),
        ({"x-ratelimit-reset-requests": "6m0s"}, 360.0),
        ({"x-ratelimit-reset-tokens": "20ms"}, 0.02),
        ({"x-ratelimit-reset-tokens": "1h2m3.5s"}, 3723.5),
        ({"x-ratelimit-reset": "7"}, 7.0),
        ({"x-ratelimit-reset": str(int(NOW) + 12)}, 12.0),
        ({"x-ratelimit-reset": str(int((NOW + 12) * 1000))}, 12.0),
        ({"anthropic-ratelimit-requests-reset": "2023-11-14T22:13:25Z"}, 5.0),
        ({"retry-after": "2", "x-ratelimit-reset-requests": "9s"}, 2.0),
    ],
)
def test_each_form(headers: dict[str, str], seconds: float | None) -> None:
    delay = retry_delay(headers, NOW)
    assert delay == (None if seconds is None else pytest.approx(seconds))


def test_of_several_resets_the_exhausted_one_counts() -> None:
    headers = {
        "x-ratelimit-reset-requests": "2s",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-tokens": "6m0s",
        "x-ratelimit-remaining-tokens": "1500",
    }
    assert retry_delay(headers, NOW) == 2.0


def test_without_an_exhausted_one_the_longest_counts() -> None:
    headers = {"x-ratelimit-reset-requests": "2s", "x-ratelimit-reset-tokens": "5s"}
    assert retry_delay(headers, NOW) == 5.0


def test_resets_mean_nothing_where_no_limit_was_hit() -> None:
    assert retry_delay({"x-ratelimit-reset-tokens": "6m0s"}, NOW, resets=False) is None
    assert retry_delay({"retry-after": "3"}, NOW, resets=False) == 3.0


def test_a_duration_is_nothing_else() -> None:
    assert duration("39s") == 39.0
    assert duration("39") is None
