"""A run's warnings as a person reads them: what several nodes share is said once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from moa.cli.session import tell
from moa.cli.wiring import runs

if TYPE_CHECKING:
    from moa.run.reply import Reply

NAMED = 4
"""Runs of neighbours that are named; of more, only the number of nodes is told."""


def tell_warnings(reply: Reply) -> None:
    """A line on standard error for each different warning of a reply."""
    for warning in folded(reply.warnings, [node.id for node in reply.nodes]):
        tell(f"warning: {warning}")


def folded(warnings: Iterable[str], nodes: Iterable[str]) -> list[str]:
    """Warnings in the order in which each came first: `12 nodes (drafts[0..11]): ...` for equal ones.

    A warning about a node begins with its id, one of `nodes`, and a colon; where it says the id again, once will do.
    """
    known = {*nodes}
    warned: dict[str, list[str]] = {}
    for warning in warnings:
        node, colon, message = warning.partition(": ")
        if colon and node in known:
            warned.setdefault(message.replace(f"`{node}`: ", ""), []).append(node)
        else:
            warned.setdefault(warning, [])
    return [f"{_whose(ids)}{message}" for message, ids in warned.items()]


def _whose(ids: list[str]) -> str:
    if len(ids) < 2:
        return f"{ids[0]}: " if ids else ""
    named = runs(ids)
    listed = f" ({named})" if named.count(", ") < NAMED else ""
    return f"{len(ids)} nodes{listed}: "
