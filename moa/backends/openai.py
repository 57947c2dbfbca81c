"""Any server with the OpenAI API (placeholder until the client is complete)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moa.backends.base import Completion, Emit, Request
from moa.spec.model import ModelSpec

if TYPE_CHECKING:
    from aiohttp import ClientSession


class OpenAICompatible:
    """A model behind an OpenAI-compatible HTTP API."""

    def __init__(self, spec: ModelSpec, *, session: ClientSession | None = None) -> None:
        self.spec = spec

    async def model_id(self) -> str:
        """The model's id."""
        raise NotImplementedError

    async def complete(self, request: Request, emit: Emit | None = None) -> Completion:
        """Ask the model."""
        raise NotImplementedError

    async def aclose(self) -> None:
        """Close."""
