"""A run's budget of tokens or dollars, and the ledger that keeps to it."""

from __future__ import annotations

import asyncio

from pydantic import Field

from moa.backends.base import Usage
from moa.errors import BudgetExceededError, UsageError
from moa.spec.agent import Spec
from moa.spec.model import Price

FIRST_REPLY = 256
"""Tokens that a reply is expected to have before any has been seen."""


class Budget(Spec):
    """The most that a run may spend; stored answers that are reused cost nothing."""

    usd: float | None = Field(None, gt=0)
    tokens: int | None = Field(None, gt=0)


class Ledger:
    """What has been spent, and what the requests in flight may cost at most.

    A request is let through when its prompt fits what is left after those in flight; if only they
    stand in its way it waits for them to settle. So the overshoot is at most about one reply, where replies are bounded by `max_tokens`.
    """

    def __init__(self, budget: Budget | None = None) -> None:
        self.budget = budget or Budget()
        self.usage = Usage()
        self.usd: float | None = 0.0
        self._reserved: dict[int, _Amount] = {}
        self._tickets = 0
        self._replies = 0
        self._settled: asyncio.Event | None = None

    @property
    def limited(self) -> bool:
        """Whether there is anything to keep to."""
        return self.budget.usd is not None or self.budget.tokens is not None

    async def admit(
        self, model: str, price: Price | None, prompt_tokens: int, replies: int, longest: int | None = None
    ) -> int:
        """Wait for room for a request, or raise `BudgetExceededError`; returns a ticket for `settle`.

        `longest` is the most tokens that each of its `replies` may have, where that is bounded.
        """
        if not self.limited:
            return 0
        if self.budget.usd is not None and price is None:
            raise UsageError(
                f"a budget in dollars needs the price of {model!r}: give `price: {{input: ..., output: ...}}` "
                "(dollars per million tokens) in a models.yaml, or use --budget-tokens"
            )
        wanted = self._amount(price, prompt_tokens, 0)
        while not self._fits(wanted):
            if not self._reserved:
                raise BudgetExceededError(self._spent_message())
            self._settled = self._settled or asyncio.Event()
            await self._settled.wait()
        self._tickets += 1
        self._reserved[self._tickets] = self._amount(
            price, prompt_tokens, replies * (longest or self._typical_reply())
        )
        return self._tickets

    def settle(self, ticket: int, usage: Usage | None, price: Price | None, replies: int = 1) -> None:
        """Book what a request really cost; `None` for one that ended without an answer."""
        if ticket:
            self._reserved.pop(ticket, None)
        if usage is not None:
            self.usage += usage
            self._replies += replies
            if price is None:
                self.usd = None
            elif self.usd is not None:
                self.usd += price.of(usage.input_tokens, usage.output_tokens, usage.cached_tokens)
        if self._settled is not None:
            self._settled.set()
            self._settled = None

    def _typical_reply(self) -> int:
        return self.usage.output_tokens // self._replies if self._replies else FIRST_REPLY

    def _amount(self, price: Price | None, prompt: int, reply: int) -> _Amount:
        return _Amount(prompt + reply, price.of(prompt, reply) if price else 0.0)

    def _fits(self, wanted: _Amount) -> bool:
        tokens = self.usage.total_tokens + sum(amount.tokens for amount in self._reserved.values())
        dollars = (self.usd or 0.0) + sum(amount.usd for amount in self._reserved.values())
        return (self.budget.tokens is None or tokens + wanted.tokens <= self.budget.tokens) and (
            self.budget.usd is None or dollars + wanted.usd <= self.budget.usd
        )

    def _spent_message(self) -> str:
        spent = []
        if self.budget.tokens is not None:
            spent.append(f"{self.usage.total_tokens} of {self.budget.tokens} tokens")
        if self.budget.usd is not None:
            spent.append(f"${self.usd or 0:.4f} of ${self.budget.usd:g}")
        return (
            f"the budget does not allow another request ({', '.join(spent)} spent): "
            "raise it and run again; what was answered is kept in the store"
        )


class _Amount:
    __slots__ = ("tokens", "usd")

    def __init__(self, tokens: int, usd: float) -> None:
        self.tokens = tokens
        self.usd = usd
