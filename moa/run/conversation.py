"""What can be asked: a text, or a conversation in the OpenAI API's shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from moa.backends.base import Message
from moa.errors import UsageError

Question = str | Sequence[Mapping[str, Any]]
"""A prompt, or chat messages whose last turn is the question."""
Item = Question | Mapping[str, Any]
"""A question, or a record that holds one under `messages`, `instruction` or `prompt`."""
ROLES = frozenset({"system", "developer", "user", "assistant", "tool"})
FIELDS = ("messages", "instruction", "prompt")


def read_conversation(question: Question) -> tuple[Message, ...]:
    """The messages of a question; raises `UsageError` for an empty or malformed one."""
    if isinstance(question, str):
        if not question.strip():
            raise UsageError("the prompt is empty")
        return ({"role": "user", "content": question},)
    messages = tuple(_read_message(message, number) for number, message in enumerate(question, 1))
    if not messages:
        raise UsageError("the conversation has no messages")
    if messages[-1]["role"] not in ("user", "tool"):
        raise UsageError(f"the conversation must end with a user's turn, not with {messages[-1]['role']!r}")
    return messages


def question_in(item: Item) -> Question:
    """The question that a record holds, as it was written."""
    if not isinstance(item, Mapping):
        return item
    for name in FIELDS:
        if (value := item.get(name)) is not None:
            return value  # type: ignore[no-any-return]  # read_conversation checks what it is
    raise UsageError(
        f"needs a field `instruction`, `prompt` or `messages`; it has {', '.join(map(repr, item))}"
    )


def given_in(item: Item) -> Mapping[str, Any] | None:
    """The values that a record gives with its question, under `given`."""
    given = item.get("given") if isinstance(item, Mapping) else None
    if given is not None and not isinstance(given, Mapping):
        raise UsageError(f"`given` of a record is an object of values by name, not {type(given).__name__}")
    return given


def _read_message(message: object, number: int) -> Message:
    if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
        raise UsageError(f"message {number} of the conversation needs a `role` and a `content`")
    if message["role"] not in ROLES:
        raise UsageError(
            f"message {number} has the unknown role {message['role']!r}; known: {', '.join(sorted(ROLES))}"
        )
    content = message.get("content")
    if not isinstance(content, str | list) and not message.get("tool_calls"):
        raise UsageError(f"message {number} ({message['role']}) has no content")
    if message["role"] == "user" and not content:
        raise UsageError(f"message {number} (user) is empty")
    # Tables fill every column of a struct: a field that is null was not there.
    return {key: value for key, value in message.items() if value is not None or key == "content"}
