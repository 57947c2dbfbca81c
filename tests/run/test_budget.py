from __future__ import annotations

import asyncio

import pytest

from moa.backends.base import Usage
from moa.errors import BudgetExceededError, UsageError
from moa.run.budget import Budget, Ledger
from moa.spec.model import Price

PRICE = Price(input=1.0, output=2.0)


async def test_spending_adds_up_and_ends_at_the_limit() -> None:
    ledger = Ledger(Budget(tokens=100))
    ticket = await ledger.admit("m", None, 30, 1)
    ledger.settle(ticket, Usage(30, 40), None)
    with pytest.raises(BudgetExceededError, match="70 of 100 tokens"):
        await ledger.admit("m", None, 31, 1)
    assert await ledger.admit("m", None, 30, 1)


async def test_dollars_are_booked_by_the_price_of_the_model() -> None:
    ledger = Ledger(Budget(usd=0.001))
    ledger.settle(await ledger.admit("m", PRICE, 400, 1), Usage(400, 200), PRICE)
    assert ledger.usd == pytest.approx(0.0008)
    with pytest.raises(BudgetExceededError, match=r"\$0\.0008 of \$0\.001"):
        await ledger.admit("m", PRICE, 300, 1)


async def test_a_dollar_budget_without_a_price_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(UsageError, match="price of 'm'"):
        await Ledger(Budget(usd=1)).admit("m", None, 10, 1)


async def test_a_request_waits_for_those_in_flight_before_it_gives_up() -> None:
    ledger = Ledger(Budget(tokens=100))
    first = await ledger.admit("m", None, 80, 1)
    waiting = asyncio.create_task(ledger.admit("m", None, 30, 1))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    ledger.settle(first, None, None)  # cancelled: nothing was spent
    async with asyncio.timeout(1):
        assert await waiting


async def test_without_a_budget_everything_is_counted_and_nothing_refused() -> None:
    ledger = Ledger()
    for price in (PRICE, None):
        ledger.settle(await ledger.admit("m", price, 10**9, 1), Usage(5, 5), price)
    assert ledger.usage == Usage(10, 10)
    assert ledger.usd is None  # one price is unknown: no wrong total
