"""How much of a device's memory each engine takes, planned before anything starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from moa.errors import UsageError
from moa.up.wanted import Wanted

SHARE = "gpu_memory_utilization"
"""vLLM's name for it, on a CPU too."""
IN_BYTES = "kv_cache_memory_bytes"
"""vLLM's other way to say it, which wins."""
TOGETHER = 0.9
"""Of a GPU's memory, what engines that are awake together get where nobody said."""
TOGETHER_ON_CPU = 0.5
"""Of the machine's memory, which has other uses as well."""
MOST = 0.95
"""Above this there is no room for what vLLM does not count: CUDA contexts, graphs, other programs."""
LEAST = 0.02
"""Below this share no engine can start."""


def plan_shares(
    engines: Sequence[Wanted], *, on_cpu: bool = False, sleep: bool = False
) -> list[float | None]:
    """The share of each engine; None for one that says its memory in bytes.

    Engines that are awake together divide what the others' own `gpu_memory_utilization` leaves. With
    `sleep` only one is awake at a time, so each may take all.

    Raises:
        UsageError: where the shares of one device do not fit, with the numbers and what to do.
    """
    together = TOGETHER_ON_CPU if on_cpu else TOGETHER
    places = [("the machine's memory",) if on_cpu else engine.gpus for engine in engines]
    given = [_given(engine) for engine in engines]
    if sleep:
        shares = [
            share if engine_says(engine) else together for engine, share in zip(engines, given, strict=True)
        ]
        _check_each(engines, shares)
        return shares
    shares = []
    for engine, share, taken in zip(engines, given, places, strict=True):
        if share is None and not engine_says(engine):
            share = min(_rest(place, engines, given, places, together) for place in taken)
        shares.append(share)
    _check_each(engines, shares)
    _check_places(engines, shares, places)
    return shares


def engine_says(engine: Wanted) -> bool:
    """Whether the engine's own options say how much memory it takes."""
    return SHARE in engine.arguments or IN_BYTES in engine.arguments


def _given(engine: Wanted) -> float | None:
    share = engine.arguments.get(SHARE)
    if share is None or IN_BYTES in engine.arguments:
        return None
    if isinstance(share, bool) or not isinstance(share, int | float):
        raise UsageError(f"{engine.name}: options: `{SHARE}` takes a share such as 0.45")
    return float(share)


def _rest(
    place: str,
    engines: Sequence[Wanted],
    given: Sequence[float | None],
    places: Sequence[tuple[str, ...]],
    together: float,
) -> float:
    """An equal part of what is left of a place for those that said nothing."""
    here = [index for index, taken in enumerate(places) if place in taken]
    silent = sum(not engine_says(engines[index]) for index in here)
    return round((together - sum(given[index] or 0.0 for index in here)) / silent, 4)


def _check_each(engines: Sequence[Wanted], shares: Sequence[float | None]) -> None:
    for engine, share in zip(engines, shares, strict=True):
        if share is not None and engine_says(engine) and not 0 < share <= MOST:
            raise UsageError(f"{engine.name}: `{SHARE}: {share:g}` is not above 0 and at most {MOST:g}")


def _check_places(
    engines: Sequence[Wanted], shares: Sequence[float | None], places: Sequence[tuple[str, ...]]
) -> None:
    for place in dict.fromkeys(place for taken in places for place in taken):
        here: Mapping[str, float] = {
            engine.name: share
            for engine, share, taken in zip(engines, shares, places, strict=True)
            if place in taken and share is not None
        }
        if sum(here.values()) > MOST + 1e-9 or any(share < LEAST for share in here.values()):
            told = " + ".join(f"{name} {share:.2f}" for name, share in here.items())
            raise UsageError(
                f"{_called(place)} cannot hold these engines together: {told} = {sum(here.values()):.2f} of its "
                f"memory, of which {MOST:g} can be used; lower their `{SHARE}`, give them a `device` of their own, "
                "or let them take turns with --sleep"
            )


def _called(place: str) -> str:
    return f"GPU {place}" if place.isdecimal() else place
