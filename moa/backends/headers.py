"""How long a server wants to be left alone, in the forms that servers say it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite

_RESETS = (
    ("x-ratelimit-reset-requests", "x-ratelimit-remaining-requests"),
    ("x-ratelimit-reset-tokens", "x-ratelimit-remaining-tokens"),
    ("x-ratelimit-reset", "x-ratelimit-remaining"),
    ("ratelimit-reset", "ratelimit-remaining"),
    ("anthropic-ratelimit-requests-reset", "anthropic-ratelimit-requests-remaining"),
    ("anthropic-ratelimit-tokens-reset", "anthropic-ratelimit-tokens-remaining"),
    ("anthropic-ratelimit-input-tokens-reset", "anthropic-ratelimit-input-tokens-remaining"),
    ("anthropic-ratelimit-output-tokens-reset", "anthropic-ratelimit-output-tokens-remaining"),
)
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_DURATION = re.compile(rf"(?:{_PART.pattern})+")
_EPOCH, _EPOCH_MS = 1e9, 1e12
"""Bare numbers from here on are points in time, in seconds and in milliseconds."""


def retry_delay(headers: Mapping[str, str], now: float, *, resets: bool = True) -> float | None:
    """Seconds to wait before the next attempt, or None when the server does not say.

    `retry-after-ms` wins over `retry-after` (seconds or a date), which wins over the rate-limit resets.
    Of several resets, those of an exhausted limit count, else all; the longest of them is the answer.

    Args:
        headers: The reply's headers; names in any case.
        now: Seconds since the epoch, for points in time.
        resets: Whether the rate-limit resets count; servers send them with every reply, so they mean
            something only where a limit was hit.
    """
    lower = {name.lower(): value.strip() for name, value in headers.items()}
    delay = _number(lower.get("retry-after-ms"))
    if delay is not None:
        return max(0.0, delay / 1000)
    delay = _delay(lower.get("retry-after"), now)
    return _reset(lower, now) if delay is None and resets else delay


def _reset(headers: Mapping[str, str], now: float) -> float | None:
    found = list(_resets(headers, now))
    exhausted = [delay for delay, remaining in found if remaining == 0]
    return max(exhausted or [delay for delay, _ in found], default=None)


def _resets(headers: Mapping[str, str], now: float) -> Iterator[tuple[float, float | None]]:
    for reset, remaining in _RESETS:
        delay = _delay(headers.get(reset), now)
        if delay is not None:
            yield delay, _number(headers.get(remaining))


def _delay(value: str | None, now: float) -> float | None:
    """Seconds from `20`, `1.5`, `6m0s`, `20ms`, a date, or seconds or milliseconds since the epoch."""
    number = _number(value)
    if number is not None:
        if number >= _EPOCH:
            number = (number / 1000 if number >= _EPOCH_MS else number) - now
        return max(0.0, number)
    return None if not value else duration(value) if _DURATION.fullmatch(value) else _until(value, now)


def duration(value: str) -> float | None:
    """Seconds of `6m0s`, `1.5s` or `20ms`; None for anything else."""
    if not _DURATION.fullmatch(value):
        return None
    return sum(float(amount) * _UNITS[unit] for amount, unit in _PART.findall(value))


def _until(value: str, now: float) -> float | None:
    """Seconds until a date as HTTP or RFC 3339 writes it."""
    for read in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            moment = read(value)
        except ValueError:
            continue
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return max(0.0, aware.timestamp() - now)
    return None


def _number(value: str | None) -> float | None:
    try:
        number = float(value) if value is not None else None
    except ValueError:
        return None
    return number if number is not None and isfinite(number) else None
