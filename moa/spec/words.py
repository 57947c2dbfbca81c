"""How messages quote what a user wrote: short, on one line, and never a secret."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches

_SECRET_NAMES = re.compile(
    r"(.*[_.-])?(api[_-]?key|apikey|access[_-]?key|secret([_-]key)?|private[_-]key|password|passwd|"
    r"(access|auth|bearer|api|id)[_-]?token|bearer|authorization|credentials?|x-api-key)|key|token",
    re.IGNORECASE,
)
_SECRET_TEXT = re.compile(
    r"(?<![A-Za-z])sk[-_][A-Za-z0-9_-]{4,}"
    r"|(?<![A-Za-z])(?:pk|rk|gsk|hf|ghp|gho|xai|pplx|nvapi|csk|fw|r8)[-_](?=[A-Za-z_-]*\d)[A-Za-z0-9_-]{10,}"
    r"|\bAIza[\w-]{8,}|\bBearer\s+\S+"
    r"|\b(?=[A-Za-z]*\d)(?=\d*[A-Za-z])[A-Za-z0-9+/]{28,}={0,2}"
    r"|\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b"
)
_LONGEST = 60
_SHORT = 4
"""Letters of a word of which one swapped pair is already a third."""


def is_secret_name(key: str) -> bool:
    """Whether a key of this name usually holds a credential, such as `api_key`."""
    return _SECRET_NAMES.fullmatch(key) is not None


def refuse_secrets(fields: object) -> None:
    """Raise `ValueError` if a mapping holds a credential, at any depth; its value is not in the message."""
    for key, value in fields.items() if isinstance(fields, dict) else ():
        if is_secret_name(str(key)) and isinstance(value, str):
            raise ValueError(
                f"a key never goes into a file: drop {quote(str(key))}, and set `key_env: NAME_OF_VARIABLE`"
            )
        refuse_secrets(value)


def has_secret(text: str) -> bool:
    """Whether `text` holds something that looks like a credential."""
    return _SECRET_TEXT.search(text) is not None


def redact(text: str) -> str:
    """`text` with what looks like a credential replaced by `***`."""
    return _SECRET_TEXT.sub("***", text)


def quote(text: str) -> str:
    """`text` between backquotes as it may appear in a message: one short line without credentials."""
    line = redact(" ".join("".join(c if c.isprintable() else " " for c in text).split()))
    return f"`{line if len(line) <= _LONGEST else line[: _LONGEST - 1] + '…'}`"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The one of `known` that `word` most likely means, or None."""
    by_fold = {name.casefold().replace("-", "_"): name for name in sorted(known)}
    folded = word.casefold().replace("-", "_")
    found = get_close_matches(folded, by_fold, n=1, cutoff=0.6 if len(folded) <= _SHORT else 0.7)
    return by_fold[found[0]] if found else None
