"""Members that ask nobody: `constant:TEXT` always says the same, `echo:` repeats the user's turn."""

from __future__ import annotations

from moa.backends.base import Choice, Completion, Delta, Emit, Request
from moa.backends.replay import latest_turn
from moa.errors import UsageError
from moa.spec.model import ModelSpec


class Constant:
    """A member that says one text to everything, as an impostor does; it costs nothing and uses no tokens."""

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self.name = spec.name or f"{spec.provider}:{spec.model}"

    async def complete(self, request: Request, emit: Emit | None = None) -> Completion:
        """The text, `request.n` times over."""
        text = self._text(request)
        for index in range(request.n) if emit is not None else ():
            assert emit is not None
            emit(Delta(index, text))
        return Completion((Choice(text, "stop"),) * request.n, self.name)

    def _text(self, request: Request) -> str:
        if not self.spec.model.strip():
            raise UsageError(f"{self.name!r} has nothing to say: write constant:TEXT")
        return self.spec.model

    async def context_length(self) -> int | None:
        """None: it reads nothing."""
        return self.spec.context

    async def aclose(self) -> None:
        """Nothing to release."""


class Echo(Constant):
    """A member that repeats the latest user turn: what an agent's template says word for word, at no cost."""

    def _text(self, request: Request) -> str:
        return latest_turn(request.messages)
