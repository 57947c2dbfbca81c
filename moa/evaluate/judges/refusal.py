"""Telling a judge that refuses from one that is merely unreadable."""

from __future__ import annotations

import re

_HEAD = 300
"""Characters of a reply in which a refusal announces itself."""
_REFUSAL = re.compile(
    r"\bI(?:['’]m| am) (?:sorry|unable|not able|not comfortable|afraid I)\b"
    r"|\bI (?:can(?:not|['’]t)|won['’]t|will not|must (?:refuse|decline)|(?:have to|need to) decline|decline)\b"
    r"(?! (?:decide|choose|tell which|say which|separate))"
    r"|\b(?:unable|not able) to (?:assist|help|comply|provide|evaluate|judge|compare)\b"
    r"|\bas an? (?:AI|language model)\b[^.]{0,80}\b(?:cannot|can['’]t|not able|unable)\b"
    r"|\b(?:violates?|against) (?:my|our|the) (?:guidelines|policy|policies)\b",
    re.IGNORECASE,
)


def is_refusal(text: str) -> bool:
    """Whether a reply without a verdict declines to give one; a verdict that was read is never a refusal."""
    return _REFUSAL.search(text.rpartition("</think>")[2].strip()[:_HEAD]) is not None
