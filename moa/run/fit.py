"""Making a prompt fit the context window by the stated policy: `error`, `drop` or `truncate`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from moa.backends.base import Message
from moa.errors import ContextOverflowError
from moa.nodes.response import Response
from moa.run.endpoint import Endpoint
from moa.run.keys import Written
from moa.run.tokens import token_bound
from moa.spec.graph import Overflow
from moa.values import value

Inputs = Mapping[str, Sequence[Response]]
Render = Callable[[Inputs], Written[tuple[Message, ...]]]
CUT = " […]"
"""Ends a reference that was shortened."""
ROUNDS = 12
LEAST_CHARACTERS = 40
"""A reference is not shortened below this: a stump of a sentence helps nobody."""


@value(frozen=True, slots=True)
class Fitted:
    """A prompt that fits, the sampling that fits beside it, and what was done to get there."""

    messages: Written[tuple[Message, ...]]
    params: Written[Mapping[str, Any]]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Fitting:
    """Fits the inputs of one node into one endpoint's window."""

    endpoint: Endpoint
    policy: Overflow
    render: Render
    window: int | None
    """Tokens; None where nobody knows."""

    async def fit(self, inputs: Inputs, params: Written[Mapping[str, Any]]) -> Fitted:
        """Render, and shorten or drop references while the prompt leaves no room for a reply.

        The reply keeps `max_tokens`, or a quarter of the window where that is less. Raises
        `ContextOverflowError` where the policy is `error` or there is nothing left to cut.
        """
        messages, window = self.render(inputs), self.window
        if window is None:
            return Fitted(messages, params)
        longest = params.value.get("max_tokens")
        reply = min(longest or window, max(1, window // 4))
        if token_bound(messages.value) + (longest or reply) <= window:
            return Fitted(messages, params)
        tokens = await self.endpoint.count_tokens(messages.value)
        note = ""
        for _ in range(ROUNDS):
            if tokens + reply <= window:
                return Fitted(messages, _cut_reply(params, window - tokens), note)
            inputs, note = self._shrink(inputs, tokens, window - reply, note)
            messages = self.render(inputs)
            tokens = await self.endpoint.count_tokens(messages.value)
        raise self._overflow(tokens)

    def _shrink(self, inputs: Inputs, tokens: int, room: int, note: str) -> tuple[Inputs, str]:
        count = sum(len(responses) for responses in inputs.values())
        if self.policy == "error" or count == 0:
            raise self._overflow(tokens)
        if self.policy == "drop":
            if count == 1:
                raise self._overflow(tokens)
            inputs, dropped = _drop_last(inputs)
            return inputs, f"{note}, {dropped}" if note else f"dropped to fit the context window: {dropped}"
        return self._truncate(inputs, tokens, room)

    def _truncate(self, inputs: Inputs, tokens: int, room: int) -> tuple[Inputs, str]:
        """Cut the longest references to one common length, so that short ones stay whole."""
        lengths = [len(response.text) for responses in inputs.values() for response in responses]
        total = sum(lengths)
        surplus = int((tokens - room) * total / max(1, tokens)) + 1
        goal = _water_level(lengths, total - int(surplus * 1.1))
        if goal < LEAST_CHARACTERS or goal >= max(lengths):
            raise self._overflow(tokens)
        cut = {role: [_shorten(r, goal) for r in responses] for role, responses in inputs.items()}
        shortened = sum(length > goal for length in lengths)
        return cut, f"{shortened} of {len(lengths)} references shortened to fit the context window"

    def _overflow(self, tokens: int) -> ContextOverflowError:
        remedy = (
            "" if self.policy != "error" else "; `overflow: truncate` or `drop` would shorten the references"
        )
        return ContextOverflowError(
            f"the prompt has about {tokens} tokens, which leaves no room for a reply in the window of {self.window} "
            f"tokens that {self.endpoint.name} has{remedy}",
            limit=self.window,
        )


def _cut_reply(params: Written[Mapping[str, Any]], room: int) -> Written[Mapping[str, Any]]:
    longest = params.value.get("max_tokens")
    return Written({**params.value, "max_tokens": room}) if longest is not None and longest > room else params


def _drop_last(inputs: Inputs) -> tuple[Inputs, str]:
    role = next(role for role in reversed(list(inputs)) if inputs[role])
    dropped = inputs[role][-1]
    return {**inputs, role: list(inputs[role][:-1])}, dropped.node


def _water_level(lengths: Sequence[int], budget: int) -> int:
    """The longest common length under which all references together keep to `budget` characters."""
    left, remaining = budget, len(lengths)
    for length in sorted(lengths):
        if length * remaining >= left:
            return max(0, left // remaining)
        left -= length
        remaining -= 1
    return max(lengths, default=0)


def _shorten(response: Response, length: int) -> Response:
    if len(response.text) <= length:
        return response
    return replace(response, text=response.text[: max(0, length - len(CUT))].rstrip() + CUT)
