"""Waiting for something to change, without holding up what changes it."""

from __future__ import annotations

import asyncio


class Bell:
    """Rung when something has changed; whoever waits looks for himself what it was."""

    def __init__(self) -> None:
        self.version = 0
        """How often it was rung."""
        self._waiting: set[asyncio.Future[None]] = set()

    def ring(self) -> None:
        """Wake all who wait; never waits itself."""
        self.version += 1
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)

    async def after(self, version: int, patience: float) -> bool:
        """Wait until it was rung after `version`; False where `patience` seconds went by first."""
        if self.version != version:
            return True
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(waiting)
        try:
            async with asyncio.timeout(patience):
                await waiting
        except TimeoutError:
            return False
        finally:
            self._waiting.discard(waiting)
        return True
