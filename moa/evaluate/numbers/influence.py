"""How much each agent does to the answers: leaving one out, and Shapley's shares."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import factorial, nan

import numpy as np

from moa.errors import UsageError
from moa.evaluate.numbers.intervals import LEVEL, Estimate, Floats, Labels, Seed, mean

Coalition = frozenset[int]
Value = Callable[[Coalition], float]
"""What a set of agents, numbered from 0, is worth, such as 1 where its aggregation is right and 0 where it is not."""
Table = Mapping[Coalition, float]

EXACT = 12
"""Agents up to which all 2^n coalitions are valued; above, orders are sampled."""
PERMUTATIONS = 500


@dataclass(frozen=True, slots=True)
class Shares:
    """A share of the value for each agent; they sum to what all agents add to nobody.

    `standard_errors` are those of the sampling of orders, not of the questions: 0 where the shares are exact.
    """

    shares: tuple[float, ...]
    standard_errors: tuple[float, ...]
    method: str


@dataclass(frozen=True, slots=True)
class Influence:
    """What one agent adds over all questions, in the unit of the value: below 0, the others do better without it."""

    agent: int
    leave_one_out: Estimate
    """The value with everybody minus the value without this agent."""
    shapley: Estimate
    """Its value added, mean over all orders in which the agents could have come."""


def value_table(subsets: Sequence[Sequence[int]], values: Sequence[float], *, nobody: float = 0.0) -> Table:
    """A value for each coalition from one question's ballots over subsets, such as those of Dropout & Vote.

    `nobody` is the value of the empty set, which has no ballot: 0, or the accuracy of guessing.

    Raises:
        UsageError: when there is not one value a subset, or a subset comes twice.
    """
    if len(subsets) != len(values):
        raise UsageError(f"{len(subsets)} subsets and {len(values)} values: give one of each")
    table = {frozenset[int](): nobody}
    for subset, value in zip(subsets, values, strict=True):
        coalition = frozenset(subset)
        if coalition in table and coalition:
            raise UsageError(f"the subset {sorted(coalition)} has two values: give one")
        table[coalition] = float(value)
    return table


def looked_up(table: Table) -> Value:
    """A table as a function; a coalition that is not in it is a `UsageError` that names it."""

    def value(coalition: Coalition) -> float:
        if coalition not in table:
            raise UsageError(f"no value for the agents {sorted(coalition)}: value every subset of them")
        return table[coalition]

    return value


def leave_one_out(agents: int, value: Value) -> Floats:
    """v(N) - v(N without i) for each agent i."""
    everybody = _everybody(agents)
    whole = value(everybody)
    return np.array([whole - value(everybody - {agent}) for agent in range(agents)])


def shapley(
    agents: int,
    value: Value,
    *,
    permutations: int | None = None,
    seed: Seed = 0,
) -> Shares:
    """Shapley's (1953) share of each agent: its mean addition over all orders in which agents can come.

    Exact over all coalitions for up to 12 agents; above, or where `permutations` says how many orders to draw, from
    random orders and their reverses, with the error of the sample. Shares sum to v(all) - v(nobody) either way. A value
    is computed once for each coalition.
    """
    known: dict[Coalition, float] = {}

    def once(coalition: Coalition) -> float:
        if coalition not in known:
            known[coalition] = float(value(coalition))
        return known[coalition]

    _everybody(agents)
    if permutations is None and agents <= EXACT:
        return Shares(tuple(_exact(agents, once).tolist()), (0.0,) * agents, "exact")
    return _sampled(agents, once, permutations or PERMUTATIONS, seed)


def influence(
    tables: Sequence[Table],
    agents: int,
    *,
    permutations: int | None = None,
    seed: int = 0,
    questions: Labels | None = None,
    level: float = LEVEL,
) -> list[Influence]:
    """Each agent's influence, mean over questions, with t intervals over them.

    `tables` has the values of one question each (`value_table`). Leaving one out needs the set of all agents and those
    without one; Shapley all subsets, or those that sampled orders meet.

    Raises:
        UsageError: when there are no questions, or a coalition has no value.
    """
    if not tables:
        raise UsageError("no questions: nobody has an influence")
    values = [looked_up(table) for table in tables]
    left_out = np.array([leave_one_out(agents, value) for value in values])
    shares = np.array(
        [shapley(agents, value, permutations=permutations, seed=seed).shares for value in values]
    )
    return [
        Influence(
            agent,
            mean(left_out[:, agent], clusters=questions, level=level),
            mean(shares[:, agent], clusters=questions, level=level),
        )
        for agent in range(agents)
    ]


def _everybody(agents: int) -> Coalition:
    if agents < 1:
        raise UsageError("influence needs at least one agent")
    return frozenset(range(agents))


def _exact(agents: int, value: Value) -> Floats:
    """The sum over coalitions S without i of |S|! (n - |S| - 1)! / n! times v(S with i) - v(S)."""
    shares = np.zeros(agents)
    for size in range(agents):
        weight = factorial(size) * factorial(agents - size - 1) / factorial(agents)
        for members in combinations(range(agents), size):
            coalition = frozenset(members)
            before = value(coalition)
            for agent in _everybody(agents) - coalition:
                shares[agent] += weight * (value(coalition | {agent}) - before)
    return shares


def _sampled(agents: int, value: Value, permutations: int, seed: Seed) -> Shares:
    """Means over pairs of an order and its reverse, which cancel much of the error."""
    random = np.random.default_rng(seed)
    orders = [random.permutation(agents) for _ in range(max(1, permutations // 2))]
    added = np.array([(_added(order, value) + _added(order[::-1], value)) / 2 for order in orders])
    errors = added.std(axis=0, ddof=1) / np.sqrt(len(orders)) if len(orders) > 1 else np.full(agents, nan)
    return Shares(
        tuple(added.mean(axis=0).tolist()), tuple(errors.tolist()), f"{2 * len(orders)} sampled orders"
    )


def _added(order: np.typing.NDArray[np.int64], value: Value) -> Floats:
    """What each agent adds to those who came before it."""
    added = np.zeros(len(order))
    present: Coalition = frozenset()
    before = value(present)
    for agent in order.tolist():
        present |= {agent}
        after = value(present)
        added[agent] = after - before
        before = after
    return added
