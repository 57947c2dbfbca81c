"""What an agent says to a model: its templates, laid round the conversation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from types import MappingProxyType
from typing import Any

from moa.backends.base import Message, Prompt
from moa.errors import SpecError, UsageError
from moa.nodes.response import Response
from moa.spec.agent import AgentSpec
from moa.spec.template import render

_LEADING = ("system", "developer")


def render_messages(
    agent: AgentSpec,
    conversation: Sequence[Message],
    inputs: Mapping[str, Sequence[Response]],
    vars: Mapping[str, Any],
    given: Mapping[str, Any] = MappingProxyType({}),
) -> Prompt:
    """The messages that `agent` sends: the conversation, with the agent's words laid round it.

    The layout is that of Mixture-of-Agents (Wang et al. 2024, arXiv:2406.04692): the system template
    is appended to a leading system (or developer) message after a blank line, or put in front as a
    new one; the user's turns stay as they are, unless the agent's `user` template stands in for the
    latest of them. The whole history is kept, and what equal agents share comes first, so that prefix
    caches hit. `inputs` holds the responses heard under each of the agent's input names; `vars` wins
    over the agent's own values, and `given` holds what came with the question. The conversation is never changed, and shares nothing with the result.
    """
    messages = [_copy(message) for message in conversation]
    if agent.system is None and agent.user is None:
        return Prompt(messages)
    variables: dict[str, Any] = dict.fromkeys(agent.inputs, ())
    variables |= {**agent.vars, **vars, **inputs, "question": question_of(conversation)}
    if agent.given:
        variables |= _taken(agent, given)
    if agent.user is not None:
        _replace_question(messages, render(agent.user, variables, agent.name).strip())
    if agent.system is not None:
        _add_system(messages, render(agent.system, variables, agent.name).strip())
    return Prompt(messages)


def question_of(conversation: Sequence[Message]) -> str:
    """The text of the latest user turn; of content parts, the text ones, a line each."""
    for message in reversed(conversation):
        if message.get("role") == "user":
            return _text(message.get("content"))
    return ""


def reference_role(agent: AgentSpec) -> str:
    """The input that unnamed references fill: the first that the agent declares."""
    role = next(iter(agent.inputs), None)
    if role is None:
        raise SpecError(
            f"agent {agent.name!r} hears no responses: declare an input, such as `references: 1+`"
        )
    return role


def _taken(agent: AgentSpec, given: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the given values that the agent asks for."""
    if missing := [name for name in agent.given if name not in given]:
        names = ", ".join(f"`{name}`" for name in missing)
        raise UsageError(f"agent {agent.name!r} needs {names} with the question: pass `given={{...}}`")
    return {name: given[name] for name in agent.given}


def _copy(message: Message) -> Message:
    plain = all(isinstance(value, str) for value in message.values())
    return dict(message) if plain else deepcopy(message)


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list | tuple) else ()
    return "\n".join(part["text"] for part in parts if _is_text(part))


def _is_text(part: Any) -> bool:
    return isinstance(part, Mapping) and part.get("type") == "text" and isinstance(part.get("text"), str)


def _add_system(messages: list[Message], text: str) -> None:
    if not text:
        return
    if not messages or messages[0].get("role") not in _LEADING:
        messages.insert(0, {"role": "system", "content": text})
        return
    content = messages[0].get("content")
    if isinstance(content, list | tuple):
        messages[0]["content"] = [*content, {"type": "text", "text": f"\n\n{text}"}]
    else:
        messages[0]["content"] = f"{content}\n\n{text}" if content else text


def _replace_question(messages: list[Message], text: str) -> None:
    latest = next((message for message in reversed(messages) if message.get("role") == "user"), None)
    if latest is None:
        messages.append({"role": "user", "content": text})
    elif isinstance(content := latest.get("content"), list | tuple):
        latest["content"] = _replace_text(content, {"type": "text", "text": text})
    else:
        latest["content"] = text


def _replace_text(parts: Sequence[Any], new: dict[str, str]) -> list[Any]:
    """The parts with `new` where the first text stood; pictures and files stay, other text goes."""
    first = next((index for index, part in enumerate(parts) if _is_text(part)), 0)
    before = [part for part in parts[:first] if not _is_text(part)]
    return [*before, new, *(part for part in parts[first:] if not _is_text(part))]
