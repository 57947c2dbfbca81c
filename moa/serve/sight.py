"""What is not text in a conversation goes only to members that can take it in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from moa.backends.base import Message
from moa.serve.house import House, Served
from moa.serve.refusal import bad

BLIND = frozenset({"constant", "echo", "local", "replay", "sim", "transformers"})
"""Providers whose models read text alone; of servers and lent backends, they themselves know."""
_WORDS = frozenset({"refusal", "text"})


def refuse_unseen(house: House, served: Served, messages: Iterable[Message]) -> None:
    """Raise `Refusal` for a picture, a sound or a file that a member would not notice."""
    kind = next(_kinds(messages), None)
    if kind is None:
        return
    for model in served.plan.models:
        if house.runner.endpoints.get(model).spec.provider in BLIND:
            member = f"the member {model!r}" if house.settings.detailed else "a member"
            message = f"`messages`: {member} of {served.id} reads text alone, and there is {kind!r} in them"
            raise bad(message, "messages", "unsupported_content")


def _kinds(messages: Iterable[Message]) -> Iterator[str]:
    """The types of all parts that are not text."""
    for message in messages:
        content = message.get("content")
        for part in content if isinstance(content, list) else ():
            if (kind := str(part.get("type"))) not in _WORDS:
                yield kind
