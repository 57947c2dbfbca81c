"""Ports of this machine, held for engines from the plan to the end."""

from __future__ import annotations

import socket
from contextlib import ExitStack

from moa.errors import UsageError

HOST = "127.0.0.1"


def hold_ports(count: int, stack: ExitStack, first: int | None = None) -> list[int]:
    """Ports that nobody else gets until `stack` closes, but that an engine may listen on.

    A socket that is bound, but does not listen, keeps a port from being handed to another program. An
    engine binds it as well, because both sockets allow it (`SO_REUSEADDR`).

    Args:
        count: How many.
        stack: What closes the sockets.
        first: The first of neighbouring ports; any free ones without it.

    Raises:
        UsageError: for a port that is in use.
    """
    return [_hold(0 if first is None else first + index, stack) for index in range(count)]


def _hold(port: int, stack: ExitStack) -> int:
    holder = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
    try:
        _bind(holder, port)
    except (OSError, OverflowError):
        raise UsageError(
            f"port {port} is in use or not allowed: choose another --port, or leave it out"
        ) from None
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return int(holder.getsockname()[1])


def _bind(holder: socket.socket, port: int) -> None:
    """Bind where nobody else is bound; connections of an engine that has ended do not count."""
    try:
        holder.bind((HOST, port))
    except OSError:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as caller:
            if caller.connect_ex((HOST, port)) == 0:
                raise
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind((HOST, port))
